//! Transformations: bytes to bytes, one file each.

use std::borrow::Cow;

use crate::charset::ByteSet;

/// One transformation of the ModSecurity reference.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transform {
    /// Lower case of ASCII letters. (The other variants follow.)
    Lowercase,
}

/// Settings that a transformation depends on.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The code-page map of `SecUnicodeMapFile` (code point → byte) for `urlDecodeUni`, `None` without one.
    pub unicode: Option<Box<[(u32, u8)]>>,
}

impl Transform {
    /// The transformation of that name, compared without regard to case. `none` is no transformation: the parser
    /// handles it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        todo!()
    }

    /// Its name as the reference spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        todo!()
    }

    /// Transforms a value; `Borrowed` exactly when nothing changed (it may also be a sub-slice for trims).
    #[must_use]
    pub fn apply<'a>(self, value: &'a [u8], tables: &Tables) -> Cow<'a, [u8]> {
        todo!()
    }

    /// Bytes without any of which the transformation is the identity; `None` when no such set exists (for example
    /// `sha1`, `length`, or `normalizePath` where order matters: give the superset that triggers it where there is one).
    #[must_use]
    pub fn triggers(self) -> Option<ByteSet> {
        todo!()
    }

    /// Every byte that can occur in the result when only bytes of `set` occur in the input: an over-approximation.
    #[must_use]
    pub fn transfer(self, set: ByteSet) -> ByteSet {
        todo!()
    }
}
