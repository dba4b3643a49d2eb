//! What an operator can match at all, told at load: the second half of the charset proof, lengths, and literals.
//!
//! Everything here over-approximates: a value that fails a condition certainly does not match.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::literals::{self, Shortest};
use super::number::Comparison;
use super::{Caches, Operator, Relation};
use crate::charset::ByteSet;

/// Literals one of which every match must contain (compared without regard to ASCII case).
pub type Literals = Vec<Box<[u8]>>;

/// What is known of a pattern.
#[derive(Debug)]
pub(super) struct Facts {
    shape: Shape,
    lengths: (usize, Option<usize>),
    literals: Option<Literals>,
    needs: Option<Needs>,
}

/// What every matching value has at least one of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Literals of two bytes or more, compared without regard to ASCII case.
    pub literals: Literals,
    /// Single bytes that are rare in text.
    pub bytes: ByteSet,
}

/// Which bytes a match must have, in the form of the pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Shape {
    /// One of these must hold.
    Any(Box<[Shape]>),
    /// All of these bytes must occur, and a byte of each of these sets, and all of these must hold.
    Every(ByteSet, Box<[ByteSet]>, Box<[Shape]>),
    /// Nothing is known.
    Yes,
}

impl Operator {
    /// Whether some value made of bytes of `set` only could match: an over-approximation, decided at load or once per
    /// distinct set. The empty value is always such a value. With the exact set of a value's bytes it is the strongest
    /// condition on single bytes that there is: every byte or class that a match needs must be in the value.
    #[must_use]
    pub fn can_match(&self, set: &ByteSet) -> bool {
        match self {
            // Letters alone are one word, and no fingerprint of one word is on libinjection's list.
            Self::DetectSqli => !set.is_subset(&ByteSet::of(b"_").with_range(b'a', b'z').with_range(b'A', b'Z')),
            Self::DetectXss => !set.is_disjoint(&ByteSet::of(b"<=")),
            Self::IpMatch(_) => !set.is_disjoint(&ByteSet::of(b":.")),
            Self::NoMatch => false,
            Self::Number(comparison, fixed) => fixed.is_none_or(|fixed| number_can(*comparison, fixed, set)),
            Self::Pm(phrases) => phrases.phrases.iter().any(|phrase| folded_subset(phrase, set)),
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.shape.possible(set),
            // Nothing but the empty value may lie within a text; that one always does.
            Self::Text(Relation::Within, _) | Self::Text(_, None) | Self::UnconditionalMatch => true,
            Self::Text(_, Some(text)) => ByteSet::of(text).is_subset(set),
            Self::ValidateByteRange(allowed) => !set.is_subset(allowed),
            Self::ValidateUrlEncoding => set.contains(b'%'),
            Self::ValidateUtf8Encoding => !set.is_subset(&ByteSet::NONE.with_range(0, 0x7f)),
        }
    }

    /// Whether no JSON number matches, also when its `+` has become a space: for detectors that no set of bytes rules
    /// out, as `1-1` has the bytes of a number.
    #[must_use]
    pub const fn spares_numbers(&self) -> bool {
        matches!(self, Self::DetectSqli | Self::DetectXss)
    }

    /// Shortest and longest value that can match; `None` where there is no bound.
    #[must_use]
    pub fn lengths(&self) -> (usize, Option<usize>) {
        match self {
            Self::IpMatch(_) => (2, None),
            Self::NoMatch => (usize::MAX, Some(0)),
            Self::Pm(phrases) => (phrases.phrases.iter().map(|phrase| phrase.len()).min().unwrap_or(usize::MAX), None),
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.lengths,
            Self::Text(Relation::Streq, Some(text)) => (text.len(), Some(text.len())),
            Self::Text(Relation::Within, Some(text)) => (0, Some(text.len())),
            Self::Text(_, Some(text)) => (text.len(), None),
            Self::ValidateByteRange(_) | Self::ValidateUrlEncoding | Self::ValidateUtf8Encoding => (1, None),
            Self::DetectSqli | Self::DetectXss => (2, None),
            Self::Number(..) | Self::Text(_, None) | Self::UnconditionalMatch => (0, None),
        }
    }

    /// Literals of which at least one occurs in every matching value, of two bytes or more, the set that occurs least
    /// in ordinary text; `None` when there are none.
    #[must_use]
    pub fn required(&self) -> Option<Literals> {
        match self {
            Self::Pm(phrases) => Some(phrases.phrases.clone()),
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.literals.clone(),
            Self::Text(Relation::Within, _) => None,
            Self::Text(_, Some(text)) if text.len() >= 2 => Some(vec![text.to_ascii_lowercase().into()]),
            _ => None,
        }
    }
}

impl Operator {
    /// Runs a text through the matcher's memory, in pieces, so that an early match does not end it: what comes later
    /// meets a warm cache.
    pub fn warm(&self, text: &[u8], caches: &mut Caches) {
        /// Long enough for the states that words in a row lead to.
        const PIECE: usize = 1024;
        if let Self::Rx(rx) | Self::RxGlobal(rx) = self {
            for piece in text.chunks(PIECE) {
                rx.test(piece, caches, None);
            }
        }
    }

    /// As [`Operator::required`], with single bytes as members where these are rare: a value that has none of the
    /// literals and none of the bytes does not match. More rules have such a set, and where one has both, this is the
    /// one that fewer texts pass.
    #[must_use]
    pub fn needs(&self) -> Option<Needs> {
        match self {
            Self::Rx(rx) | Self::RxGlobal(rx) => rx.facts.needs.clone(),
            Self::DetectXss => Some(Needs { literals: Literals::new(), bytes: ByteSet::of(b"<=") }),
            _ => self.required().map(|literals| Needs { literals, bytes: ByteSet::NONE }),
        }
    }
}

impl Needs {
    fn of(strings: Literals) -> Self {
        let mut needs = Self::default();
        for string in strings {
            match &*string {
                // The strings are in lower case and mean both.
                [byte] => {
                    needs.bytes.insert(*byte);
                    needs.bytes.insert(byte.to_ascii_uppercase());
                }
                _ => needs.literals.push(string),
            }
        }
        needs
    }
}

impl Facts {
    pub(super) fn of(hir: &Hir) -> Self {
        let properties = hir.properties();
        let whole =
            properties.look_set_prefix().contains(Look::Start) && properties.look_set_suffix().contains(Look::End);
        let lengths = match properties.minimum_len() {
            Some(shortest) => (shortest, properties.maximum_len().filter(|_| whole)),
            // It matches nothing at all.
            None => (usize::MAX, Some(0)),
        };
        let needs = literals::required(hir, Shortest::Byte).map(Needs::of);
        let literals = match &needs {
            Some(needs) if needs.bytes.is_empty() => Some(needs.literals.clone()),
            Some(_) => literals::required(hir, Shortest::Pair),
            None => None,
        };
        Self { shape: Shape::of(hir), lengths, literals, needs }
    }
}

impl Shape {
    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::Yes,
            HirKind::Literal(literal) => Self::Every(ByteSet::of(&literal.0), Box::default(), Box::default()),
            HirKind::Class(class) => Self::meets(bytes_of(class)),
            HirKind::Repetition(repetition) if repetition.min == 0 => Self::Yes,
            HirKind::Repetition(repetition) => Self::of(&repetition.sub),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => Self::every(parts.iter().map(Self::of)),
            HirKind::Alternation(parts) => Self::any(parts.iter().map(Self::of)),
        }
    }

    fn meets(set: ByteSet) -> Self {
        if set.count() == 1 {
            return Self::Every(set, Box::default(), Box::default());
        }
        Self::Every(ByteSet::NONE, [set].into(), Box::default())
    }

    fn every(parts: impl Iterator<Item = Self>) -> Self {
        let (mut has, mut meets, mut rest) = (ByteSet::NONE, Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Yes => {}
                Self::Every(more, sets, others) => {
                    has = has.union(more);
                    meets.extend(sets);
                    rest.extend(others);
                }
                any @ Self::Any(_) => rest.push(any),
            }
        }
        // A set that holds a byte which must occur, or all of a smaller set, adds nothing.
        meets.retain(|set| set.is_disjoint(&has));
        let mut kept: Vec<ByteSet> = Vec::new();
        for set in meets {
            if !kept.iter().any(|known| known.is_subset(&set)) {
                kept.retain(|known| !set.is_subset(known));
                kept.push(set);
            }
        }
        if has.is_empty() && kept.is_empty() && rest.is_empty() {
            return Self::Yes;
        }
        Self::Every(has, kept.into(), rest.into())
    }

    fn any(parts: impl Iterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Yes => return Self::Yes,
                Self::Any(inner) => kept.extend(inner),
                part => kept.push(part),
            }
        }
        // What another branch follows from adds nothing to the disjunction.
        let mut least: Vec<Self> = Vec::new();
        for part in kept {
            if !least.iter().any(|known| known.follows_from(&part)) {
                least.retain(|known| !part.follows_from(known));
                least.push(part);
            }
        }
        match <[Self; 1]>::try_from(least) {
            Ok([only]) => only,
            Err(least) => Self::Any(least.into()),
        }
    }

    /// Whether this is certain wherever `other` holds; told for plain conditions only.
    fn follows_from(&self, other: &Self) -> bool {
        let (Self::Every(has, meets, rest), Self::Every(more, sets, _)) = (self, other) else { return false };
        let met = |set: &ByteSet| !set.is_disjoint(more) || sets.iter().any(|known| known.is_subset(set));
        rest.is_empty() && has.is_subset(more) && meets.iter().all(met)
    }

    fn possible(&self, set: &ByteSet) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.possible(set)),
            Self::Every(has, meets, rest) => {
                has.is_subset(set)
                    && meets.iter().all(|class| !class.is_disjoint(set))
                    && rest.iter().all(|part| part.possible(set))
            }
            Self::Yes => true,
        }
    }
}

/// The bytes that a class can begin, continue or end with.
pub(super) fn bytes_of(class: &Class) -> ByteSet {
    let mut set = ByteSet::NONE;
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set = set.with_range(range.start(), range.end());
            }
        }
        // Patterns are parsed without Unicode: only ASCII comes in this form. Should that change, more than ASCII is
        // any of the bytes that UTF-8 uses.
        Class::Unicode(class) => {
            for range in class.ranges() {
                let ascii = |char: char| u8::try_from(char).ok().filter(u8::is_ascii);
                set = set.with_range(ascii(range.start()).unwrap_or(0x80), ascii(range.end()).unwrap_or(u8::MAX));
            }
        }
    }
    set
}

/// Without a digit every value counts 0; with one, nothing is known.
fn number_can(comparison: Comparison, fixed: i64, set: &ByteSet) -> bool {
    comparison.holds(0, fixed) || !set.is_disjoint(&ByteSet::NONE.with_range(b'0', b'9'))
}

/// Whether each byte of a phrase is in the set, in either case.
fn folded_subset(phrase: &[u8], set: &ByteSet) -> bool {
    phrase.iter().all(|byte| set.contains(byte.to_ascii_lowercase()) || set.contains(byte.to_ascii_uppercase()))
}
