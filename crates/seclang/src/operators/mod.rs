//! Operators: whether a value matches, one file each.

use std::ops::Range;

use crate::charset::ByteSet;

/// A compiled operator, without its negation.
#[derive(Debug)]
pub enum Operator {
    /// Matches whatever it is given. (The other variants follow.)
    UnconditionalMatch,
}

/// Reads the data files that `@pmFromFile` and `@ipMatchFromFile` name, relative to the rule file.
pub trait Files {
    /// The bytes of a data file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// Why an operator cannot be compiled; `at` is a byte of the argument.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the argument.
    pub at: usize,
}

/// What a match captured: slots 0 to 9.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures {
    /// Ranges of the tested value.
    pub slots: [Option<Range<usize>>; 10],
    /// Text for slot 0 that is not part of the value (the fingerprint of `@detectSQLi`).
    pub text: Option<Vec<u8>>,
}

/// Mutable memory of matchers (lazy DFA caches), one per thread, bounded; reused over transactions.
#[derive(Debug, Default)]
pub struct Caches {}

/// Literals one of which every match must contain (compared without regard to ASCII case).
pub type Literals = Vec<Box<[u8]>>;

impl Operator {
    /// Compiles an operator. `name` as written (any case). When the argument holds macros (`%{…}`), `dynamic` is true
    /// and the expanded text comes with each test as `parameter`; operators that must know their argument at load
    /// (`rx`, `pm`, `ipMatch`, `validateByteRange`, …FromFile) refuse a dynamic one.
    ///
    /// # Errors
    /// Unknown operator, bad argument, unreadable file.
    pub fn compile(name: &str, argument: &str, dynamic: bool, files: &mut dyn Files) -> Result<Self, Unusable> {
        todo!()
    }

    /// Tests a value. `parameter` is the argument as written, or as expanded for this transaction. Captures are
    /// written only on a match and only when asked for.
    #[must_use]
    pub fn test(&self, value: &[u8], parameter: &[u8], caches: &mut Caches, captures: Option<&mut Captures>) -> bool {
        todo!()
    }

    /// Whether some value made of bytes of `set` only could match: an over-approximation, decided at load or once per
    /// distinct set. The empty value is always such a value.
    #[must_use]
    pub fn can_match(&self, set: &ByteSet) -> bool {
        todo!()
    }

    /// Shortest and longest value that can match; `None` where there is no bound.
    #[must_use]
    pub fn lengths(&self) -> (usize, Option<usize>) {
        todo!()
    }

    /// Literals of which at least one occurs in every matching value, longest useful ones; `None` when there are none.
    #[must_use]
    pub fn required(&self) -> Option<Literals> {
        todo!()
    }

    /// Bytes that a test of a value of `length` bytes costs at most, for the work budget.
    #[must_use]
    pub fn work(&self, length: usize) -> u64 {
        todo!()
    }
}
