//! Proofs that a thread has already made, by the set of bytes. A set that was seldom seen is taken for the next larger
//! one of a coarse kind, so that fresh text does not pay for a proof of its own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::charset::ByteSet;
use crate::ir::RuleSet;
use crate::ir::proof::Proof;

/// Most sets of bytes whose proofs are kept, for one rule set.
const MOST: usize = 1024;
/// A set that was met so often gets a proof of its own, which takes as long as judging a short request.
const OFTEN: u32 = 8;
/// Most rule sets of one thread.
const MOST_SETS: usize = 8;

/// The proofs of a thread.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// By the rule set's serial number, the last used last.
    sets: Vec<(u64, Known)>,
}

#[derive(Debug, Default)]
struct Known {
    places: HashMap<ByteSet, usize, BuildHasherDefault<Fold>>,
    /// How often a set was met that has no proof of its own.
    seen: HashMap<ByteSet, u32, BuildHasherDefault<Fold>>,
    proofs: Vec<Proof>,
}

/// Sets of bytes are spread well enough by one multiplication per word; there are at most a few thousand of them.
#[derive(Debug, Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _: usize) {}
}

impl Proofs {
    /// Turns to a rule set. Places of earlier phases are void then.
    pub(crate) fn begin(&mut self, rules: &RuleSet) {
        match self.sets.iter().position(|(serial, _)| *serial == rules.serial) {
            Some(at) if at + 1 == self.sets.len() => {}
            Some(at) => {
                let set = self.sets.remove(at);
                self.sets.push(set);
            }
            None => {
                if self.sets.len() >= MOST_SETS {
                    self.sets.remove(0);
                }
                self.sets.push((rules.serial, Known::default()));
            }
        }
        if let Some((_, known)) = self.sets.last_mut() {
            if known.proofs.len() > MOST {
                known.places.clear();
                known.proofs.clear();
            }
            if known.seen.len() > MOST {
                known.seen.clear();
            }
        }
    }

    /// The place of the proof for a set of bytes, or for a larger one.
    pub(crate) fn place(&mut self, rules: &RuleSet, mask: ByteSet) -> usize {
        let Some((_, known)) = self.sets.last_mut() else { return 0 };
        if let Some(place) = known.places.get(&mask) {
            return *place;
        }
        let seen = known.seen.entry(mask).or_default();
        *seen += 1;
        let proved = if *seen < OFTEN { coarse(mask) } else { mask };
        if let Some(place) = known.places.get(&proved) {
            return *place;
        }
        let place = known.proofs.len();
        known.proofs.push(Proof::new(rules, proved));
        known.places.insert(proved, place);
        place
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Proof> {
        self.sets.last().and_then(|(_, known)| known.proofs.get(place))
    }
}

/// The set with each kind of byte complete of which it has one: small letters, capitals, digits, control characters,
/// bytes above ASCII. Punctuation stays as it is: it is what rules look for.
fn coarse(mask: ByteSet) -> ByteSet {
    let kinds = [(b'a', b'z'), (b'A', b'Z'), (b'0', b'9'), (0x01, 0x08), (0x0e, 0x1f), (0x80, 0xff)];
    kinds.into_iter().fold(mask, |coarse, (low, high)| {
        let kind = ByteSet::NONE.with_range(low, high);
        if kind.is_disjoint(&mask) { coarse } else { coarse.union(kind) }
    })
}
