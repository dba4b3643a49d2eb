//! Which literals a pattern cannot match without. It finds them in the middle of a pattern as well as at its edges, and
//! picks the set that occurs least in ordinary text.

use std::collections::BTreeSet;

use regex_syntax::hir::{Hir, HirKind};

use super::proof::{Literals, bytes_of};

/// Most members of a set: `@pm` lists of thousands share the automaton, so this is about memory only.
const MEMBERS: usize = 384;
/// Most strings of an expression that is spelled out.
const SPELLED: usize = 64;
/// Longest string that is spelled out; a longer match is told as well by a part of this length.
const LENGTH: usize = 24;
/// Shortest literal of a set that is worth a search.
const SHORTEST: usize = 2;

/// A set of strings in lower case.
type Strings = BTreeSet<Vec<u8>>;

/// What is known of an expression.
struct Known {
    /// The strings that it matches, when they are few: all of them.
    exact: Option<Strings>,
    /// Strings one of which is in every match.
    best: Option<Strings>,
}

/// Literals one of which is in every match; `None` when there are none.
pub(super) fn required(hir: &Hir) -> Option<Literals> {
    let best = Known::of(hir).settled()?;
    Some(best.into_iter().map(Vec::into_boxed_slice).collect())
}

impl Known {
    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exactly([Vec::new()].into()),
            HirKind::Literal(literal) => Self::literal(&literal.0),
            HirKind::Class(class) => {
                let set = bytes_of(class);
                let members =
                    (0..=u8::MAX).filter(|&byte| set.contains(byte)).map(|byte| vec![byte.to_ascii_lowercase()]);
                let members: Strings = members.collect();
                if members.len() <= SPELLED { Self::exactly(members) } else { Self::nothing() }
            }
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Repetition(repetition) => {
                let once = Self::of(&repetition.sub);
                match (repetition.min, repetition.max) {
                    (0, Some(1)) => Self {
                        exact: once
                            .exact
                            .map(|mut exact| {
                                exact.insert(Vec::new());
                                exact
                            })
                            .filter(small),
                        best: None,
                    },
                    (0, _) => Self::nothing(),
                    (1, Some(1)) => once,
                    (count @ 1..=16, max) => {
                        let fixed = Self::concat((0..count).map(|_| Self::of(&repetition.sub)));
                        if max == Some(count) { fixed } else { Self { best: fixed.settled(), exact: None } }
                    }
                    _ => Self { best: once.settled(), exact: None },
                }
            }
            HirKind::Concat(parts) => Self::concat(parts.iter().map(Self::of)),
            HirKind::Alternation(parts) => Self::alternation(parts.iter().map(Self::of)),
        }
    }

    fn literal(bytes: &[u8]) -> Self {
        if bytes.len() <= LENGTH {
            return Self::exactly([bytes.to_ascii_lowercase()].into());
        }
        let parts = bytes.chunks(LENGTH).map(|part| Strings::from([part.to_ascii_lowercase()]));
        Self { exact: None, best: parts.min_by(rarer) }
    }

    fn exactly(strings: Strings) -> Self {
        Self { exact: Some(strings), best: None }
    }

    const fn nothing() -> Self {
        Self { exact: None, best: None }
    }

    /// The strings one of which is in every match, whichever way they are known.
    fn settled(self) -> Option<Strings> {
        let exact = self.exact.filter(useful);
        exact.into_iter().chain(self.best).min_by(rarer)
    }

    fn concat(parts: impl Iterator<Item = Self>) -> Self {
        let mut best: Option<Strings> = None;
        let mut offer = |strings: Strings| {
            if useful(&strings) {
                best = best.take().into_iter().chain([strings]).min_by(rarer);
            }
        };
        let mut whole = true;
        let mut run: Strings = [Vec::new()].into();
        for part in parts {
            if let Some(strings) = part.best {
                offer(strings);
            }
            let Some(exact) = part.exact else {
                offer(std::mem::replace(&mut run, [Vec::new()].into()));
                whole = false;
                continue;
            };
            match product(&run, &exact) {
                Some(longer) => run = longer,
                None => {
                    offer(std::mem::replace(&mut run, exact));
                    whole = false;
                }
            }
        }
        if whole {
            return Self { exact: Some(run), best };
        }
        offer(run);
        Self { exact: None, best }
    }

    fn alternation(parts: impl Iterator<Item = Self>) -> Self {
        let mut exact = Some(Strings::new());
        let mut best = Some(Strings::new());
        for part in parts {
            exact = match (exact, &part.exact) {
                (Some(mut all), Some(more)) => {
                    all.extend(more.iter().cloned());
                    Some(all).filter(|all| all.len() <= MEMBERS)
                }
                _ => None,
            };
            best = match (best, part.settled()) {
                (Some(mut all), Some(more)) => {
                    all.extend(more);
                    Some(all).filter(|all| all.len() <= MEMBERS)
                }
                _ => None,
            };
            if exact.is_none() && best.is_none() {
                break;
            }
        }
        Self { exact, best }
    }
}

/// Each string of the one followed by each of the other; `None` when these are too many or too long.
fn product(left: &Strings, right: &Strings) -> Option<Strings> {
    let longest = |strings: &Strings| strings.iter().map(Vec::len).max().unwrap_or(0);
    let few = left.len() * right.len() <= SPELLED || left.len() == 1 && left.first().is_some_and(Vec::is_empty);
    if !few || longest(left) + longest(right) > LENGTH {
        return None;
    }
    Some(left.iter().flat_map(|head| right.iter().map(move |tail| [head.as_slice(), tail].concat())).collect())
}

fn small(strings: &Strings) -> bool {
    strings.len() <= SPELLED
}

fn useful(strings: &Strings) -> bool {
    !strings.is_empty() && strings.len() <= MEMBERS && strings.iter().all(|string| string.len() >= SHORTEST)
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
