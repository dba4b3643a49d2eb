//! Who is asking: API keys, access tokens and client certificates. A gate: it cannot be watched, switched off or fail open.
//!
//! Reads no file, no clock and no store: the gateway loads the key file and the keys of issuers, and swaps them when they
//! change. What a caller may do is `authz`.

mod config;
mod credential;
mod file;
mod foreign;
mod issue;
mod key;
mod mtls;
mod ring;
mod rotate;
mod sentry;
#[cfg(test)]
mod tests;
mod timestamp;
mod token;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::identity::{Certificate, Identity, Peer};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling, Stop};
use tollgate_core::time::Tick;

use crate::hygiene::Head;
use crate::routes::AuthNeed;
pub use config::{AuthConfig, KeyStoreConfig, KeysConfig, Peppers};
pub use credential::CREDENTIAL_HEADERS;
use credential::Credential;
pub use file::{KeyFile, KeyKind, KeyRecord, KeyState};
pub use foreign::{Imported, Unfit};
pub use issue::{IssuedKey, KeyFileError, KeyRow, NewKey, PepperValue, Revoked, Standing};
pub use key::{
    BrokenRandom, KeyId, Malformed, PREFIX, Pepper, Presented, Random, SCANNER_PATTERN, Seal, compose, is_env,
};
pub use mtls::{
    AskFor, ClientAuth, ClientAuthConfig, Door, ForwardedConfig, MapConfig, Revocation, RevocationList, SpiffeId,
    Surroundings, TrustConfig, TrustKind, Unreadable, read_certificate, read_revoked,
};
pub use ring::{IdKey, KeyNames, KeyRing, Keys};
pub use rotate::{DEFAULT_GRACE, DEFAULT_KEPT, Rotation};
pub use sentry::{AttemptsConfig, FailuresConfig, Refusals, Sentry};
pub use timestamp::{NotATime, Timestamp};
pub use token::{
    Algorithm, BadKey, BadSet, Flaw, FuzzedTokens, IntrospectionConfig, IssuerConfig, JwksConfig, KeyRoom, KeySet,
    LARGEST_SET, Outside, Replays, Resource, ScopesConfig, TenantClaimConfig, TokenNames, Tokens, metadata_path,
};
use token::{Shown, Unproved};

/// The layer. It survives a reload of the key file: the ring inside is swapped.
#[derive(Debug)]
pub struct Auth {
    ring: Arc<KeyRing>,
    certificates: ClientAuth,
    sentry: Sentry,
    tokens: Tokens,
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
    Plaintext,
    Revoked(KeyId),
    Scheme,
    Stale,
    TooMany(Duration),
    Token(Flaw),
    TwoCredentials,
    Unknown(KeyId),
    UnknownOpaque,
    WrongSecret(KeyId),
}

/// Why nobody was found.
#[derive(Debug)]
enum Away {
    Failed(Failure),
    Faulted(Fault),
}

impl Auth {
    /// The layer over a ring of keys, and issuers of tokens.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, tokens: Tokens) -> Self {
        let (sentry, certificates) = (Sentry::default(), ClientAuth::default());
        Self { ring, tokens, sentry, certificates, anonymous: Identity::anonymous() }
    }

    /// The same, with what it knows of client certificates.
    #[must_use]
    pub fn with_certificates(self, certificates: ClientAuth) -> Self {
        Self { certificates, ..self }
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

    /// Finds out who sent a request. Waits only where a token needs keys, or the word of its issuer, that is not here yet.
    ///
    /// Where nothing is asked for, a good credential still names its owner; every other one counts as none, because
    /// whoever sent it could as well have left it out.
    ///
    /// # Errors
    /// `bad_request` for more than one credential, `misdirected` for a host that requires a certificate where the connection
    /// was made for another, `rate_limited` for whoever failed too often; for everything else `unauthenticated`, the same in
    /// every case. A fault where we cannot tell.
    pub async fn identify(&self, asking: &Asking<'_>) -> Ruling<Identity> {
        // A certificate that holds no longer is no certificate left out: it refuses, whatever the route asks for.
        let shown =
            self.certificates.shown(asking).map_err(|refused| self.count(Failure::Certificate(refused).into()))?;
        let caller = self.caller(asking, shown.as_deref()).await.map_err(|away| self.count(away));
        match (caller, asking.need) {
            (Ok(who), _) => Ok(who.over(shown.is_some())),
            (Err(_), AuthNeed::None) => Ok(self.anonymous.clone()),
            (Err(away), AuthNeed::Required) => Err(away.into()),
        }
    }

    /// The issuers of tokens.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Counts why somebody is sent away.
    fn count(&self, away: Away) -> Away {
        self.sentry.count(away.reason());
        away
    }

    async fn caller(&self, asking: &Asking<'_>, certificate: Option<&Certificate>) -> Result<Identity, Away> {
        let sent = match (credential::of(asking.head), certificate) {
            // What is sent names the caller; a certificate does so alone.
            (Err(Failure::Missing), Some(certificate)) => {
                return Ok(self.certificates.identify(certificate).map_err(Failure::Certificate)?);
            }
            (sent, _) => sent?,
        };
        self.sentry.see_wire(asking)?;
        let (text, proof) = match sent {
            // Only `Authorization` carries tokens: a key is told from one by its shape.
            Credential::Key(text) => return Ok(self.by_key(text, asking, false)?),
            Credential::Bearer(text) => (text, None),
            Credential::Proved(text, proof) => (text, Some(proof)),
        };
        let signed = Tokens::looks_like_one(text);
        let known = !signed && self.tokens.asks_about(text);
        if !signed && proof.is_none() {
            match self.by_key(text, asking, known) {
                // What is no key may be a token that its issuer knows.
                Err(failure) if known && failure.is_no_key() => {}
                found => return Ok(found?),
            }
        }
        self.sentry.admit(asking, None)?;
        let shown = asking.shown(text, proof, certificate);
        let told = match (signed, known) {
            (true, _) => self.tokens.identify(shown).await,
            (false, true) => self.tokens.introspect(shown).await,
            (false, false) => return Err(Failure::Scheme.into()),
        };
        let told = told.map_err(Away::from);
        told.inspect_err(|away| {
            if matches!(away, Away::Failed(_)) {
                self.sentry.failed(asking, None);
            }
        })
    }

    /// Whose key it is. `else_token`: what is no key is looked at as a token then, and has not failed yet.
    fn by_key(&self, text: &[u8], asking: &Asking<'_>, else_token: bool) -> Result<Identity, Failure> {
        let keys = self.ring.load();
        let key = keys.read(text)?;
        self.sentry.admit(asking, key.id())?;
        if !self.ring.is_fresh(asking.unix_ms) {
            return Err(Failure::Stale);
        }
        let found = keys.identify(&key, asking.from, asking.unix_ms);
        found.inspect_err(|failure| {
            if !(else_token && failure.is_no_key()) {
                self.sentry.failed(asking, key.id());
            }
        })
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

impl<'a> Asking<'a> {
    fn shown<'b>(&self, text: &'b [u8], proof: Option<&'b [u8]>, certificate: Option<&'b Certificate>) -> Shown<'b>
    where
        'a: 'b,
    {
        let Self { head, from, unix_ms, .. } = *self;
        Shown { text, proof, method: &head.method, path: head.path(), certificate, from, unix_ms }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Certificate(mtls::Refused::Misdirected) => Code::Misdirected,
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
            Self::Certificate(_) => "certificate",
            Self::Expired(_) => "expired",
            Self::InQuery => "in_query",
            Self::Malformed(_) => "malformed",
            Self::Missing => "missing",
            Self::NotYet(_) => "not_yet",
            Self::Plaintext => "plaintext",
            Self::Revoked(_) => "revoked",
            Self::Scheme => "scheme",
            Self::Stale => "other",
            Self::Token(_) => "token",
            Self::TooMany(_) => "too_many",
            Self::TwoCredentials => "two_credentials",
            Self::Unknown(_) | Self::UnknownOpaque => "unknown",
            Self::WrongSecret(_) => "wrong_secret",
        }
    }

    /// It says nothing against a token.
    const fn is_no_key(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::UnknownOpaque)
    }
}

impl Away {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Failed(failure) => failure.reason(),
            Self::Faulted(_) => "other",
        }
    }
}

impl From<Failure> for Away {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unproved> for Away {
    fn from(unproved: Unproved) -> Self {
        match unproved {
            Unproved::Fault(fault) => Self::Faulted(fault),
            Unproved::Flaw(flaw) => Self::Failed(Failure::Token(flaw)),
        }
    }
}

impl From<Away> for Stop {
    fn from(away: Away) -> Self {
        match away {
            Away::Failed(failure) => failure.into(),
            Away::Faulted(fault) => fault.into(),
        }
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
            Self::Plaintext => f.write_str("a credential came in plain text: whoever could read it has it"),
            Self::Revoked(id) => write!(f, "key `{id}` is revoked"),
            Self::Scheme => f.write_str("the authorization scheme is not `Bearer`"),
            Self::Stale => f.write_str("the store of the keys was away for too long"),
            Self::TooMany(_) => f.write_str("too many failed attempts"),
            Self::Token(flaw) => write!(f, "the token is refused: {flaw}"),
            Self::TwoCredentials => f.write_str("more than one credential"),
            Self::Unknown(id) => write!(f, "no key has the id `{id}`"),
            Self::UnknownOpaque => f.write_str("no imported key is this one"),
            Self::WrongSecret(id) => write!(f, "the secret of key `{id}` is wrong"),
        }
    }
}
