//! Keys of other systems: recognised by the seal of their whole text, and taken over only if they are worth it.

use std::collections::BTreeSet;

use tollgate_core::secret::Secret;

use super::issue::{DEFAULT_ENV, Sealed};
use super::key::PREFIX;
use super::{KeyFile, KeyFileError, KeyKind, KeyRecord, NewKey, Pepper, PepperValue, Presented, Random, Timestamp};

/// The shortest and the longest opaque key.
pub(super) const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;
/// What an attacker must at least guess, and what is better, in bits.
const LEAST_BITS: u32 = 80;
const GOOD_BITS: u32 = 112;
/// So many characters in a row that came before say nothing new.
const ECHO: usize = 3;

/// Why a text is not taken over as a key. Holds nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It has characters that are not printable ASCII, or spaces.
    #[error("a key is printable ASCII without spaces")]
    Characters,
    /// A token would be taken for it, or it for a token.
    #[error("it looks like a signed token: those are recognised by their issuer")]
    LooksLikeToken,
    /// Too short or too long.
    #[error("a key of another system has 16 to 256 characters")]
    Length,
    /// It begins like one of ours and is none.
    #[error("it begins with `tgk_`, and its checksum or shape is wrong")]
    OurPrefix,
    /// It could be guessed.
    #[error("it can be guessed: it is worth {0} bits, at least 80 are needed")]
    Weak(u32),
}

/// A key that was taken over.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the file keeps of it.
    pub record: KeyRecord,
    /// It is worth so many bits, which is little.
    pub weak: Option<u32>,
}

impl KeyFile {
    /// Appends the record of a key that exists already: one of ours, or one of another system.
    ///
    /// # Errors
    /// What is unfit about it, what the request breaks, or a key that is known; the file is then as before.
    pub fn import(
        &mut self,
        mut request: NewKey,
        text: &Secret,
        (pepper, random): (PepperValue<'_>, &mut Random<'_>),
        now: Timestamp,
    ) -> Result<Imported, KeyFileError> {
        let secret = text.expose();
        let maker = Pepper::new(pepper.value);
        let (sealed, weak) = if secret.starts_with(PREFIX.as_bytes()) {
            let key = Presented::parse(secret).map_err(|_| Unfit::OurPrefix)?;
            // What it says of itself, in place of what was asked for.
            let env = secret.get(PREFIX.len()..).and_then(|rest| rest.split(|byte| *byte == b'_').next());
            request.env = env.and_then(|env| str::from_utf8(env).ok()).unwrap_or(DEFAULT_ENV).to_owned();
            (Sealed { id: key.id, seal: maker.seal(&key), kind: KeyKind::Issued }, None)
        } else {
            let bits = fit(secret)?;
            let (id, seal) = (self.free_id(random)?, maker.seal_whole(secret));
            DEFAULT_ENV.clone_into(&mut request.env);
            (Sealed { id, seal, kind: KeyKind::Opaque }, (bits < GOOD_BITS).then_some(bits))
        };
        let (id, hash) = (sealed.id, sealed.seal.to_string());
        let known = self.keys.iter().find(|record| record.id == id.as_str() || record.hash == hash);
        if let Some(known) = known {
            return Err(KeyFileError::Known(known.id.clone()));
        }
        let record = self.append(request, &sealed, pepper.id, now)?;
        Ok(Imported { record, weak })
    }
}

/// Whether a text that was sent could be an opaque key at all: what is not is never sealed.
pub(super) fn may_be_one(text: &[u8]) -> bool {
    LENGTHS.contains(&text.len()) && !text.starts_with(PREFIX.as_bytes()) && !looks_like_token(text)
}

/// The three parts of a signed token, the first of them a JSON object in base64.
fn looks_like_token(text: &[u8]) -> bool {
    text.starts_with(b"ey") && text.iter().filter(|byte| **byte == b'.').count() == 2
}

fn fit(text: &[u8]) -> Result<u32, Unfit> {
    if !LENGTHS.contains(&text.len()) {
        return Err(Unfit::Length);
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(Unfit::Characters);
    }
    if looks_like_token(text) {
        return Err(Unfit::LooksLikeToken);
    }
    let bits = worth(text);
    if bits < LEAST_BITS { Err(Unfit::Weak(bits)) } else { Ok(bits) }
}

/// What it takes to guess a text, in bits: from above, so that what is refused is surely weak. Counts characters that
/// neither repeat nor continue what came before, each by the alphabet that the text draws from.
fn worth(text: &[u8]) -> u32 {
    let text = without_label(text);
    let mut seen = BTreeSet::new();
    let mut fresh = 0_u32;
    for i in 0..text.len() {
        let run = i.checked_sub(ECHO - 1).and_then(|from| text.get(from..=i));
        let steps = matches!(run, Some([a, b, c]) if a.abs_diff(*b) <= 1 && b.wrapping_sub(*a) == c.wrapping_sub(*b));
        let echo = run.is_some_and(|run| !seen.insert(run));
        fresh += u32::from(!steps && !echo);
    }
    let distinct = text.iter().collect::<BTreeSet<_>>().len();
    // A uniform draw of so many characters meets a third of its alphabet at the least.
    let alphabet = alphabet(text).min(3 * distinct);
    let bits = f64::from(fresh) * f64::from(u32::try_from(alphabet).unwrap_or(u32::MAX).max(1)).log2();
    (0..=4_096).rev().find(|whole| f64::from(*whole) <= bits).unwrap_or(0)
}

/// What follows words such as `sk_live_`: everybody knows those.
fn without_label(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'_' | b'-' | b'.'))
        && end <= 8
        && rest.iter().take(end).all(u8::is_ascii_alphabetic)
    {
        rest = rest.split_at_checked(end + 1).map_or(&[][..], |(_, after)| after);
    }
    rest
}

fn alphabet(text: &[u8]) -> usize {
    let hex = |lower: bool| {
        let letters = if lower { b'a'..=b'f' } else { b'A'..=b'F' };
        text.iter().all(|byte| byte.is_ascii_digit() || letters.contains(byte) || *byte == b'-')
    };
    if hex(true) || hex(false) {
        return if text.iter().all(|byte| !byte.is_ascii_alphabetic()) { 10 } else { 16 };
    }
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    let classes = [
        (has(u8::is_ascii_digit), 10),
        (has(u8::is_ascii_lowercase), 26),
        (has(u8::is_ascii_uppercase), 26),
        (has(u8::is_ascii_punctuation), 2),
    ];
    classes.iter().filter(|(is_there, _)| *is_there).map(|(_, size)| size).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use tollgate_core::secret::Secret;

    use super::{GOOD_BITS, LEAST_BITS, Unfit, fit, may_be_one, worth};
    use crate::auth::tests::{NOW, at, id_of, issue, pepper, random, request};
    use crate::auth::{KeyFile, KeyFileError, KeyKind, NewKey, PepperValue};

    fn import(file: &mut KeyFile, text: &str, seed: u64) -> Result<super::Imported, KeyFileError> {
        let value = pepper("v1");
        let pepper = PepperValue { id: "v1", value: &value };
        file.import(request(), &Secret::new(text.into()), (pepper, &mut random(seed)), at(NOW))
    }

    #[test]
    fn a_key_of_another_system_is_kept_as_a_seal_under_an_id_of_ours() {
        let mut file = KeyFile::default();
        let text = "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd";
        let imported = import(&mut file, text, 1).expect("it is fit");
        assert_eq!((imported.record.kind, imported.weak), (KeyKind::Opaque, None));
        assert!(!file.to_yaml().contains("51HqJ8xKzQ2vN7mRfT0aBcYd"));
        let again = import(&mut file, text, 2).expect_err("it is known");
        assert_eq!(again, KeyFileError::Known(imported.record.id));
        assert_eq!(file.keys.len(), 1);
    }

    #[test]
    fn a_key_of_ours_keeps_its_id_and_its_label() {
        let mut there = KeyFile::default();
        let key = issue(&mut there, NewKey { env: "prod".into(), ..request() }, 1);
        let mut here = KeyFile::default();
        let imported = import(&mut here, &key, 2).expect("it is one of ours");
        assert_eq!((&*imported.record.id, imported.record.kind), (id_of(&key), KeyKind::Issued));
        assert_eq!((imported.record.env.as_deref(), &here.keys[0].hash), (Some("prod"), &there.keys[0].hash));
        assert_eq!(import(&mut here, &key, 3).expect_err("known"), KeyFileError::Known(id_of(&key).into()));
        let typo = format!("{}!", &key[..key.len() - 1]);
        assert_eq!(import(&mut here, &typo, 3).expect_err("a typo"), KeyFileError::Unfit(Unfit::OurPrefix));
    }

    #[test]
    fn what_could_be_guessed_is_refused_and_what_is_thin_is_told() {
        let weak = [
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "12345678901234567890123456789012",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "passwordpasswordpasswordpassword",
            "sk_live_00000000000000000000000000",
            "correct-horse-battery-staple",
            "changeme-changeme-changeme",
            "0123456789abcdef0123456789abcdef",
        ];
        for text in weak {
            assert!(matches!(fit(text.as_bytes()), Err(Unfit::Weak(_))), "{text}: {} bits", worth(text.as_bytes()));
        }
        let thin = ["sk_9f3c1e77a0b24d68c5", "q7Xv2LmN8kRt5Zw1"];
        for text in thin {
            let bits = worth(text.as_bytes());
            assert!(
                (LEAST_BITS..GOOD_BITS).contains(&bits) || matches!(fit(text.as_bytes()), Err(Unfit::Weak(_))),
                "{text}: {bits}"
            );
        }
        assert_eq!(fit(b"short"), Err(Unfit::Length));
        assert_eq!(fit(&[b'x'; 257]), Err(Unfit::Length));
        assert_eq!(fit(b"sk live 51HqJ8xKzQ2vN7mRfT0aBcYd"), Err(Unfit::Characters));
        assert_eq!(fit(b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"), Err(Unfit::LooksLikeToken));
    }

    #[test]
    fn what_is_drawn_at_random_is_not_called_weak() {
        let mut random = random(5);
        for (alphabet, length) in [
            ("0123456789abcdef", 32),
            ("0123456789abcdefghijklmnopqrstuvwxyz", 26),
            ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 24),
        ] {
            let letters: Vec<u8> = alphabet.bytes().collect();
            for _ in 0..500 {
                let mut bytes = vec![0; length];
                random(&mut bytes);
                let text: Vec<u8> = bytes.iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect();
                assert!(fit(&text).expect("fit") >= 100, "{}: {}", String::from_utf8_lossy(&text), worth(&text));
            }
        }
    }

    proptest! {
        #[test]
        fn judging_a_text_never_panics(bytes in any::<Vec<u8>>()) {
            let _unfit = fit(&bytes);
            let _may = may_be_one(&bytes);
            assert!(worth(&bytes) <= 8 * u32::try_from(bytes.len()).expect("short"));
        }
    }
}
