//! Sets of bytes, the domain of the charset proof.

/// A set of byte values.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub const ALL: Self = Self([u64::MAX; 4]);
    /// No byte.
    pub const NONE: Self = Self([0; 4]);

    /// The bytes that occur in `text`.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut set = Self::NONE;
        for &byte in text {
            set.insert(byte);
        }
        set
    }

    /// Adds one byte.
    pub const fn insert(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    /// Takes one byte away.
    pub const fn remove(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] &= !(1 << (byte & 63));
    }

    /// Whether the byte is in the set.
    #[must_use]
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }

    /// With all bytes from `low` to `high`, both included.
    #[must_use]
    pub fn with_range(mut self, low: u8, high: u8) -> Self {
        for byte in low..=high {
            self.insert(byte);
        }
        self
    }

    /// Whatever is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }

    /// Whether no byte is in both.
    #[must_use]
    pub const fn is_disjoint(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (a & e) | (b & f) | (c & g) | (d & h) == 0
    }

    /// Whether every byte of `self` is in `other`.
    #[must_use]
    pub const fn is_subset(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (a & !e) | (b & !f) | (c & !g) | (d & !h) == 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.is_disjoint(self)
    }
}
