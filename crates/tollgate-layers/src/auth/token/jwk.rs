//! Public keys as JSON (RFC 7517): one key, and the set of an issuer. Opens no file and no connection.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::ParsedPublicKey;
use serde_json::{Map, Value};

use super::jose::{decode, is_key_id};
use super::{Algorithm, Flaw};
use crate::protocol::json;

/// The largest key set, in bytes.
pub const LARGEST_SET: usize = 512 * 1024;
/// The most keys of a set.
const MOST_KEYS: usize = 100;
/// Modulus of an RSA key, in bytes. A larger one only makes checking dearer.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
const LIMITS: json::Limits = json::Limits { depth: 8, keys: 1_024 };
/// Members that only a private or a shared key has.
const PRIVATE: [&str; 9] = ["d", "dp", "dq", "k", "oth", "p", "priv", "q", "qi"];

/// One public key.
#[derive(Debug)]
pub(super) struct Jwk {
    pub(super) key_id: Option<Box<str>>,
    /// One for each algorithm that it may be used with.
    usable: Vec<(Algorithm, ParsedPublicKey)>,
    /// RFC 7638.
    pub(super) thumbprint: [u8; 32],
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadKey {
    /// Its members are not those of a key.
    #[error("it is no key as RFC 7517 writes it")]
    Malformed,
    /// Of a kind or curve, or for a use, that tokens here are not signed with.
    #[error("it is not for signatures that are known here")]
    OtherUse,
    /// It holds a secret.
    #[error("it holds private parts: a key set is public")]
    Private,
    /// RSA below 2,048 or above 4,096 bits, or with an exponent that makes no sense.
    #[error("it is an RSA key of another size than 2,048 to 4,096 bits")]
    Size,
}

impl Jwk {
    /// Reads a key.
    ///
    /// # Errors
    /// It is not used, and why.
    pub(super) fn read(members: &Map<String, Value>) -> Result<Self, BadKey> {
        if PRIVATE.iter().any(|name| members.contains_key(*name)) {
            return Err(BadKey::Private);
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if members.get("use").is_some_and(|purpose| purpose != "sig") || !may_verify(members.get("key_ops")) {
            return Err(BadKey::OtherUse);
        }
        let key_id = match members.get("kid") {
            None => None,
            Some(Value::String(id)) if is_key_id(id) => Some(id.as_str().into()),
            Some(_) => return Err(BadKey::Malformed),
        };
        let only = match members.get("alg") {
            None => None,
            Some(Value::String(word)) => Some(Algorithm::parse(word).ok_or(BadKey::OtherUse)?),
            Some(_) => return Err(BadKey::Malformed),
        };
        let (mut usable, canonical) = match (text("kty").ok_or(BadKey::Malformed)?, text("crv")) {
            ("EC", Some(curve @ ("P-256" | "P-384"))) => elliptic(curve, text("x"), text("y"))?,
            ("OKP", Some("Ed25519")) => edwards(text("x"))?,
            ("RSA", _) => rsa(text("n"), text("e"), only)?,
            _ => return Err(BadKey::OtherUse),
        };
        usable.retain(|(algorithm, _)| only.is_none_or(|only| only == *algorithm));
        if usable.is_empty() {
            return Err(BadKey::OtherUse);
        }
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
        Ok(Self { key_id, usable, thumbprint })
    }

    /// Whether it can have made signatures of that algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.usable.iter().any(|(known, _)| *known == algorithm)
    }

    /// Checks a signature.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        let (_, key) = self.usable.iter().find(|(known, _)| *known == algorithm).ok_or(Flaw::Algorithm)?;
        key.verify_sig(signed, signature).map_err(|_| Flaw::Signature)
    }
}

/// Keys that are used, and why others are not, by their places.
type Read = (Vec<Jwk>, Vec<(usize, BadKey)>);

/// Reads the keys of a set. What is not a key for signatures is left out, as RFC 7517 § 5 asks; a private key is told of.
///
/// # Errors
/// It is no key set, or too large.
pub(super) fn read_set(text: &[u8]) -> Result<Read, BadSet> {
    if text.len() > LARGEST_SET {
        return Err(BadSet::Large);
    }
    json::validate(text, LIMITS).map_err(|_| BadSet::Malformed)?;
    let set: Value = serde_json::from_slice(text).map_err(|_| BadSet::Malformed)?;
    let listed = set.get("keys").and_then(Value::as_array).ok_or(BadSet::Malformed)?;
    if listed.len() > MOST_KEYS {
        return Err(BadSet::Many);
    }
    let (mut keys, mut left_out) = (Vec::new(), Vec::new());
    for (i, key) in listed.iter().enumerate() {
        match key.as_object().ok_or(BadKey::Malformed).and_then(Jwk::read) {
            Ok(key) => keys.push(key),
            Err(why) => left_out.push((i, why)),
        }
    }
    Ok((keys, left_out))
}

/// Why a text is no key set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSet {
    /// Of all its keys, none can be used.
    #[error("it holds no key for signatures that are known here")]
    Empty,
    /// Larger than 512 KiB.
    #[error("it is larger than 512 KiB")]
    Large,
    /// No strict JSON, or not `{\"keys\": […]}`.
    #[error("it is no key set as RFC 7517 writes it")]
    Malformed,
    /// More than 100 keys.
    #[error("it holds more than 100 keys")]
    Many,
}

type Usable = (Vec<(Algorithm, ParsedPublicKey)>, String);

fn elliptic(curve: &str, x: Option<&str>, y: Option<&str>) -> Result<Usable, BadKey> {
    let (algorithm, size) = if curve == "P-256" { (Algorithm::Es256, 32) } else { (Algorithm::Es384, 48) };
    let (x, y) = (x.ok_or(BadKey::Malformed)?, y.ok_or(BadKey::Malformed)?);
    let mut point = vec![4];
    for part in [x, y] {
        let part = decode(part.as_bytes()).map_err(|_| BadKey::Malformed)?;
        if part.len() != size {
            return Err(BadKey::Malformed);
        }
        point.extend(part);
    }
    // Refuses a point that is not on the curve.
    let key = ParsedPublicKey::new(algorithm.verification(), point).map_err(|_| BadKey::Malformed)?;
    Ok((vec![(algorithm, key)], format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)))
}

fn edwards(x: Option<&str>) -> Result<Usable, BadKey> {
    let x = x.ok_or(BadKey::Malformed)?;
    let point = decode(x.as_bytes()).map_err(|_| BadKey::Malformed)?;
    let key = ParsedPublicKey::new(Algorithm::Eddsa.verification(), point).map_err(|_| BadKey::Malformed)?;
    Ok((vec![(Algorithm::Eddsa, key)], format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn rsa(n: Option<&str>, e: Option<&str>, only: Option<Algorithm>) -> Result<Usable, BadKey> {
    let (n, e) = (n.ok_or(BadKey::Malformed)?, e.ok_or(BadKey::Malformed)?);
    let bytes = |text: &str| decode(text.as_bytes()).map_err(|_| BadKey::Malformed);
    let components = PublicKeyComponents { n: bytes(n)?, e: bytes(e)? };
    // A huge exponent makes every check dear, and an even one makes no sense.
    let odd = components.e.last().is_some_and(|last| last % 2 == 1) && components.e != [1];
    if !MODULUS.contains(&components.n.len()) || !(1..=4).contains(&components.e.len()) || !odd {
        return Err(BadKey::Size);
    }
    let mut usable = Vec::new();
    for algorithm in [Algorithm::Ps256, Algorithm::Rs256] {
        let Some(parameters) = algorithm.rsa().filter(|_| only.is_none_or(|only| only == algorithm)) else { continue };
        let key = components.to_parsed_public_key(parameters).map_err(|_| BadKey::Malformed)?;
        usable.push((algorithm, key));
    }
    Ok((usable, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
}

fn may_verify(operations: Option<&Value>) -> bool {
    operations.is_none_or(|listed| listed.as_array().is_some_and(|listed| listed.iter().any(|word| word == "verify")))
}
