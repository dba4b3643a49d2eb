//! Who is asking: API keys and client certificates. A gate: it cannot be watched, switched off or fail open.
//!
//! Reads no file, no clock and no store: the gateway loads the key file, and swaps the ring when it changes. What a
//! caller may do is `authz`.

mod config;
mod credential;
mod file;
mod issue;
mod key;
mod mtls;
mod ring;
#[cfg(test)]
mod tests;
mod timestamp;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate_core::identity::{Certificate, Identity, Peer};
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

use crate::hygiene::Head;
use crate::routes::AuthNeed;
pub use config::{AuthConfig, KeysConfig, Peppers};
pub use credential::CREDENTIAL_HEADERS;
pub use file::{KeyFile, KeyRecord, KeyState};
pub use issue::{IssuedKey, KeyFileError, KeyRow, NewKey, PepperValue, Revoked, Standing};
pub use key::{
    BrokenRandom, KeyId, Malformed, PREFIX, Pepper, Presented, Random, SCANNER_PATTERN, Seal, compose, is_env,
};
pub use mtls::{
    AskFor, ClientAuth, ClientAuthConfig, Door, ForwardedConfig, MapConfig, Revocation, RevocationList, SpiffeId,
    Surroundings, TrustConfig, TrustKind, Unreadable, read_certificate, read_revoked,
};
pub use ring::{IdKey, KeyNames, KeyRing, Keys};
pub use timestamp::{NotATime, Timestamp};

/// The layer. It survives a reload of the key file: the ring inside is swapped.
#[derive(Debug)]
pub struct Auth {
    ring: Arc<KeyRing>,
    certificates: ClientAuth,
    anonymous: Identity,
}

/// Why a request has no identity. Holds no part of a secret: it becomes evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Address(KeyId),
    Certificate(mtls::Refused),
    Expired(KeyId),
    InQuery,
    Malformed(Malformed),
    Missing,
    NotYet(KeyId),
    Revoked(KeyId),
    Scheme,
    TwoCredentials,
    Unknown(KeyId),
    WrongSecret(KeyId),
}

impl Auth {
    /// The layer over a ring of keys.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self { ring, certificates: ClientAuth::default(), anonymous: Identity::anonymous() }
    }

    /// The same, with what it knows of client certificates.
    #[must_use]
    pub fn with_certificates(self, certificates: ClientAuth) -> Self {
        Self { certificates, ..self }
    }

    /// The ring that it asks.
    #[must_use]
    pub const fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Finds out who sent a request.
    ///
    /// Where nothing is asked for, a good key still names its owner; every other credential counts as none, because
    /// whoever sent it could as well have left it out.
    ///
    /// # Errors
    /// `bad_request` for more than one credential; for everything else `unauthenticated`, the same in every case.
    pub fn identify(&self, asking: &Asking<'_>) -> Ruling<Identity> {
        // A certificate that holds no longer is no certificate left out: it refuses, whatever the route asks for.
        let shown = self.certificates.shown(asking).map_err(Failure::Certificate)?;
        match (self.caller(asking, shown.as_deref()), asking.need) {
            (Ok(who), _) => Ok(who.over(shown.is_some())),
            (Err(_), AuthNeed::None) => Ok(self.anonymous.clone()),
            (Err(failure), AuthNeed::Required) => Err(failure.into()),
        }
    }

    fn caller(&self, asking: &Asking<'_>, shown: Option<&Certificate>) -> Result<Identity, Failure> {
        let text = match (credential::of(asking.head), shown) {
            // What is sent names the caller; a certificate does so alone.
            (Err(Failure::Missing), Some(certificate)) => {
                return self.certificates.identify(certificate).map_err(Failure::Certificate);
            }
            (text, _) => text?,
        };
        let key = Presented::parse(text).map_err(Failure::Malformed)?;
        self.ring.load().identify(&key, asking.from, asking.unix_ms)
    }
}

/// What is known of a request before anybody knows who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Its head.
    pub head: &'a Head,
    /// The other end of its connection, with the certificate that it showed.
    pub peer: &'a Peer,
    /// The address that it counts as coming from.
    pub from: IpAddr,
    /// When it came, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What its route asks for.
    pub need: AuthNeed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Certificate(mtls::Refused::Misdirected) => Code::Misdirected,
            Failure::TwoCredentials => Code::BadRequest,
            _ => Code::Unauthenticated,
        };
        Refusal::new(code).because(failure).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(id) => write!(f, "key `{id}` is not for this address"),
            Self::Certificate(why) => why.fmt(f),
            Self::Expired(id) => write!(f, "key `{id}` has expired"),
            Self::InQuery => f.write_str("a credential stands in the query string"),
            Self::Malformed(why) => why.fmt(f),
            Self::Missing => f.write_str("no credential"),
            Self::NotYet(id) => write!(f, "key `{id}` is not valid yet"),
            Self::Revoked(id) => write!(f, "key `{id}` is revoked"),
            Self::Scheme => f.write_str("the authorization scheme is not `Bearer`"),
            Self::TwoCredentials => f.write_str("more than one credential"),
            Self::Unknown(id) => write!(f, "no key has the id `{id}`"),
            Self::WrongSecret(id) => write!(f, "the secret of key `{id}` is wrong"),
        }
    }
}
