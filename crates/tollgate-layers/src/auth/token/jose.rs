//! The compact form of a signed token (RFC 7515): cut, decoded and read strictly. Checks no signature and no claim.
//!
//! Two readers must not understand one token differently: exactly three segments, base64url without padding, spaces or
//! loose bits, JSON without duplicate members. Headers that say where a key is (`jku`, `x5u`, `x5c`) are never followed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Algorithm, Flaw};
use crate::protocol::json;

/// The longest token.
pub(super) const LONGEST: usize = 8 * 1024;
/// The longest name of a key.
const LONGEST_KID: usize = 128;
/// Bounds of a header and of claims.
const LIMITS: json::Limits = json::Limits { depth: 16, keys: 128 };

/// A token that is well-formed, and nothing more is known of it.
pub(super) struct Compact<'a> {
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    /// Its header.
    pub(super) header: Header,
    /// Its claims.
    pub(super) claims: Map<String, Value>,
    /// Its signature.
    pub(super) signature: Vec<u8>,
}

/// What is used of a header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    /// The type, in lower case and without `application/`.
    pub(super) kind: Option<String>,
    pub(super) key_id: Option<String>,
    /// A key that came along: for proofs of possession alone.
    pub(super) key: Option<Map<String, Value>>,
}

impl<'a> Compact<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// Whatever is not exactly of that form.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::Long);
        }
        let (signed, signature) = cut_last(text).ok_or(Flaw::Segments)?;
        let (header, claims) = cut_last(signed).ok_or(Flaw::Segments)?;
        match memchr::memchr_iter(b'.', header).count() {
            0 => {}
            // Five segments are RFC 7516: something encrypted.
            2 => return Err(Flaw::Encrypted),
            _ => return Err(Flaw::Segments),
        }
        let header = Header::read(&decode(header)?)?;
        let claims = object(&decode(claims)?)?;
        Ok(Self { signed, header, claims, signature: decode(signature)? })
    }
}

impl Header {
    fn read(text: &[u8]) -> Result<Self, Flaw> {
        let mut members = object(text)?;
        if members.contains_key("enc") || members.contains_key("zip") {
            return Err(Flaw::Encrypted);
        }
        // No extension is understood here, `b64: false` of RFC 7797 included.
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Flaw::Critical);
        }
        let algorithm = members.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let key = match members.remove("jwk") {
            None => None,
            Some(Value::Object(key)) => Some(key),
            Some(_) => return Err(Flaw::Json),
        };
        let content = text_of(&members, "cty")?;
        if content.is_some_and(|content| content.to_ascii_lowercase().contains("jwt")) {
            return Err(Flaw::Encrypted);
        }
        let kind = text_of(&members, "typ")?.map(|kind| {
            let kind = kind.to_ascii_lowercase();
            match kind.strip_prefix("application/") {
                Some(short) => short.to_owned(),
                None => kind,
            }
        });
        let key_id = text_of(&members, "kid").map_err(|_| Flaw::KeyId)?.map(str::to_owned);
        if !key_id.as_deref().is_none_or(is_key_id) {
            return Err(Flaw::KeyId);
        }
        Ok(Self { algorithm: algorithm.ok_or(Flaw::Algorithm)?, kind, key_id, key })
    }
}

/// Whether a text can name a key. It is only ever looked up in a table; nothing that looks like a path, a query or an
/// address gets that far.
pub(super) fn is_key_id(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._~=+/-".contains(&byte);
    (1..=LONGEST_KID).contains(&text.len()) && text.bytes().all(fit)
}

/// Whether a text looks like a signed token: three segments, the first of which is an object. It says only which way to
/// go, not whether the token is any good.
pub(super) fn looks_like_one(text: &[u8]) -> bool {
    // `{"` in base64 is `eyI`; with a space or a line break between, `eyA`, `ewo`, `ew0`, `ewk`.
    (text.starts_with(b"ey") || text.starts_with(b"ew")) && text.contains(&b'.')
}

/// Decodes base64url: no padding, no spaces, no bits that are not used.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Base64)
}

/// Reads a strict JSON object.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, Flaw> {
    json::validate(text, LIMITS).map_err(|_| Flaw::Json)?;
    // It is one meaning by now: no duplicates, bounded depth.
    serde_json::from_slice(text).map_err(|_| Flaw::Json)
}

fn text_of<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Flaw> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Flaw::Json),
    }
}

fn cut_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at_checked(memchr::memrchr(b'.', text)?)?;
    Some((before, after.get(1..)?))
}
