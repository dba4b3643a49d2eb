//! Where listeners may stand: nothing is reachable from farther away than its file says.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::check::Checker;

use super::canonical;

/// From how far away a listener may be reached. Wider includes narrower.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// From this machine.
    #[default]
    Loopback,
    /// From private networks: RFC 1918, unique local and link-local addresses, shared address space (RFC 6598).
    Private,
    /// From everywhere.
    Public,
}

/// Reports a listen address that reaches farther than `exposure` declares. To be called within the listener's own path.
pub fn check_bind(check: &mut Checker, bind: SocketAddr, exposure: Exposure) {
    let needed = Exposure::of(bind.ip());
    if needed <= exposure {
        return;
    }
    let why = if canonical(bind.ip()).is_unspecified() {
        format!("`{bind}` listens on every address of this machine, but the listener is declared `{}`", exposure.name())
    } else {
        format!("`{bind}` is a {} address, but the listener is declared `{}`", needed.name(), exposure.name())
    };
    let other = if exposure == Exposure::Loopback { "127.0.0.1" } else { "a private address" };
    check.problem_hint("bind", why, format!("declare `exposure: {}`, or bind {other}", needed.name()));
}

/// The same for a listener with `serves: admin`, which stays on loopback whatever it declares.
pub fn check_admin_bind(check: &mut Checker, bind: SocketAddr, exposure: Exposure) {
    if Exposure::of(bind.ip()) != Exposure::Loopback {
        let why = format!("`{bind}` is not loopback: the admin interface is never reachable from elsewhere");
        check.problem_hint("bind", why, format!("bind `127.0.0.1:{}` and tunnel to it", bind.port()));
    }
    if exposure != Exposure::Loopback {
        let why = format!("an admin listener cannot be declared `{}`", exposure.name());
        check.problem_hint("exposure", why, "write `exposure: loopback`");
    }
}

impl Exposure {
    /// How far away somebody may be and still reach `address`. Unspecified addresses are reached from everywhere.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let private = match canonical(address) {
            address if address.is_loopback() => return Self::Loopback,
            IpAddr::V4(address) => {
                let [first, second, ..] = address.octets();
                address.is_private() || address.is_link_local() || (first == 100 && second & 0xc0 == 64)
            }
            IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
        };
        if private { Self::Private } else { Self::Public }
    }

    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}
