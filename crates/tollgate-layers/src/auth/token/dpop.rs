//! Proofs that whoever sends a token holds its key (RFC 9449), and the table of those that were used up.
//!
//! Reads no clock and no store. The table is of this process: several nodes that share no table each accept a proof once.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use super::jose::Compact;
use super::jwk::Jwk;
use super::{Algorithm, Flaw};

/// The type of a proof.
pub(super) const TYPE: &str = "dpop+jwt";
/// How far from now a proof may have been made, in seconds.
const WINDOW: u64 = 60;
/// The longest proof, and the longest number of one.
const LONGEST: usize = 4_096;
const LONGEST_ID: usize = 256;
/// How long a proof is remembered: at least as long as it could be used again.
const REMEMBERED_MS: u64 = (2 * WINDOW + 2) * 1000;
/// Parts of the table, and proofs that each remembers at most within that time.
const PARTS: usize = 16;
const MOST: usize = 16_384;
/// And those of one key: one client must not fill it for all.
const MOST_OF_ONE: u32 = 2_048;

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The method of the request.
    pub(super) method: &'a Method,
    /// Scheme and authority that clients use, without a slash at the end.
    pub(super) origin: &'a str,
    /// The path of the request.
    pub(super) path: &'a str,
    /// The token that it came with.
    pub(super) token: &'a [u8],
}

/// A proof that holds: of which key, and its own number.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) key: [u8; 32],
    pub(super) number: [u8; 16],
}

impl Proof {
    /// Checks a proof, all but whether it was used before.
    pub(super) fn check(text: &[u8], asked: &Asked<'_>, now: u64) -> Result<Self, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::ProofWrong);
        }
        let Compact { signed, header, claims, signature } = Compact::parse(text).map_err(|_| Flaw::ProofWrong)?;
        if header.kind.as_deref() != Some(TYPE) {
            return Err(Flaw::ProofWrong);
        }
        // A private key in a proof is refused with it: it is no secret any more.
        let key = header.key.as_ref().ok_or(Flaw::ProofWrong)?;
        let key = Jwk::read(key).map_err(|_| Flaw::ProofWrong)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let number = text("jti").filter(|id| (1..=LONGEST_ID).contains(&id.len())).ok_or(Flaw::ProofWrong)?;
        let made = claims.get("iat").and_then(Value::as_u64).ok_or(Flaw::ProofWrong)?;
        if made.abs_diff(now) > WINDOW {
            return Err(Flaw::ProofTime);
        }
        let url = text("htu").and_then(normalised);
        let same = text("htm") == Some(asked.method.as_str())
            && url.is_some_and(|url| normalised(&format!("{}{}", asked.origin, asked.path)).as_ref() == Some(&url));
        if !same {
            return Err(Flaw::ProofOther);
        }
        let hash = digest(&SHA256, asked.token);
        if text("ath") != Some(&URL_SAFE_NO_PAD.encode(hash.as_ref())) {
            return Err(Flaw::ProofOther);
        }
        key.verify(header.algorithm, signed, &signature).map_err(|_| Flaw::ProofWrong)?;
        // Of the number and its key: two clients may count alike.
        let mut whole = key.thumbprint.to_vec();
        whole.extend(number.as_bytes());
        let number = digest(&SHA256, &whole);
        let number = number.as_ref().first_chunk::<16>().copied().ok_or(Flaw::ProofWrong)?;
        Ok(Self { key: key.thumbprint, number })
    }
}

/// Algorithms of proofs, for those who ask.
pub(super) fn algorithms() -> Vec<&'static str> {
    Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect()
}

/// An address as RFC 3986 § 6.2 compares it, without query and fragment.
fn normalised(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let authority = authority.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = if path.is_empty() { "/".to_owned() } else { unescaped(path)? };
    Some(format!("{scheme}://{authority}{path}"))
}

/// A path with its escapes in capital letters, and without those that need not be.
fn unescaped(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        let meant = u8::try_from(high * 16 + low).ok()?;
        if meant.is_ascii_alphanumeric() || b"-._~".contains(&meant) {
            out.push(char::from(meant));
        } else {
            out.push_str(&format!("%{meant:02X}"));
        }
    }
    Some(out)
}

/// Proofs that were used up. It outlives policies; bounded, and without a thread of its own.
#[derive(Debug, Default)]
pub struct Replays {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    began_ms: u64,
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    /// How many of the young ones are of which key.
    of: HashMap<[u8; 32], u32>,
}

/// Whether a proof may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// It was used before.
    Again,
    /// For the first time.
    First,
    /// There is no room to remember it, so that we could not tell the next time.
    Full,
}

impl Replays {
    /// Uses a proof up.
    pub(super) fn use_up(&self, proof: &Proof, now_ms: u64) -> Use {
        let Proof { key, number } = *proof;
        let [first, ..] = number;
        let Some(part) = self.parts.get(usize::from(first) % PARTS) else { return Use::Full };
        let mut part = part.lock();
        let age = now_ms.saturating_sub(part.began_ms);
        if age >= REMEMBERED_MS {
            let young = std::mem::take(&mut part.young);
            part.old = if age < 2 * REMEMBERED_MS { young } else { HashSet::new() };
            part.of.clear();
            part.began_ms = now_ms;
        }
        if part.old.contains(&number) || part.young.contains(&number) {
            return Use::Again;
        }
        if part.young.len() >= MOST {
            return Use::Full;
        }
        let own = part.of.entry(key).or_default();
        if *own >= MOST_OF_ONE {
            return Use::Full;
        }
        *own += 1;
        part.young.insert(number);
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_by_what_they_mean() {
        for (one, other, same) in [
            ("https://api.test/a", "HTTPS://API.test:443/a?x=1#y", true),
            ("https://api.test", "https://api.test/", true),
            ("https://api.test/%7ea%2fb", "https://api.test/~a%2Fb", true),
            ("http://api.test:80/", "http://api.test/", true),
            ("https://api.test/a", "https://api.test/A", false),
            ("https://api.test/a", "https://api.test/a/", false),
            ("https://api.test/a", "http://api.test/a", false),
            ("https://api.test:444/a", "https://api.test/a", false),
            ("https://api.test/a%2fb", "https://api.test/a/b", false),
        ] {
            assert_eq!(normalised(one) == normalised(other), same, "{one} {other}");
        }
        for none in ["", "/a", "ftp://api.test/", "https://", "https://a@api.test/", "https://api.test/%zz", "x"] {
            assert_eq!(normalised(none), None, "{none}");
        }
    }

    #[test]
    fn a_proof_is_used_once_for_as_long_as_it_lives_and_the_table_stays_bounded() {
        let replays = Replays::default();
        let proof = |key: u64, i: u64| {
            let (mut number, mut of) = ([0; 16], [0; 32]);
            number[8..].copy_from_slice(&i.to_be_bytes());
            of[24..].copy_from_slice(&key.to_be_bytes());
            Proof { key: of, number }
        };
        let start = 1_800_000_000_000;
        assert_eq!(replays.use_up(&proof(0, 0), start), Use::First);
        for after in [0, 60_000, 121_999, 122_000, 243_999] {
            assert_eq!(replays.use_up(&proof(0, 0), start + after), Use::Again, "{after}");
        }
        assert_eq!(replays.use_up(&proof(0, 0), start + 10 * REMEMBERED_MS), Use::First);
        // All of these fall into one part: each key has its share of it, and all together no more than there is.
        let later = start + 20 * REMEMBERED_MS;
        let full =
            (1..=u64::from(MOST_OF_ONE) + 5).filter(|i| replays.use_up(&proof(1, *i), later) == Use::Full).count();
        assert_eq!(full, 5, "one client is stopped");
        let rest = u64::from(MOST_OF_ONE) + 10;
        assert_eq!(replays.use_up(&proof(2, rest), later), Use::First, "and no other");
        let full =
            (rest + 1..rest + MOST as u64).filter(|i| replays.use_up(&proof(*i, *i), later) == Use::Full).count();
        assert_eq!(full, MOST_OF_ONE as usize);
        assert_eq!(replays.use_up(&proof(1, 1), later), Use::Again);
        assert_eq!(replays.use_up(&proof(3, 1 << 40), later + REMEMBERED_MS), Use::First);
    }
}
