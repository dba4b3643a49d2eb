//! The `network` section, and its compilation.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::check::Checker;
use tollgate_core::guard::{Mode, OnFault, Switch};

use super::{Nets, Network, nets};

/// Who may connect, and whose word on the client's address is believed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// `enforce`, `observe` or `off`. Where it is not `enforce`, a refused client counts under its proxy's address.
    #[serde(default)]
    pub mode: Mode,
    /// What a fault means: `close` or `open`.
    #[serde(default)]
    pub on_fault: OnFault,
    /// Networks that clients may come from, such as `192.0.2.0/24`, or single addresses. Default: empty, which allows
    /// every client that is not denied.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Networks that no client and no proxy may come from; wins over `allow`. Default: empty.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Networks of the proxies in front of us whose `forwarded_header` is believed. Default: empty, which believes
    /// nobody.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// The field in which those proxies name their client; other such fields are ignored. Default: `x_forwarded_for`.
    #[serde(default)]
    pub forwarded_header: Option<ForwardedHeader>,
}

/// The field that names the client.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// None: the peer of the socket is the client.
    None,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
}

impl NetworkConfig {
    /// The two settings of its guard.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        Switch { mode: self.mode, on_fault: self.on_fault }
    }

    /// The networks of the proxies that are believed. Mistakes in them are told by [`NetworkConfig::compile`].
    #[must_use]
    pub fn proxies(&self) -> Nets {
        let nets: Vec<IpNet> = self.trusted_proxies.iter().filter_map(|entry| nets::parse(entry).ok()).collect();
        Nets::new(&nets)
    }

    /// Reports every mistake, then builds the layer.
    pub fn compile(&self, check: &mut Checker) -> Network {
        let allow = networks(check, "allow", &self.allow);
        let deny = networks(check, "deny", &self.deny);
        let trusted = networks(check, "trusted_proxies", &self.trusted_proxies);
        check.within("trusted_proxies", |check| {
            for (at, net) in trusted.iter().filter(|(_, net)| net.prefix_len() == 0) {
                let why = format!("`{net}` believes everybody: any client could name any address");
                check.problem_hint(*at, why, "list the networks of your own proxies");
            }
        });
        let named = self.forwarded_header.is_some_and(|header| header != ForwardedHeader::None);
        if named && self.trusted_proxies.is_empty() {
            check.warn("forwarded_header", "the field is never read: there are no `trusted_proxies`");
        }
        if self.forwarded_header == Some(ForwardedHeader::None) && !self.trusted_proxies.is_empty() {
            check.warn("trusted_proxies", "nobody is believed: `forwarded_header` is `none`");
        }
        Network {
            allow: set(&allow),
            deny: set(&deny),
            trusted_proxies: set(&trusted),
            forwarded_header: self.forwarded_header.unwrap_or_default(),
        }
    }
}

/// Every readable entry, with its place.
fn networks(check: &mut Checker, member: &str, entries: &[String]) -> Vec<(usize, IpNet)> {
    let mut found = Vec::with_capacity(entries.len());
    check.within(member, |check| {
        for (at, entry) in entries.iter().enumerate() {
            match nets::parse(entry) {
                Ok(net) => found.push((at, net)),
                Err((why, Some(hint))) => check.problem_hint(at, why, hint),
                Err((why, None)) => check.problem(at, why),
            }
        }
    });
    found
}

fn set(nets: &[(usize, IpNet)]) -> Nets {
    let nets: Vec<IpNet> = nets.iter().map(|(_, net)| *net).collect();
    Nets::new(&nets)
}
