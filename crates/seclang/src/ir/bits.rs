//! Sets of small numbers: rules of a phase, nodes of the trie.

/// A set of numbers below a bound that is fixed when it is made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bits(Box<[u64]>);

impl Bits {
    /// No number, room for those below `bound`.
    pub(crate) fn none(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)].into_boxed_slice())
    }

    pub(crate) fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn contains(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn union_with(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

/// The first number from `from` on that is in the set of these words.
pub(crate) fn next_in(words: &[u64], from: usize) -> Option<usize> {
    let mut at = from / 64;
    let mut word = words.get(at)? & (u64::MAX << (from % 64));
    loop {
        if word != 0 {
            return Some(at * 64 + usize::try_from(word.trailing_zeros()).expect("below 64"));
        }
        at += 1;
        word = *words.get(at)?;
    }
}
