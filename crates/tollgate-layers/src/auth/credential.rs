//! Where a request carries its credential. Decides nothing about the credential itself.

use http::header::{AUTHORIZATION, HeaderName};

use super::key::PREFIX;
use super::{Failure, Flaw};
use crate::hygiene::Head;

/// Headers that carry credentials: they are dropped before a request is forwarded.
pub const CREDENTIAL_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("api-key"),
    AUTHORIZATION,
    HeaderName::from_static("dpop"),
    HeaderName::from_static("x-api-key"),
];

static PROOF: HeaderName = HeaderName::from_static("dpop");
static API_KEY: HeaderName = HeaderName::from_static("api-key");
static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Names of query parameters that other products take credentials from.
const QUERY_NAMES: [&[u8]; 5] = [b"access_token", b"api-key", b"api_key", b"apikey", b"x-api-key"];

/// A credential as it was sent.
pub(super) enum Credential<'a> {
    /// In `Authorization`, as `Bearer`: a key or a token.
    Bearer(&'a [u8]),
    /// In a header that carries keys alone.
    Key(&'a [u8]),
    /// In `Authorization`, as `DPoP`: a token, and the proof that came with it.
    Proved(&'a [u8], &'a [u8]),
}

/// The one credential of a request.
///
/// # Errors
/// None, more than one, one in the query string, or one of another kind.
pub(super) fn of(head: &Head) -> Result<Credential<'_>, Failure> {
    let bearers = head.headers.get_all(AUTHORIZATION).iter().map(|value| (true, value));
    let keys = [&API_KEY, &X_API_KEY].into_iter().flat_map(|name| head.headers.get_all(name));
    let mut found = bearers.chain(keys.map(|value| (false, value)));
    let (first, second) = (found.next(), found.next());
    if second.is_some() {
        return Err(Failure::TwoCredentials);
    }
    if head.uri.query().is_some_and(holds_credential) {
        return Err(Failure::InQuery);
    }
    match first {
        None => Err(Failure::Missing),
        Some((true, value)) => match scheme(value.as_bytes(), b"dpop") {
            Some(token) => Ok(Credential::Proved(token, proof(head)?)),
            None => scheme(value.as_bytes(), b"bearer").map(Credential::Bearer).ok_or(Failure::Scheme),
        },
        Some((false, value)) => Ok(Credential::Key(value.as_bytes())),
    }
}

/// The proof that comes with a token: one, or it is not clear which (RFC 9449 § 4.3).
fn proof(head: &Head) -> Result<&[u8], Failure> {
    let mut proofs = head.headers.get_all(&PROOF).iter();
    match (proofs.next(), proofs.next()) {
        (Some(proof), None) => Ok(proof.as_bytes()),
        (Some(_), Some(_)) => Err(Failure::TwoCredentials),
        (None, _) => Err(Failure::Token(Flaw::Proof)),
    }
}

/// What follows a scheme and at least one space (RFC 9110 § 11.4, RFC 6750 § 2.1).
fn scheme<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (scheme, rest) = value.split_at_checked(name.len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(name) && rest.len() > token.len()).then_some(token)
}

/// Whether a query string holds something that is, or is meant as, a credential: it would stand in every log.
fn holds_credential(query: &str) -> bool {
    let is_key = |text| decoded(text).take(PREFIX.len()).eq(PREFIX.bytes());
    query.split(['&', ';']).any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let lower = || decoded(name).map(|byte| byte.to_ascii_lowercase());
        let named = QUERY_NAMES.iter().any(|known| lower().eq(known.iter().copied()));
        named || is_key(name) || is_key(value)
    })
}

/// The bytes of a part of a query, percent-decoding undone; a broken escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        let escape = if *byte == b'%' { after.split_first_chunk::<2>() } else { None };
        let escaped = escape.and_then(|([high, low], after)| Some((hex(*high)? << 4 | hex(*low)?, after)));
        let (byte, after) = escaped.unwrap_or((*byte, after));
        rest = after;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
