//! Who is asking: API keys, access tokens and client certificates. A gate: it cannot be watched, switched off or fail open.
//!
//! Reads no file, no clock and no store: the gateway loads the key file and the keys of issuers, and swaps them when they
//! change. What a caller may do is `authz`.

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
mod token;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate_core::identity::{Certificate, Identity, Peer};
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

use crate::hygiene::Head;
use crate::routes::AuthNeed;
pub use config::{AuthConfig, KeysConfig, Peppers};
pub use credential::CREDENTIAL_HEADERS;
use credential::Credential;
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
    Revoked(KeyId),
    Scheme,
    Token(Flaw),
    TwoCredentials,
    Unknown(KeyId),
    WrongSecret(KeyId),
}

impl Auth {
    /// The layer over a ring of keys, and issuers of tokens.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>, tokens: Tokens) -> Self {
        Self { ring, tokens, certificates: ClientAuth::default(), anonymous: Identity::anonymous() }
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

    /// Finds out who sent a request. Waits only where a token needs keys, or the word of its issuer, that is not here yet.
    ///
    /// Where nothing is asked for, a good credential still names its owner; every other one counts as none, because
    /// whoever sent it could as well have left it out.
    ///
    /// # Errors
    /// `bad_request` for more than one credential, `misdirected` for a host that requires a certificate where the connection
    /// was made for another; for everything else `unauthenticated`, the same in every case. A fault where we cannot tell.
    pub async fn identify(&self, asking: &Asking<'_>) -> Ruling<Identity> {
        // A certificate that holds no longer is no certificate left out: it refuses, whatever the route asks for.
        let shown = self.certificates.shown(asking).map_err(Failure::Certificate)?;
        match (self.caller(asking, shown.as_deref()).await, asking.need) {
            (Ok(who), _) => Ok(who.over(shown.is_some())),
            (Err(_), AuthNeed::None) => Ok(self.anonymous.clone()),
            (Err(stop), AuthNeed::Required) => Err(stop),
        }
    }

    /// The issuers of tokens.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    async fn caller(&self, asking: &Asking<'_>, certificate: Option<&Certificate>) -> Ruling<Identity> {
        let found = match (credential::of(asking.head), certificate) {
            // What is sent names the caller; a certificate does so alone.
            (Err(Failure::Missing), Some(certificate)) => {
                return Ok(self.certificates.identify(certificate).map_err(Failure::Certificate)?);
            }
            (found, _) => found?,
        };
        let shown = |text, proof| asking.shown(text, proof, certificate);
        let text = match found {
            // Only `Authorization` carries tokens: a key is told from one by its shape.
            Credential::Bearer(text) if Tokens::looks_like_one(text) => {
                return Ok(self.tokens.identify(shown(text, None)).await?);
            }
            Credential::Bearer(text) if self.tokens.asks_about(text) => {
                return Ok(self.tokens.introspect(shown(text, None)).await?);
            }
            Credential::Proved(text, proof) if Tokens::looks_like_one(text) => {
                return Ok(self.tokens.identify(shown(text, Some(proof))).await?);
            }
            Credential::Proved(text, proof) if self.tokens.asks_about(text) => {
                return Ok(self.tokens.introspect(shown(text, Some(proof))).await?);
            }
            Credential::Proved(..) => return Err(Failure::Scheme.into()),
            Credential::Bearer(text) | Credential::Key(text) => text,
        };
        let key = Presented::parse(text).map_err(Failure::Malformed)?;
        Ok(self.ring.load().identify(&key, asking.from, asking.unix_ms)?)
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
            Failure::TwoCredentials => Code::BadRequest,
            _ => Code::Unauthenticated,
        };
        Refusal::new(code).because(failure).into()
    }
}

impl From<Unproved> for Stop {
    fn from(unproved: Unproved) -> Self {
        match unproved {
            Unproved::Fault(fault) => fault.into(),
            Unproved::Flaw(flaw) => Failure::Token(flaw).into(),
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
            Self::Revoked(id) => write!(f, "key `{id}` is revoked"),
            Self::Scheme => f.write_str("the authorization scheme is not `Bearer`"),
            Self::Token(flaw) => write!(f, "the token is refused: {flaw}"),
            Self::TwoCredentials => f.write_str("more than one credential"),
            Self::Unknown(id) => write!(f, "no key has the id `{id}`"),
            Self::WrongSecret(id) => write!(f, "the secret of key `{id}` is wrong"),
        }
    }
}
