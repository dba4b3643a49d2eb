//! The keys of one issuer, swapped whole under readers that never wait, and how long they are good for.
//!
//! It fetches nothing: whoever does puts what came in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use super::Algorithm;
use super::jwk::{BadKey, BadSet, Jwk, read_set};

/// Where the keys of an issuer are. It outlives policies, keyed by the issuer's configured name.
#[derive(Debug, Default)]
pub struct KeyRoom {
    set: ArcSwapOption<KeySet>,
    /// Which keys these are. It changes when they do, and never comes back.
    generation: AtomicU64,
}

/// The keys of an issuer at one time.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Jwk>,
    /// Not used from then on, milliseconds since the Unix epoch.
    good_until_ms: u64,
}

impl KeySet {
    /// Reads a key set, with what was left out of it by place.
    ///
    /// # Errors
    /// It is none, or none of its keys can be used.
    pub fn parse(text: &[u8], good_until_ms: u64) -> Result<(Self, Vec<(usize, BadKey)>), BadSet> {
        let (keys, left_out) = read_set(text)?;
        if keys.is_empty() {
            return Err(BadSet::Empty);
        }
        Ok((Self { keys, good_until_ms }, left_out))
    }

    /// How many keys it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of that name. Without a name, the only one that fits: trying all of them would let whoever sends tokens
    /// choose how many signatures are checked.
    pub(super) fn find(&self, key_id: Option<&str>, algorithm: Algorithm) -> Option<&Jwk> {
        let named = |key: &&Jwk| key_id.is_none_or(|id| key.key_id.as_deref() == Some(id));
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm)).filter(named);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    fn is_same(&self, other: &Self) -> bool {
        let both = self.keys.iter().zip(&other.keys);
        let alike = |one: &Jwk, other: &Jwk| {
            let fits = |key: &Jwk| Algorithm::ALL.map(|algorithm| key.fits(algorithm));
            one.thumbprint == other.thumbprint && one.key_id == other.key_id && fits(one) == fits(other)
        };
        self.keys.len() == other.keys.len() && both.clone().all(|(one, other)| alike(one, other))
    }
}

impl KeyRoom {
    /// Puts keys in place. Tokens that were accepted are checked anew unless these are the same keys.
    pub fn put(&self, set: KeySet) {
        let same = self.set.load().as_ref().is_some_and(|old| old.is_same(&set));
        self.set.store(Some(Arc::new(set)));
        if !same {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes the keys away: those of another source are nobody's.
    pub fn clear(&self) {
        self.set.store(None);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether there are keys that may be used now.
    #[must_use]
    pub fn is_good(&self, unix_ms: u64) -> bool {
        self.set.load().as_ref().is_some_and(|set| unix_ms < set.good_until_ms)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.load().as_ref().map_or(0, |set| set.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn load(&self) -> Guard<Option<Arc<KeySet>>> {
        self.set.load()
    }

    pub(super) fn is_over(set: &KeySet, unix_ms: u64) -> bool {
        unix_ms >= set.good_until_ms
    }
}
