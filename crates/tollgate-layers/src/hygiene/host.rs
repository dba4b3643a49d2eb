//! Which host a request asks for, and which hosts are served.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Version;
use http::header::HOST;
use http::request::Parts;
use tollgate_core::ruling::Ruling;

use super::bad;

/// A host and a port, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// Lower case, without a final dot; IPv6 in brackets, in its shortest form.
    pub name: Box<str>,
    /// The port, if one is written.
    pub port: Option<u16>,
}

/// The hosts that are served.
#[derive(Debug, Default)]
pub struct Hosts {
    exact: Vec<Box<str>>,
    /// `.example.com` for `*.example.com`.
    suffixes: Vec<Box<str>>,
}

/// The host that a head asks for.
///
/// # Errors
/// `bad_request` where there is none, more than one, a malformed one, or one that differs from the target's.
pub(super) fn asked(parts: &Parts) -> Ruling<Authority> {
    let mut values = parts.headers.get_all(HOST).iter();
    let field = values.next();
    if values.next().is_some() {
        return Err(bad("two hosts"));
    }
    let field = match field.map(|value| str::from_utf8(value.as_bytes()).ok().and_then(Authority::parse)) {
        Some(None) => return Err(bad("`host` is malformed")),
        Some(Some(host)) => Some(host),
        None => None,
    };
    let target = target(parts)?;
    let second = parts.version == Version::HTTP_2;
    match (field, target) {
        (None, None) => Err(bad("no host")),
        (Some(host), None) => Ok(host),
        (None, Some(host)) if second => Ok(host),
        // RFC 9112 §3.2: `Host` is due even beside an absolute target.
        (None, Some(_)) => Err(bad("no host")),
        (Some(field), Some(target)) if same(&field, &target, parts) => Ok(target),
        (Some(_), Some(_)) => Err(bad("the target names another host")),
    }
}

/// The host of an absolute target, or of `:authority`.
fn target(parts: &Parts) -> Ruling<Option<Authority>> {
    let Some(authority) = parts.uri.authority() else { return Ok(None) };
    if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("the target's scheme is not http or https"));
    }
    match Authority::parse(authority.as_str()) {
        Some(host) => Ok(Some(host)),
        None => Err(bad("the target's host is malformed")),
    }
}

/// Equal, where an absent port is the scheme's own.
fn same(field: &Authority, target: &Authority, parts: &Parts) -> bool {
    let default = if parts.uri.scheme_str() == Some("http") { 80 } else { 443 };
    field.name == target.name && field.port.unwrap_or(default) == target.port.unwrap_or(default)
}

impl Authority {
    /// Parses `host[:port]`: a DNS name, an IPv4 address or a bracketed IPv6 address. User names, empty ports, percent
    /// escapes and numbers that only some parsers take for an address are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (format!("[{address}]").into_boxed_str(), rest)
            }
            None => {
                let end = text.bytes().position(|byte| byte == b':').unwrap_or(text.len());
                let (name, rest) = text.split_at_checked(end)?;
                (dns_name(name)?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { name, port })
    }

    /// Whether it is written as an address of this machine.
    fn is_loopback(&self) -> bool {
        let v6 = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        match v6 {
            Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
            None => self.name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        }
    }
}

fn port(digits: &str) -> Option<u16> {
    let well_formed = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| well_formed && *port > 0)
}

/// A name in lower case, without its final dot.
fn dns_name(text: &str) -> Option<Box<str>> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.as_bytes().split(|byte| *byte == b'.').all(is_label) {
        return None;
    }
    let last = name.rsplit('.').next()?;
    // `127.1`, `0x7f.1` and `2130706433` are addresses to some resolvers and names to others.
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(name.to_ascii_lowercase().into_boxed_str())
}

fn is_label(label: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.iter().all(inner) && !label.starts_with(b"-") && !label.ends_with(b"-")
}

impl Hosts {
    /// Takes one entry of the configuration: a name, or `*.` and a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        let (list, text, dot) = match entry.strip_prefix("*.") {
            Some(rest) => (&mut self.suffixes, rest, "."),
            None => (&mut self.exact, entry, ""),
        };
        let parsed = Authority::parse(text).ok_or_else(|| format!("`{entry}` is not a host name"))?;
        if parsed.port.is_some() {
            return Err(format!("`{entry}` holds a port: hosts are names alone"));
        }
        if !dot.is_empty() && (parsed.name.starts_with('[') || parsed.name.parse::<Ipv4Addr>().is_ok()) {
            return Err(format!("`{entry}` puts a wildcard before an address"));
        }
        list.push(format!("{dot}{}", parsed.name).into_boxed_str());
        Ok(())
    }

    /// Whether `host` is served: any host where none is listed, a listed one, and always a literal loopback address, so
    /// that a probe on this machine needs no entry. DNS rebinding gains nothing by it: a browser sends the page's name.
    #[must_use]
    pub fn serves(&self, host: &Authority) -> bool {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return true;
        }
        let name = &*host.name;
        self.exact.iter().any(|served| &**served == name)
            || self.suffixes.iter().any(|suffix| name.ends_with(&**suffix))
            || host.is_loopback()
    }
}
