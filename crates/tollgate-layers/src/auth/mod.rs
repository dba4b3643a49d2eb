//! Who is asking: API keys. A gate: it cannot be watched, switched off or fail open.
//!
//! Reads no file, no clock and no store: the gateway loads the key file, and swaps the ring when it changes. What a
//! caller may do is `authz`.

mod config;
mod credential;
mod file;
mod foreign;
mod issue;
mod key;
mod ring;
mod rotate;
mod sentry;
#[cfg(test)]
mod tests;
mod timestamp;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::identity::{Identity, Peer};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling, Stop};
use tollgate_core::time::Tick;

use crate::hygiene::Head;
use crate::routes::AuthNeed;
pub use config::{AuthConfig, KeyStoreConfig, KeysConfig, Peppers};
pub use credential::CREDENTIAL_HEADERS;
pub use file::{KeyFile, KeyKind, KeyRecord, KeyState};
pub use foreign::{Imported, Unfit};
pub use issue::{IssuedKey, KeyFileError, KeyRow, NewKey, PepperValue, Revoked, Standing};
pub use key::{
    BrokenRandom, KeyId, Malformed, PREFIX, Pepper, Presented, Random, SCANNER_PATTERN, Seal, compose, is_env,
};
pub use ring::{IdKey, KeyNames, KeyRing, Keys};
pub use rotate::{DEFAULT_GRACE, DEFAULT_KEPT, Rotation};
pub use sentry::{AttemptsConfig, FailuresConfig, Refusals, Sentry};
pub use timestamp::{NotATime, Timestamp};

/// The layer. It survives a reload of the key file: the ring inside is swapped.
#[derive(Debug)]
pub struct Auth {
    ring: Arc<KeyRing>,
    sentry: Sentry,
    anonymous: Identity,
}

/// Why a request has no identity. Holds no part of a secret: it becomes evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Address(KeyId),
    Expired(KeyId),
    InQuery,
    Malformed(Malformed),
    Missing,
    NotYet(KeyId),
    Plaintext,
    Revoked(KeyId),
    Scheme,
    Stale,
    TooMany(Duration),
    TwoCredentials,
    Unknown(KeyId),
    UnknownOpaque,
    WrongSecret(KeyId),
}

impl Auth {
    /// The layer over a ring of keys.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self { ring, sentry: Sentry::default(), anonymous: Identity::anonymous() }
    }

    /// The same, with what stands before it.
    #[must_use]
    pub fn behind(self, sentry: Sentry) -> Self {
        Self { sentry, ..self }
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
    /// `bad_request` for more than one credential, `rate_limited` for whoever failed too often; for everything else
    /// `unauthenticated`, the same in every case. A fault where we cannot tell.
    pub fn identify(&self, asking: &Asking<'_>) -> Ruling<Identity> {
        match (self.caller(asking).inspect_err(|failure| self.sentry.count(failure.reason())), asking.need) {
            (Ok(who), _) => Ok(who),
            (Err(_), AuthNeed::None) => Ok(self.anonymous.clone()),
            (Err(failure), AuthNeed::Required) => Err(failure.into()),
        }
    }

    fn caller(&self, asking: &Asking<'_>) -> Result<Identity, Failure> {
        let text = credential::of(asking.head)?;
        self.sentry.see_wire(asking)?;
        let keys = self.ring.load();
        let key = keys.read(text)?;
        self.sentry.admit(asking, key.id())?;
        if !self.ring.is_fresh(asking.unix_ms) {
            return Err(Failure::Stale);
        }
        keys.identify(&key, asking.from, asking.unix_ms).inspect_err(|_| self.sentry.failed(asking, key.id()))
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
    /// When it came, monotonic.
    pub at: Tick,
    /// When it came, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What its route asks for.
    pub need: AuthNeed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Stale => return Fault::new(Origin::Store, failure).into(),
            Failure::TooMany(wait) => return Refusal::new(Code::RateLimited).retry_after(wait).because(failure).into(),
            Failure::TwoCredentials => Code::BadRequest,
            _ => Code::Unauthenticated,
        };
        Refusal::new(code).because(failure).into()
    }
}

impl Failure {
    /// Its name in the metric.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Expired(_) => "expired",
            Self::InQuery => "in_query",
            Self::Malformed(_) => "malformed",
            Self::Missing => "missing",
            Self::NotYet(_) => "not_yet",
            Self::Plaintext => "plaintext",
            Self::Revoked(_) => "revoked",
            Self::Scheme => "scheme",
            Self::Stale => "other",
            Self::TooMany(_) => "too_many",
            Self::TwoCredentials => "two_credentials",
            Self::Unknown(_) | Self::UnknownOpaque => "unknown",
            Self::WrongSecret(_) => "wrong_secret",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(id) => write!(f, "key `{id}` is not for this address"),
            Self::Expired(id) => write!(f, "key `{id}` has expired"),
            Self::InQuery => f.write_str("a credential stands in the query string"),
            Self::Malformed(why) => why.fmt(f),
            Self::Missing => f.write_str("no credential"),
            Self::NotYet(id) => write!(f, "key `{id}` is not valid yet"),
            Self::Plaintext => f.write_str("a credential came in plain text: whoever could read it has it"),
            Self::Revoked(id) => write!(f, "key `{id}` is revoked"),
            Self::Scheme => f.write_str("the authorization scheme is not `Bearer`"),
            Self::Stale => f.write_str("the store of the keys was away for too long"),
            Self::TooMany(_) => f.write_str("too many failed attempts"),
            Self::TwoCredentials => f.write_str("more than one credential"),
            Self::Unknown(id) => write!(f, "no key has the id `{id}`"),
            Self::UnknownOpaque => f.write_str("no imported key is this one"),
            Self::WrongSecret(id) => write!(f, "the secret of key `{id}` is wrong"),
        }
    }
}
