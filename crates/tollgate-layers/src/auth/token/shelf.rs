//! Tokens that were found good, by a keyed digest of their text: what makes the second request with a token cheap.
//!
//! A table of fixed size without locks: readers load one place, writers replace one. A token that finds no room is only
//! checked anew the next time.

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{Context, SHA256};
use subtle::ConstantTimeEq as _;
use tollgate_core::identity::Identity;

use super::claims::Bound;

/// Places where one token may stand.
const WAYS: usize = 4;
/// Sets of places: a power of two.
const SETS: usize = 4_096;

/// The table.
pub(super) struct Shelf {
    seed: [u8; 16],
    places: Box<[ArcSwapOption<Known>]>,
}

/// A token that was found good.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) digest: Digest,
    /// Place of its issuer.
    pub(super) issuer: usize,
    /// Whose it is; `None` where its issuer said that it is not active.
    pub(super) who: Option<Identity>,
    pub(super) bound: Bound,
    /// Checked anew from then on, milliseconds since the Unix epoch.
    pub(super) until_ms: u64,
    /// The keys that it was checked with.
    pub(super) generation: u64,
}

/// A keyed digest of a token.
pub(super) type Digest = [u8; 32];

impl Shelf {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        Self { seed, places: std::iter::repeat_with(ArcSwapOption::empty).take(SETS * WAYS).collect() }
    }

    /// The digest of a token: nobody outside can tell where it stands, and none can be found that has the same.
    pub(super) fn digest(&self, token: &[u8]) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(&self.seed);
        context.update(token);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// What is known of a token. `use_it` runs while the place is held still.
    pub(super) fn find<T>(&self, digest: &Digest, now_ms: u64, use_it: impl FnOnce(&Known) -> T) -> Option<T> {
        for place in self.set(digest) {
            let known = place.load();
            if let Some(known) = known.as_ref()
                && bool::from(known.digest.ct_eq(digest))
            {
                return (now_ms < known.until_ms).then(|| use_it(known));
            }
        }
        None
    }

    /// Remembers a token, in place of the one of its set that ends first.
    pub(super) fn put(&self, known: Known) {
        let until = |place: &ArcSwapOption<Known>| place.load().as_ref().map_or(0, |old| old.until_ms);
        let same = |place: &&ArcSwapOption<Known>| place.load().as_ref().is_some_and(|old| old.digest == known.digest);
        let set = self.set(&known.digest);
        let place = set.iter().find(same).or_else(|| set.iter().min_by_key(|place| until(place)));
        if let Some(place) = place {
            place.store(Some(known.into()));
        }
    }

    fn set(&self, digest: &Digest) -> &[ArcSwapOption<Known>] {
        let number = digest.first_chunk::<2>().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)));
        let from = (number % SETS) * WAYS;
        self.places.get(from..from + WAYS).unwrap_or_default()
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf(…)")
    }
}
