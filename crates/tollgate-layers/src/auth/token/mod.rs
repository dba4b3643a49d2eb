//! Access tokens: signed ones (JWT) of the issuers that are configured. Knows no keys of API and no sockets.
//!
//! Everything cheap is checked first and the signature last, so that a token that is refused costs little; what is
//! checked before the signature (names of issuers, audiences, types) is no secret.
#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing, clippy::string_slice)
)]

mod algorithm;
mod claims;
mod config;
#[cfg(test)]
pub(super) mod corpus;
mod dpop;
mod flaw;
mod fuzzed;
mod issuer;
mod jose;
mod jwk;
mod keys;
mod resource;
mod shelf;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tollgate_core::backend::BoxFuture;
use tollgate_core::identity::{Certificate, Identity};
use tollgate_core::ruling::{Fault, Origin};

pub use algorithm::Algorithm;
use claims::{Bound, Claims, LEEWAY};
pub use config::{IntrospectionConfig, IssuerConfig, JwksConfig, ScopesConfig, TenantClaimConfig, TokenNames};
pub use dpop::Replays;
use dpop::{Asked, Proof, Use};
pub use flaw::Flaw;
pub use fuzzed::FuzzedTokens;
use issuer::Issuer;
use jose::{Compact, LONGEST};

pub use jwk::{BadKey, BadSet, LARGEST_SET};
pub use keys::{KeyRoom, KeySet};
pub use resource::{Resource, metadata_path};
use shelf::{Known, Shelf};

use super::key::PREFIX;

/// What an issuer says of a token counts for so long, in milliseconds.
const SAID_MS: u64 = 30_000;
/// And so long where it says no.
const DENIED_MS: u64 = 10_000;
/// Stands for the generation of keys where none were needed.
const NO_KEYS: u64 = u64::MAX;

/// Whoever may ask one issuer something: the gateway, through its guarded way out. The layer itself never opens a
/// connection.
pub trait Outside: fmt::Debug + Send + Sync {
    /// Resolves when the keys of the issuer were fetched anew, or at once if it is too early to ask again.
    fn refresh(&self) -> BoxFuture<'_, ()>;

    /// What the issuer says of a token: the body of its answer (RFC 7662).
    /// `from` is who sent it: one address must not use up all questions.
    fn introspect<'a>(&'a self, token: &'a str, from: IpAddr) -> BoxFuture<'a, Result<Bytes, Fault>>;
}

/// The issuers, ready for use. Made anew with each policy: what was accepted under other rules is checked again.
#[derive(Debug)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    shelf: Option<Shelf>,
    resource: Option<Resource>,
    replays: Arc<Replays>,
}

/// What a signed token needs that is not there.
enum Missing {
    /// Its issuer, by place, has no key of that name.
    Key(usize),
    /// It is refused.
    Refused(Flaw),
    /// The keys of its issuer, by place, are too old, or were never there.
    Stale(usize),
}

/// Why a token names nobody.
#[derive(Debug)]
pub(super) enum Unproved {
    /// We cannot tell: something that we need is not there.
    Fault(Fault),
    /// It is refused.
    Flaw(Flaw),
}

/// What comes with a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// The token.
    pub(super) text: &'a [u8],
    /// The proof that its key is held, where the scheme is `DPoP`.
    pub(super) proof: Option<&'a [u8]>,
    /// The method of the request.
    pub(super) method: &'a Method,
    /// Its path.
    pub(super) path: &'a str,
    /// The client certificate behind the request.
    pub(super) certificate: Option<&'a Certificate>,
    /// The address that it counts as coming from.
    pub(super) from: IpAddr,
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: u64,
}

impl Tokens {
    fn new(issuers: Vec<Issuer>, names: &TokenNames<'_>) -> Self {
        let shelf = (!issuers.is_empty()).then(|| Shelf::new(names.seed));
        let resource = names.resource.and_then(|url| Resource::new(url, &issuers, names.dpop));
        Self { issuers, shelf, resource, replays: Arc::clone(names.replays) }
    }

    /// No issuer: every token is refused.
    #[must_use]
    pub fn none() -> Self {
        Self { issuers: Vec::new(), shelf: None, resource: None, replays: Arc::default() }
    }

    /// What we are to clients, where there is an issuer and that is configured.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.resource.as_ref().filter(|_| !self.is_empty())
    }

    /// Whether there is an issuer at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether a text is to be read as a token, and not as a key.
    pub(super) fn looks_like_one(text: &[u8]) -> bool {
        jose::looks_like_one(text)
    }

    /// Whether a text that is neither a key nor a signed token is shown to an issuer: visible ASCII without spaces, as
    /// RFC 6750 § 2.1 writes tokens, and long enough not to be guessed.
    pub(super) fn asks_about(&self, text: &[u8]) -> bool {
        let fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        // A key of ours is nobody else's business, whatever scheme it stands under.
        !text.starts_with(PREFIX.as_bytes())
            && self.asked().is_some()
            && (16..=LONGEST).contains(&text.len())
            && text.iter().all(fit)
    }

    /// The issuer that is asked, and its place.
    fn asked(&self) -> Option<(usize, &Issuer)> {
        self.issuers.iter().enumerate().find(|(_, issuer)| issuer.introspects)
    }

    /// Who is meant by a token that says nothing itself.
    pub(super) async fn introspect(&self, shown: Shown<'_>) -> Result<Identity, Unproved> {
        let (Some(shelf), Some((place, issuer))) = (&self.shelf, self.asked()) else {
            return Err(Unproved::Flaw(Flaw::Issuer));
        };
        let digest = shelf.digest(shown.text);
        if let Some(decided) = shelf.find(&digest, shown.unix_ms, |known| self.recall(known, &shown)).flatten() {
            return decided;
        }
        let outside = issuer.outside.as_ref().ok_or(Unproved::Flaw(Flaw::Issuer))?;
        let text = str::from_utf8(shown.text).map_err(|_| Unproved::Flaw(Flaw::Base64))?;
        let said = outside.introspect(text, shown.from).await.map_err(Unproved::Fault)?;
        let (who, bound, until_ms) = match Self::hear(issuer, &said, shown.unix_ms) {
            Ok(heard) => heard,
            Err(Flaw::Json) => {
                let why = "what the issuer says of a token is not strict JSON";
                return Err(Unproved::Fault(Fault::new(Origin::Store, why)));
            }
            Err(flaw) => {
                // Asked once: the same token is refused for a while without a question.
                let (issuer, until_ms) = (place, shown.unix_ms + DENIED_MS);
                let bound = Bound::default();
                shelf.put(Known { digest, issuer, who: None, bound, until_ms, generation: NO_KEYS });
                return Err(Unproved::Flaw(flaw));
            }
        };
        let known = Known { digest, issuer: place, who, bound, until_ms, generation: NO_KEYS };
        let decided = self.decide(&known, &shown);
        shelf.put(known);
        decided
    }

    /// What an issuer says of a token: whose it is, what it is bound to, and for how long that counts.
    fn hear(issuer: &Issuer, said: &[u8], now_ms: u64) -> Result<(Option<Identity>, Bound, u64), Flaw> {
        let all = jose::object(said)?;
        match all.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok((None, Bound::default(), now_ms + DENIED_MS)),
            _ => return Err(Flaw::Json),
        }
        let claims = Claims::read(all)?;
        issuer.check_said(&claims, now_ms / 1000)?;
        let ends = claims.expires.map_or(u64::MAX, |expires| expires.saturating_mul(1000));
        Ok((Some(issuer.identity(&claims)?), claims.bound, ends.min(now_ms + SAID_MS)))
    }

    /// Who is meant by a signed token. Waits only for keys that are not here yet.
    pub(super) async fn identify(&self, shown: Shown<'_>) -> Result<Identity, Unproved> {
        let Some(shelf) = &self.shelf else { return Err(Unproved::Flaw(Flaw::Issuer)) };
        if shown.text.len() > LONGEST {
            return Err(Unproved::Flaw(Flaw::Long));
        }
        let digest = shelf.digest(shown.text);
        if let Some(decided) = shelf.find(&digest, shown.unix_ms, |known| self.recall(known, &shown)).flatten() {
            return decided;
        }
        let known = match self.check(&shown, digest) {
            Ok(known) => known,
            Err(Missing::Key(issuer) | Missing::Stale(issuer)) => {
                self.refresh(issuer).await;
                self.check(&shown, digest).map_err(|missing| self.refused(&missing))?
            }
            Err(missing) => return Err(self.refused(&missing)),
        };
        let decided = self.decide(&known, &shown);
        shelf.put(known);
        decided
    }

    /// What is remembered of a token, if it still holds.
    fn recall(&self, known: &Known, shown: &Shown<'_>) -> Option<Result<Identity, Unproved>> {
        let issuer = self.issuers.get(known.issuer)?;
        // Its key may be gone by now, or the keys too old to be trusted.
        let same = || known.generation == issuer.keys.generation() && issuer.keys.is_good(shown.unix_ms);
        (known.generation == NO_KEYS || same()).then(|| self.decide(known, shown))
    }

    /// What was found of a token, and what came with it this time.
    fn decide(&self, known: &Known, shown: &Shown<'_>) -> Result<Identity, Unproved> {
        let who = known.who.as_ref().ok_or(Unproved::Flaw(Flaw::Inactive))?;
        if let Some(print) = known.bound.certificate
            && shown.certificate.is_none_or(|certificate| certificate.sha256 != print)
        {
            return Err(Unproved::Flaw(Flaw::OtherCertificate));
        }
        match (known.bound.key, shown.proof) {
            (None, None) => {}
            (Some(key), Some(proof)) => self.prove(key, proof, shown)?,
            (Some(_), None) => return Err(Unproved::Flaw(Flaw::Proof)),
            (None, Some(_)) => return Err(Unproved::Flaw(Flaw::ProofKey)),
        }
        Ok(who.clone())
    }

    /// Holds a proof to a key, and uses it up.
    fn prove(&self, key: [u8; 32], proof: &[u8], shown: &Shown<'_>) -> Result<(), Unproved> {
        let origin = self.resource.as_ref().and_then(|resource| resource.proves.as_deref());
        let origin = origin.ok_or(Unproved::Flaw(Flaw::NoResource))?;
        let asked = Asked { method: shown.method, origin, path: shown.path, token: shown.text };
        let proof = Proof::check(proof, &asked, shown.unix_ms / 1000).map_err(Unproved::Flaw)?;
        if proof.key != key {
            return Err(Unproved::Flaw(Flaw::ProofKey));
        }
        match self.replays.use_up(&proof, shown.unix_ms) {
            Use::Again => Err(Unproved::Flaw(Flaw::ProofAgain)),
            Use::First => Ok(()),
            Use::Full => Err(Unproved::Fault(Fault::new(Origin::Own, "the table of proofs is full").retryable())),
        }
    }

    /// Checks a signed token, from its form to its signature.
    fn check(&self, shown: &Shown<'_>, digest: shelf::Digest) -> Result<Known, Missing> {
        let Compact { signed, header, claims, signature } = Compact::parse(shown.text)?;
        let claims = Claims::read(claims)?;
        let says = claims.issuer.as_deref().ok_or(Flaw::ClaimMissing("iss"))?;
        let place = self.issuers.iter().position(|issuer| *issuer.says == *says).ok_or(Flaw::Issuer)?;
        let issuer = self.issuers.get(place).ok_or(Flaw::Issuer)?;
        if !issuer.algorithms.contains(&header.algorithm) {
            return Err(Flaw::Algorithm.into());
        }
        if !header.kind.as_deref().is_some_and(|kind| issuer.types.iter().any(|known| **known == *kind)) {
            return Err(Flaw::Type.into());
        }
        issuer.check(&claims, shown.unix_ms / 1000)?;
        let who = issuer.identity(&claims)?;
        // Before the keys: if they change meanwhile, what is remembered is already out of date.
        let generation = issuer.keys.generation();
        let keys = issuer.keys.load();
        let keys = keys.as_ref().filter(|keys| !KeyRoom::is_over(keys, shown.unix_ms)).ok_or(Missing::Stale(place))?;
        let key = keys.find(header.key_id.as_deref(), header.algorithm).ok_or(Missing::Key(place))?;
        key.verify(header.algorithm, signed, &signature)?;
        let until_ms = claims.expires.unwrap_or_default().saturating_add(LEEWAY).saturating_mul(1000);
        Ok(Known { digest, issuer: place, who: Some(who), bound: claims.bound, until_ms, generation })
    }

    async fn refresh(&self, place: usize) {
        if let Some(outside) = self.issuers.get(place).and_then(|issuer| issuer.outside.as_ref()) {
            outside.refresh().await;
        }
    }

    fn refused(&self, missing: &Missing) -> Unproved {
        let name = |place: usize| self.issuers.get(place).map_or("", |issuer| &*issuer.name);
        match missing {
            Missing::Key(_) => Unproved::Flaw(Flaw::KeyUnknown),
            Missing::Refused(flaw) => Unproved::Flaw(*flaw),
            Missing::Stale(place) => {
                let why = format_args!("the keys of issuer `{}` are not here, or too old", name(*place));
                Unproved::Fault(Fault::new(Origin::Store, why).retryable())
            }
        }
    }
}

impl From<Flaw> for Missing {
    fn from(flaw: Flaw) -> Self {
        Self::Refused(flaw)
    }
}
