//! Which literals a pattern cannot match without. It finds them in the middle of a pattern as well as at its edges, and
//! picks the set that occurs least in ordinary text.

use std::collections::BTreeSet;

use regex_syntax::hir::{Hir, HirKind, Repetition};

use super::proof::{Literals, bytes_of};

/// Most members of a set: `@pm` lists of thousands share the automaton, so this is about memory only.
const MEMBERS: usize = 768;
/// Most strings of an expression that is spelled out.
const SPELLED: usize = 64;
/// Longest string that is spelled out; a longer match is told as well by a part of this length.
const LENGTH: usize = 40;
/// Most members of a set at a seam: these are short.
const SEAM: usize = 2048;
/// How often a byte may occur for it to tell something alone.
const RARE: f64 = 0.000_5;

/// The shortest literal of a set that is worth a search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shortest {
    Byte,
    Pair,
}

/// A set of strings in lower case.
type Strings = BTreeSet<Vec<u8>>;

/// What is known of an expression.
#[derive(Default)]
struct Known {
    /// The strings that it matches, when they are few: all of them.
    exact: Option<Strings>,
    /// Strings with one of which every match begins; never those of an exact expression.
    first: Option<Strings>,
    /// Strings with one of which every match ends, likewise.
    last: Option<Strings>,
    /// Strings one of which is in every match.
    best: Option<Strings>,
}

/// Literals one of which is in every match; `None` when there are none. With `Shortest::Byte` also single bytes, where
/// these are rare in text.
pub(super) fn required(hir: &Hir, shortest: Shortest) -> Option<Literals> {
    let best = Known::of(hir, shortest).settled(shortest)?;
    Some(best.into_iter().map(Vec::into_boxed_slice).collect())
}

impl Known {
    fn of(hir: &Hir, shortest: Shortest) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exactly([Vec::new()].into()),
            HirKind::Literal(literal) => Self::literal(&literal.0),
            HirKind::Class(class) => {
                let set = bytes_of(class);
                // Two cases of each letter: a larger set has too many members in any case.
                if set.count() > 128 {
                    return Self::default();
                }
                let folded: Strings = set.iter().map(|byte| vec![byte.to_ascii_lowercase()]).collect();
                if folded.len() <= SPELLED { Self::exactly(folded) } else { Self::default() }
            }
            HirKind::Capture(capture) => Self::of(&capture.sub, shortest),
            HirKind::Repetition(repetition) => Self::repeated(repetition, shortest),
            HirKind::Concat(parts) => Self::concat(parts.iter().map(|part| Self::of(part, shortest)), shortest),
            HirKind::Alternation(parts) => {
                Self::alternation(parts.iter().map(|part| Self::of(part, shortest)), shortest)
            }
        }
    }

    fn repeated(repetition: &Repetition, shortest: Shortest) -> Self {
        let once = || Self::of(&repetition.sub, shortest);
        match (repetition.min, repetition.max) {
            (0, Some(1)) => {
                let exact = once().exact.map(|mut strings| {
                    strings.insert(Vec::new());
                    strings
                });
                Self { exact: exact.filter(small), ..Self::default() }
            }
            (0, _) => Self::default(),
            (count @ 1..=16, max) => {
                let fixed = Self::concat((0..count).map(|_| once()), shortest);
                if max == Some(count) {
                    return fixed;
                }
                let (first, last) = (fixed.first().cloned(), fixed.last().cloned());
                Self { exact: None, first, last, best: fixed.settled(shortest) }
            }
            _ => Self { best: once().settled(shortest), ..Self::default() },
        }
    }

    fn literal(bytes: &[u8]) -> Self {
        let lower = bytes.to_ascii_lowercase();
        if bytes.len() <= LENGTH {
            return Self::exactly([lower].into());
        }
        let one = |part: &[u8]| Strings::from([part.to_vec()]);
        Self {
            exact: None,
            first: lower.get(..LENGTH).map(one),
            last: lower.get(lower.len() - LENGTH..).map(one),
            best: lower.chunks_exact(LENGTH).map(one).min_by(rarer),
        }
    }

    fn exactly(strings: Strings) -> Self {
        Self { exact: Some(strings), ..Self::default() }
    }

    fn first(&self) -> Option<&Strings> {
        self.exact.as_ref().or(self.first.as_ref())
    }

    fn last(&self) -> Option<&Strings> {
        self.exact.as_ref().or(self.last.as_ref())
    }

    /// The strings one of which is in every match, whichever way they are known.
    fn settled(self, shortest: Shortest) -> Option<Strings> {
        let known =
            self.exact.into_iter().chain(self.first).chain(self.last).filter(|strings| useful(strings, shortest));
        known.chain(self.best).min_by(rarer)
    }

    fn concat(parts: impl Iterator<Item = Self>, shortest: Shortest) -> Self {
        let mut whole = Self::exactly([Vec::new()].into());
        for part in parts {
            whole = whole.then(part, shortest);
        }
        whole
    }

    /// What is known of this followed by that.
    fn then(self, next: Self, shortest: Shortest) -> Self {
        if let (Some(left), Some(right)) = (&self.exact, &next.exact)
            && let Some(exact) = product(left, right, SPELLED)
        {
            return Self::exactly(exact);
        }
        let joined = |left: Option<&Strings>, right: Option<&Strings>| product(left?, right?, SPELLED);
        // What stands at the seam of the two is often the rarest.
        let seam = self.last().zip(next.first()).and_then(|(left, right)| product(left, right, SEAM));
        let first = match &self.exact {
            Some(exact) => joined(Some(exact), next.first()).or_else(|| Some(exact.clone())),
            None => self.first.clone(),
        };
        let last = match &next.exact {
            Some(exact) => joined(self.last(), Some(exact)).or_else(|| Some(exact.clone())),
            None => next.last.clone(),
        };
        let offers =
            [seam, first.clone(), last.clone()].into_iter().flatten().filter(|strings| useful(strings, shortest));
        let best = offers.chain(self.settled(shortest)).chain(next.settled(shortest)).min_by(rarer);
        Self { exact: None, first, last, best }
    }

    fn alternation(parts: impl Iterator<Item = Self>, shortest: Shortest) -> Self {
        let mut all = Self {
            exact: Some(Strings::new()),
            first: Some(Strings::new()),
            last: Some(Strings::new()),
            best: Some(Strings::new()),
        };
        for part in parts {
            all.first = union(all.first, part.first().cloned());
            all.last = union(all.last, part.last().cloned());
            all.exact = union(all.exact, part.exact.clone());
            all.best = union(all.best, part.settled(shortest));
            if all.exact.is_none() && all.first.is_none() && all.last.is_none() && all.best.is_none() {
                break;
            }
        }
        if all.exact.is_some() {
            all.first = None;
            all.last = None;
        }
        all
    }
}

/// The strings of both, when both are known and not too many.
fn union(left: Option<Strings>, right: Option<Strings>) -> Option<Strings> {
    let (mut left, right) = (left?, right?);
    left.extend(right);
    Some(left).filter(|strings| strings.len() <= MEMBERS)
}

/// Each string of the one followed by each of the other; `None` when these are too many or too long.
fn product(left: &Strings, right: &Strings, most: usize) -> Option<Strings> {
    let longest = |strings: &Strings| strings.iter().map(Vec::len).max().unwrap_or(0);
    let few = left.len() * right.len() <= most || left.len() == 1 || right.len() == 1;
    if !few || longest(left) + longest(right) > LENGTH {
        return None;
    }
    Some(left.iter().flat_map(|head| right.iter().map(move |tail| [head.as_slice(), tail].concat())).collect())
}

fn small(strings: &Strings) -> bool {
    strings.len() <= SPELLED
}

fn useful(strings: &Strings, shortest: Shortest) -> bool {
    let tells = |string: &Vec<u8>| match string.as_slice() {
        [] => false,
        [byte] => shortest == Shortest::Byte && frequency(*byte) <= RARE,
        _ => true,
    };
    !strings.is_empty() && strings.len() <= SEAM && strings.iter().all(tells)
}

/// The set that occurs less in ordinary text comes first.
fn rarer(left: &Strings, right: &Strings) -> std::cmp::Ordering {
    let rate = |strings: &Strings| {
        strings.iter().map(|string| string.iter().map(|&byte| frequency(byte)).product::<f64>()).sum::<f64>()
    };
    rate(left).total_cmp(&rate(right))
}

/// How often a byte occurs in English prose, roughly; neighbours are taken to be independent.
fn frequency(byte: u8) -> f64 {
    match byte {
        b' ' => 0.17,
        b'e' => 0.1,
        b't' | b'a' | b'o' | b'i' | b'n' => 0.065,
        b's' | b'r' | b'h' | b'l' => 0.045,
        b'd' | b'c' | b'u' | b'm' | b'f' | b'p' => 0.025,
        b'g' | b'w' | b'y' | b'b' | b'v' => 0.015,
        b'k' | b',' | b'.' | b'\n' | b'0'..=b'9' => 0.008,
        b'x' | b'j' | b'q' | b'z' | b'"' | b'\'' | b'-' | b':' | b'(' | b')' | b'/' => 0.002,
        _ => 0.0004,
    }
}
