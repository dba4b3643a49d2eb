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
    Format { name: "cidr", noun: "a network such as `10.0.0.0/8`", check: network },
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

fn network(text: &str) -> Result<(), Unfit> {
    let fits = text.split_once('/').is_some_and(|(address, length)| {
        let most = match address.parse() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|length| length <= most)
    });
    if fits {
        return Ok(());
    }
    let message = format!("{} is not a network", super::words::quoted(text));
    Err(Unfit { message, hint: Some("for example `10.0.0.0/8` or `10.0.0.1/32`".to_owned()) })
}

fn address<A: std::str::FromStr>(text: &str, noun: &str, example: &str) -> Result<(), Unfit> {
    text.parse::<A>().map(drop).map_err(|_| Unfit {
        message: format!("{} is not {noun}", super::words::quoted(text)),
        hint: Some(format!("for example `{example}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_checked() {
        let fits = |name: &str, text: &str| find(name).is_some_and(|format| (format.check)(text).is_ok());
        for (name, text, expected) in [
            ("cidr", "10.0.0.0/8", true),
            ("cidr", "fd00::/128", true),
            ("cidr", "10.0.0.0/33", false),
            ("cidr", "10.0.0.0/+8", false),
            ("cidr", "10.0.0.0/", false),
            ("cidr", "10.0.0.0", false),
            ("ip", "::1", true),
            ("ip", "10.0.0.256", false),
            ("ipv4", "::1", false),
            ("ipv6", "::1", true),
            ("socket-address", "[::1]:0", true),
            ("socket-address", "localhost:1", false),
            ("uri", "no format of ours", false),
        ] {
            assert_eq!(fits(name, text), expected, "{name} {text}");
        }
    }
}
