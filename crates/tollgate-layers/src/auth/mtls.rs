//! Who a client certificate names: by its SPIFFE id or by another subject alternative name, never by its common name.
//!
//! The handshake verified the certificate (`tollgate-gateway/src/tls/mtls.rs`), or a proxy did whose word counts. Here
//! is decided whether it still holds, whose it is, and whether the connection was asked for it at all.

mod config;
mod forwarded;
mod map;
mod spiffe;
#[cfg(test)]
mod tests;
mod x509;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use tollgate_core::identity::{Certificate, Identity};

use super::Asking;
use crate::network::Nets;
pub use config::{
    AskFor, ClientAuthConfig, ForwardedConfig, MapConfig, Revocation, Surroundings, TrustConfig, TrustKind,
};
use map::Map;
pub use spiffe::SpiffeId;
pub use x509::{RevocationList, Unreadable, read_certificate, read_revoked};

/// What the layer knows of client certificates. Empty where nobody is asked for one.
#[derive(Debug, Default)]
pub struct ClientAuth {
    /// By listener.
    doors: HashMap<Box<str>, Door>,
    map: Map,
    /// Proxies that pass certificates on, and whose certificates these may be.
    forwarded: Option<Forwarded>,
    /// What the lists of now revoke: connections that run are held to them, too.
    revoked: HashSet<[u8; 32]>,
}

/// What a listener asks of its clients, by the host that they name.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Where no name says otherwise.
    pub default: AskFor,
    /// Hosts in lower case, exact or `.example.com` for `*.example.com`.
    pub names: HashMap<Box<str>, AskFor>,
}

#[derive(Debug)]
struct Forwarded {
    proxies: Nets,
    domains: Vec<Box<str>>,
    plain: Option<Box<str>>,
}

/// Why a certificate does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// It ended while its connection ran, or before a proxy passed it on.
    Expired,
    /// What a proxy passed on is no certificate.
    Malformed,
    /// This host asks for a certificate; the connection was made for one that does not.
    Misdirected,
    /// It has not begun.
    NotYet,
    /// A list revokes it, or one above it.
    Revoked,
    /// It is good, and no rule says whose it is.
    Unmapped,
    /// No trust that proxies may speak for is its own.
    Untrusted,
}

impl Door {
    /// What a client is asked for that names this host.
    #[must_use]
    pub fn asks(&self, host: Option<&str>) -> AskFor {
        let Some(host) = host.filter(|_| !self.names.is_empty()) else { return self.default };
        let suffix = || host.find('.').and_then(|dot| self.names.get(host.get(dot..)?));
        self.names.get(host).or_else(suffix).copied().unwrap_or(self.default)
    }

    /// Whether any client may be asked.
    #[must_use]
    pub fn asks_anybody(&self) -> bool {
        self.default != AskFor::None || self.names.values().any(|asks| *asks != AskFor::None)
    }
}

impl ClientAuth {
    /// The certificate behind a request, if there is one.
    pub(super) fn shown<'a>(&self, asking: &Asking<'a>) -> Result<Option<Cow<'a, Certificate>>, Refused> {
        let peer = asking.peer;
        if let Some(forwarded) = self.forwarded.as_ref().filter(|known| known.proxies.contains(peer.ip)) {
            // The proxy's own certificate says nothing of its client.
            let Some(certificate) = forwarded.certificate(asking)? else { return Ok(None) };
            return self.holds(&certificate, asking.unix_ms).map(|()| Some(Cow::Owned(certificate)));
        }
        let Some(certificate) = peer.certificate.as_deref() else {
            let door = if peer.tls { self.doors.get(&*peer.listener) } else { None };
            let asks = door.map_or(AskFor::None, |door| door.asks(Some(&asking.head.host)));
            return if asks == AskFor::Require { Err(Refused::Misdirected) } else { Ok(None) };
        };
        self.holds(certificate, asking.unix_ms).map(|()| Some(Cow::Borrowed(certificate)))
    }

    /// Whose a certificate is.
    pub(super) fn identify(&self, certificate: &Certificate) -> Result<Identity, Refused> {
        self.map.find(certificate).ok_or(Refused::Unmapped)
    }

    /// The handshake looked at all of this, but connections live longer than a list, and some longer than a certificate.
    fn holds(&self, certificate: &Certificate, now_ms: u64) -> Result<(), Refused> {
        if now_ms > certificate.not_after_ms {
            return Err(Refused::Expired);
        }
        if now_ms < certificate.not_before_ms {
            return Err(Refused::NotYet);
        }
        if !self.revoked.is_empty() && certificate.lineage.iter().any(|one| self.revoked.contains(one)) {
            return Err(Refused::Revoked);
        }
        Ok(())
    }
}

impl Forwarded {
    fn certificate(&self, asking: &Asking<'_>) -> Result<Option<Certificate>, Refused> {
        let Some(der) = forwarded::leaf(&asking.head.headers)? else { return Ok(None) };
        let mut certificate = read_certificate(&der, std::iter::empty()).map_err(|_| Refused::Malformed)?;
        let id = certificate.uris.iter().find_map(|uri| SpiffeId::parse(uri));
        let trust = match id {
            Some(_) if certificate.uris.len() > 1 => return Err(Refused::Malformed),
            Some(id) => self.domains.iter().find(|domain| ***domain == *id.domain),
            None => self.plain.as_ref(),
        };
        certificate.trust = trust.ok_or(Refused::Untrusted)?.clone();
        Ok(Some(certificate))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the client certificate has expired",
            Self::Malformed => "`client-cert` holds no certificate that can be read",
            Self::Misdirected => "this host asks for a client certificate, and the connection was made for another",
            Self::NotYet => "the client certificate is not valid yet",
            Self::Revoked => "the client certificate, or one above it, is revoked",
            Self::Unmapped => "no rule says whose the client certificate is",
            Self::Untrusted => "the client certificate is of no trust that proxies may speak for",
        })
    }
}
