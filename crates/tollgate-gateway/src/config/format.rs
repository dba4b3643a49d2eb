//! Texts with a form of their own (`"format"` in the schema): how each is checked and named.
//!
//! The schema check and serde call the same functions, so that every bad duration of a file is reported at once, not
//! only the first. A format that is not listed here is left to serde.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::secret_ref::SecretRef;
use super::units::{ByteSize, DurationText};

/// Why a text is not what it should be. Shows the text only where it cannot be a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfit {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unfit {}

/// A format that we check ourselves.
pub(super) struct Format {
    /// Its name in the schema.
    name: &'static str,
    /// For `expected …`.
    pub(super) noun: &'static str,
    pub(super) check: fn(&str) -> Result<(), Unfit>,
}

/// The format of this name.
pub(super) fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

const FORMATS: &[Format] = &[
    Format { name: ByteSize::FORMAT, noun: "a size such as `64KiB`", check: |text| ByteSize::parse(text).map(drop) },
    Format {
        name: DurationText::FORMAT,
        noun: "a duration such as `30s`",
        check: |text| DurationText::parse(text).map(drop),
    },
    Format { name: "ip", noun: "an IP address", check: |text| address::<IpAddr>(text, "an IP address", "10.0.0.1") },
    Format {
        name: "ipv4",
        noun: "an IPv4 address",
        check: |text| address::<Ipv4Addr>(text, "an IPv4 address", "10.0.0.1"),
    },
    Format {
        name: "ipv6",
        noun: "an IPv6 address",
        check: |text| address::<Ipv6Addr>(text, "an IPv6 address", "fd00::1"),
    },
    Format {
        name: SecretRef::FORMAT,
        noun: "a secret reference such as `secret://file/api.key`",
        check: |text| SecretRef::parse(text).map(drop),
    },
    Format {
        name: "socket-address",
        noun: "an address with a port such as `127.0.0.1:8443`",
        check: |text| address::<SocketAddr>(text, "an address with a port", "127.0.0.1:8443"),
    },
];

fn address<A: std::str::FromStr>(text: &str, noun: &str, example: &str) -> Result<(), Unfit> {
    text.parse::<A>().map(drop).map_err(|_| Unfit {
        message: format!("{} is not {noun}", super::words::quoted(text)),
        hint: Some(format!("for example `{example}`")),
    })
}
