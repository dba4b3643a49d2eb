//! What an operator can match at all, told at load: the second half of the charset proof, lengths, and literals.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::Operator;
use crate::charset::ByteSet;

/// Literals one of which every match must contain (compared without regard to ASCII case).
pub type Literals = Vec<Box<[u8]>>;

/// What is known of a pattern.
#[derive(Debug)]
pub(super) struct Facts {
    shape: Shape,
    lengths: (usize, Option<usize>),
    literals: Option<Literals>,
}

/// Which bytes a match must have, in the form of the pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Shape {
    /// One of these must hold.
    Any(Box<[Shape]>),
    /// All of these must hold.
    Every(Box<[Shape]>),
    /// All of these bytes must occur.
    Has(ByteSet),
    /// One of these bytes must occur.
    Meets(ByteSet),
    /// Nothing is known.
    Yes,
}

impl Operator {
    /// Whether some value made of bytes of `set` only could match: an over-approximation, decided at load or once per
    /// distinct set. The empty value is always such a value.
    #[must_use]
    pub fn can_match(&self, set: &ByteSet) -> bool {
        match self {
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.shape.possible(set),
            _ => true,
        }
    }

    /// Shortest and longest value that can match; `None` where there is no bound.
    #[must_use]
    pub fn lengths(&self) -> (usize, Option<usize>) {
        match self {
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.lengths,
            _ => (0, None),
        }
    }

    /// Literals of which at least one occurs in every matching value, longest useful ones; `None` when there are none.
    #[must_use]
    pub fn required(&self) -> Option<Literals> {
        match self {
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.literals.clone(),
            _ => None,
        }
    }
}

impl Facts {
    pub(super) fn of(hir: &Hir) -> Self {
        Self { shape: Shape::of(hir), lengths: (hir.properties().minimum_len().unwrap_or(0), None), literals: None }
    }
}

impl Shape {
    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::Yes,
            HirKind::Literal(literal) => Self::Has(ByteSet::of(&literal.0)),
            HirKind::Class(class) => Self::Meets(bytes_of(class)),
            HirKind::Repetition(repetition) if repetition.min == 0 => Self::Yes,
            HirKind::Repetition(repetition) => Self::of(&repetition.sub),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => Self::Every(parts.iter().map(Self::of).collect()),
            HirKind::Alternation(parts) => Self::Any(parts.iter().map(Self::of).collect()),
        }
    }

    fn possible(&self, set: &ByteSet) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.possible(set)),
            Self::Every(parts) => parts.iter().all(|part| part.possible(set)),
            Self::Has(bytes) => bytes.is_subset(set),
            Self::Meets(bytes) => !bytes.is_disjoint(set),
            Self::Yes => true,
        }
    }
}

/// The bytes that a class can begin, continue or end with.
fn bytes_of(class: &Class) -> ByteSet {
    let mut set = ByteSet::NONE;
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set = set.with_range(range.start(), range.end());
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let ascii = |char: char| u8::try_from(u32::from(char)).unwrap_or(u8::MAX);
                if range.end().is_ascii() {
                    set = set.with_range(ascii(range.start()), ascii(range.end()));
                } else {
                    set = set.with_range(ascii(range.start()).min(0x80), u8::MAX);
                }
            }
        }
    }
    set
}
