//! The claims of a token: read strictly, and held to what every token must say. Which tenant they mean is `issuer`.

use serde_json::{Map, Value};

use super::Flaw;
use super::jose::decode;

/// How far clocks may differ, in seconds.
pub(super) const LEEWAY: u64 = 30;
/// How far ahead of us a token may have been issued, in seconds.
const AHEAD: u64 = 60;
/// The longest life, in seconds.
const LONGEST_LIFE: u64 = 24 * 3600;
/// The longest `sub`, `client_id` and `iss`, in bytes.
const LONGEST_NAME: usize = 256;
/// The most audiences, and the longest of them.
const MOST_AUDIENCES: usize = 32;
/// The last second that a double holds exactly.
const LAST: u64 = 1 << 53;

/// What a token says, each claim of the right type.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    /// The end, in seconds since the Unix epoch.
    pub(super) expires: Option<u64>,
    not_before: Option<u64>,
    issued: Option<u64>,
    pub(super) bound: Bound,
    /// All of them.
    pub(super) all: Map<String, Value>,
}

/// What a token is bound to: whoever sends it must show that too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Bound {
    /// SHA-256 of a client certificate (RFC 8705).
    pub(super) certificate: Option<[u8; 32]>,
    /// RFC 7638 thumbprint of the key of a proof (RFC 9449).
    pub(super) key: Option<[u8; 32]>,
}

impl Claims {
    /// Reads the claims that have a meaning of their own.
    ///
    /// # Errors
    /// One of them has another type, or is too long.
    pub(super) fn read(all: Map<String, Value>) -> Result<Self, Flaw> {
        for name in ["sub", "client_id"] {
            text(&all, name)?;
        }
        Ok(Self {
            issuer: text(&all, "iss")?.map(str::to_owned),
            audience: audience(all.get("aud"))?,
            expires: seconds(&all, "exp")?,
            not_before: seconds(&all, "nbf")?,
            issued: seconds(&all, "iat")?,
            bound: bound(all.get("cnf"))?,
            all,
        })
    }

    /// Holds them to the time.
    ///
    /// # Errors
    /// Expired, not valid yet, or valid for too long.
    pub(super) fn check_times(&self, now: u64) -> Result<(), Flaw> {
        self.check_life(self.expires.ok_or(Flaw::ClaimMissing("exp"))?, now)
    }

    /// The same for what an issuer says of a token just now: it need not say when that ends.
    pub(super) fn check_said(&self, now: u64) -> Result<(), Flaw> {
        self.check_life(self.expires.unwrap_or(now + LEEWAY), now)
    }

    fn check_life(&self, expires: u64, now: u64) -> Result<(), Flaw> {
        if now >= expires.saturating_add(LEEWAY) {
            return Err(Flaw::Expired);
        }
        let ahead = self.issued.is_some_and(|issued| issued > now + AHEAD);
        if ahead || self.not_before.is_some_and(|start| start > now + LEEWAY) {
            return Err(Flaw::Future);
        }
        // A token that does not say when it was issued is no way around.
        let life = expires.saturating_sub(self.issued.unwrap_or(now));
        if life > LONGEST_LIFE || expires.saturating_sub(now) > LONGEST_LIFE + AHEAD {
            return Err(Flaw::Lifetime);
        }
        Ok(())
    }

    /// Whether one of `ours` is among its audiences.
    pub(super) fn is_for(&self, ours: &[Box<str>]) -> bool {
        self.audience.iter().any(|one| ours.iter().any(|our| **our == **one))
    }

    /// The claim that a name or a JSON Pointer leads to.
    pub(super) fn find(&self, claim: &str) -> Option<&Value> {
        let Some(rest) = claim.strip_prefix('/') else { return self.all.get(claim) };
        let mut steps = rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        let first = self.all.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(&step))
    }
}

/// Whether a text can be the name of somebody: of bounded length, without control characters.
pub(super) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn text<'a>(all: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, Flaw> {
    match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text)),
        Some(_) => Err(Flaw::ClaimWrong(name)),
    }
}

/// A whole number of seconds. CVE-2026-25537: a string in its place once meant "no end".
fn seconds(all: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Flaw> {
    match all.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().filter(|at| *at <= LAST).map(Some).ok_or(Flaw::ClaimWrong(name)),
    }
}

fn audience(value: Option<&Value>) -> Result<Vec<String>, Flaw> {
    let one = |value: &Value| value.as_str().filter(|text| is_name(text)).map(str::to_owned);
    let all = match value {
        None => Some(Vec::new()),
        Some(Value::Array(all)) if all.len() <= MOST_AUDIENCES => all.iter().map(one).collect(),
        Some(Value::Array(_)) => None,
        Some(value) => one(value).map(|one| vec![one]),
    };
    all.ok_or(Flaw::ClaimWrong("aud"))
}

/// Reads `cnf` (RFC 7800). A confirmation that is not understood must not be taken for none.
fn bound(confirmation: Option<&Value>) -> Result<Bound, Flaw> {
    let wrong = Flaw::ClaimWrong("cnf");
    let mut bound = Bound::default();
    let Some(confirmation) = confirmation else { return Ok(bound) };
    let members = confirmation.as_object().filter(|members| !members.is_empty()).ok_or(wrong)?;
    for (name, value) in members {
        let print = value.as_str().and_then(|text| decode(text.as_bytes()).ok());
        let print: [u8; 32] = print.and_then(|print| print.try_into().ok()).ok_or(wrong)?;
        match name.as_str() {
            "jkt" => bound.key = Some(print),
            "x5t#S256" => bound.certificate = Some(print),
            _ => return Err(wrong),
        }
    }
    Ok(bound)
}
