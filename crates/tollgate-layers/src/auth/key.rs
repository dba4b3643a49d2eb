//! The text of an API key: its shape, its checksum, its generation, and its seal. Knows no records and no requests.
//!
//! `tgk_<env>_<id><_><secret><crc>`: a label, a public id of 10 characters, 43 secret ones (256 bits), and the CRC-32 of
//! all before it in 6, so that a typo is refused before any table is asked.

use std::fmt;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;
use tollgate_core::secret::Secret;
use zeroize::Zeroizing;

/// What keys look like, for secret scanners.
pub const SCANNER_PATTERN: &str = "tgk_[a-z0-9]{1,8}_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}";
/// What every key begins with.
pub const PREFIX: &str = "tgk_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID: usize = 10;
const SECRET: usize = 43;
const CRC: usize = 6;
const MAX_ENV: usize = 8;
/// What is sealed before the text of a key of another system: no id has these characters.
const WHOLE: &[u8] = b"opaque key:";
/// Blocks of random bytes that one text may use up. An honest generator needs two; a broken one must not hang us.
const MAX_BLOCKS: usize = 64;

/// Where random bytes come from: the operating system, or a test.
pub type Random<'a> = dyn FnMut(&mut [u8]) + 'a;

/// The public part of a key: 10 characters of base 62.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; ID]);

/// A key as somebody sent it: well-formed, and nothing more is known of it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its public part.
    pub id: KeyId,
    secret: &'a [u8; SECRET],
}

/// Why a text is no key. Holds nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The parts are right, their checksum is not: a typo.
    #[error("the checksum of the key is wrong")]
    Checksum,
    /// Not the parts of a key.
    #[error("the credential is not shaped like a key")]
    Shape,
}

/// The random source gave nothing that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the random source is broken")]
pub struct BrokenRandom;

/// A pepper, made ready for use: the secret that turns stored hashes into noise for who steals them.
#[derive(Clone)]
pub struct Pepper {
    key: hmac::Key,
    /// What it was until not long ago: seals made with that are still good.
    before: Option<hmac::Key>,
}

/// HMAC-SHA-256 of id and secret under a pepper. The id is bound in: stored hashes cannot be swapped between records.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Seal([u8; 32]);

impl<'a> Presented<'a> {
    /// Reads a key.
    ///
    /// # Errors
    /// Whatever has another shape, or a checksum that does not fit.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let (id, secret) = parts(text).ok_or(Malformed::Shape)?;
        let (checked, crc) = text.split_last_chunk::<CRC>().ok_or(Malformed::Shape)?;
        if *crc != checksum(checked) {
            return Err(Malformed::Checksum);
        }
        Ok(Self { id: KeyId(*id), secret })
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}…)", self.id)
    }
}

impl KeyId {
    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id: [u8; ID] = text.as_bytes().try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// Draws an id.
    ///
    /// # Errors
    /// A broken random source.
    pub fn draw(random: &mut Random<'_>) -> Result<Self, BrokenRandom> {
        draw::<ID>(random).map(Self)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("an id is made of letters and digits")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Draws a secret and writes the whole key.
///
/// # Errors
/// A broken random source.
pub fn compose(env: &str, id: KeyId, random: &mut Random<'_>) -> Result<Zeroizing<String>, BrokenRandom> {
    let secret = Zeroizing::new(draw::<SECRET>(random)?);
    // Room for all at once: growing would leave copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + MAX_ENV + 1 + ID + 1 + SECRET + CRC));
    text.push_str(PREFIX);
    text.push_str(env);
    text.push('_');
    text.push_str(id.as_str());
    text.push('_');
    text.extend(secret.iter().copied().map(char::from));
    let crc = checksum(text.as_bytes());
    text.extend(crc.into_iter().map(char::from));
    Ok(text)
}

/// Whether `env` can stand in a key: 1 to 8 lower-case letters or digits.
#[must_use]
pub fn is_env(env: &str) -> bool {
    is_env_bytes(env.as_bytes())
}

fn is_env_bytes(env: &[u8]) -> bool {
    (1..=MAX_ENV).contains(&env.len()) && env.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn parts(text: &[u8]) -> Option<(&[u8; ID], &[u8; SECRET])> {
    let rest = text.strip_prefix(PREFIX.as_bytes())?;
    let end = rest.iter().take(MAX_ENV + 1).position(|byte| *byte == b'_')?;
    let (env, rest) = rest.split_at_checked(end)?;
    let (id, rest) = rest.strip_prefix(b"_")?.split_first_chunk::<ID>()?;
    let (secret, crc) = rest.strip_prefix(b"_")?.split_first_chunk::<SECRET>()?;
    let base62 = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_alphanumeric);
    (is_env_bytes(env) && base62(id) && base62(secret) && crc.len() == CRC && base62(crc)).then_some((id, secret))
}

fn checksum(text: &[u8]) -> [u8; CRC] {
    let mut left = crc32fast::hash(text);
    let mut digits = [b'0'; CRC];
    for digit in digits.iter_mut().rev() {
        *digit = letter(left % 62);
        left /= 62;
    }
    digits
}

/// Draws `N` characters, each of the 62 equally likely: 6 bits at a time, and 62 and 63 are thrown away.
fn draw<const N: usize>(random: &mut Random<'_>) -> Result<[u8; N], BrokenRandom> {
    let mut block = Zeroizing::new([0; 64]);
    let mut drawn = [0; N];
    let mut places = drawn.iter_mut();
    let mut blocks = 0..MAX_BLOCKS;
    let Some(mut place) = places.next() else { return Ok(drawn) };
    while blocks.next().is_some() {
        random(&mut *block);
        for byte in block.iter().map(|byte| byte & 0x3f).filter(|byte| *byte < 62) {
            *place = letter(u32::from(byte));
            match places.next() {
                Some(next) => place = next,
                None => return Ok(drawn),
            }
        }
    }
    Err(BrokenRandom)
}

fn letter(digit: u32) -> u8 {
    let place = usize::try_from(digit).unwrap_or(usize::MAX);
    ALPHABET.get(place).copied().expect("a digit of base 62 is below 62")
}

impl Pepper {
    /// Makes a pepper ready.
    #[must_use]
    pub fn new(value: &Secret) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, value.expose()), before: None }
    }

    /// Accepts seals as well that were made with an earlier value.
    pub fn accept_also(&mut self, value: &Secret) {
        self.before = Some(hmac::Key::new(hmac::HMAC_SHA256, value.expose()));
    }

    /// Computes as much as one that accepts an earlier value as well.
    pub(super) fn work_as_hard(&mut self) {
        self.before.get_or_insert_with(|| self.key.clone());
    }

    /// Whether `seal` was made of `key`. Whichever value it was made with, the same is computed.
    #[must_use]
    pub fn made(&self, seal: &Seal, key: &Presented<'_>) -> bool {
        let now = self.seal(key).is(seal);
        let before = self.before.as_ref().is_some_and(|before| sealed(before, key).is(seal));
        now | before
    }

    /// The seal of a key of another system, of all its bytes: under another name than any id, so that it is no seal of ours.
    #[must_use]
    pub fn seal_whole(&self, text: &[u8]) -> Seal {
        tagged(&self.key, &[WHOLE, text])
    }

    /// The seals that a key of another system may have been kept as.
    pub(super) fn seals_whole(&self, text: &[u8]) -> impl Iterator<Item = Seal> {
        let keys = std::iter::once(&self.key).chain(&self.before);
        keys.map(move |key| tagged(key, &[WHOLE, text]))
    }

    /// The seal of a key under this pepper.
    #[must_use]
    pub fn seal(&self, key: &Presented<'_>) -> Seal {
        sealed(&self.key, key)
    }
}

fn sealed(by: &hmac::Key, key: &Presented<'_>) -> Seal {
    tagged(by, &[&key.id.0, key.secret])
}

fn tagged(by: &hmac::Key, parts: &[&[u8]]) -> Seal {
    #[cfg(test)]
    SEALS.set(SEALS.get() + 1);
    let mut context = hmac::Context::with_key(by);
    parts.iter().for_each(|part| context.update(part));
    let mut seal = [0; 32];
    for (to, from) in seal.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    Seal(seal)
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

impl Seal {
    /// A seal that is compared with when there is none: it makes a miss cost what a hit costs.
    pub const NONE: Self = Self([0; 32]);

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut seal = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != seal.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in seal.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(seal))
    }

    /// Whether both are the same, in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
thread_local! {
    static SEALS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many seals this thread has made.
#[cfg(test)]
pub(super) fn seals_made() -> u64 {
    SEALS.get()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};

    use super::{KeyId, Malformed, Presented, SCANNER_PATTERN, compose};
    use crate::auth::KeyFile;
    use crate::auth::tests::{issue, random, request};

    #[test]
    fn each_character_is_equally_likely() {
        let mut counts = BTreeMap::new();
        let mut random = random(3);
        for _ in 0..6_200 {
            for letter in KeyId::draw(&mut random).expect("random").as_str().chars() {
                *counts.entry(letter).or_insert(0_u32) += 1;
            }
        }
        assert_eq!(counts.len(), 62);
        // 1,000 of each are expected, with a standard deviation of 31; a bias by modulo would give the first 8 a quarter more.
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn any_single_edit_or_transposition_is_refused_offline() {
        let mut file = KeyFile::default();
        for seed in 0..4 {
            let key = issue(&mut file, request(), seed).into_bytes();
            for place in 0..key.len() {
                for byte in (0..=u8::MAX).filter(|byte| *byte != key[place]) {
                    let mut edited = key.clone();
                    edited[place] = byte;
                    assert!(Presented::parse(&edited).is_err(), "byte {byte} at {place}");
                }
                let mut shorter = key.clone();
                shorter.remove(place);
                assert!(Presented::parse(&shorter).is_err(), "{place} left out");
                for other in (0..place).filter(|other| key[*other] != key[place]) {
                    let mut swapped = key.clone();
                    swapped.swap(place, other);
                    assert!(Presented::parse(&swapped).is_err(), "{place} and {other} exchanged");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn reading_a_key_never_panics(bytes in any::<Vec<u8>>(), cut in 0_usize..80) {
            let _read = Presented::parse(&bytes);
            let mut file = KeyFile::default();
            let mut key = issue(&mut file, request(), 1).into_bytes();
            key.truncate(cut);
            key.extend(bytes);
            let _read = Presented::parse(&key);
        }

        #[test]
        fn what_scanners_look_for_is_what_we_make(seed in any::<u64>(), env in "[a-z0-9]{1,8}") {
            let pattern = regex::Regex::new(&format!("^{SCANNER_PATTERN}$")).expect("a pattern");
            let id = KeyId::draw(&mut random(seed)).expect("random");
            let key = compose(&env, id, &mut random(seed ^ 1)).expect("random");
            assert!(pattern.is_match(&key));
            assert_eq!(Presented::parse(key.as_bytes()).expect("a key").id, id);
        }

        #[test]
        fn what_scanners_find_has_the_shape_of_a_key(text in "tgk_[a-z0-9]{1,8}_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}") {
            assert_eq!(Presented::parse(text.as_bytes()).expect_err("its checksum is luck"), Malformed::Checksum);
        }
    }
}
