//! Tells in one pass over a value which of many operators could match it, from the literals that each of them needs.
//!
//! Measured over the 99 positive rules of paranoia level 1 that look at arguments: of 56 that the bytes of 10,000
//! characters of prose admit, 26 are left. The pass costs 3 to 6 ns a byte, each pattern that it saves 1.4 ns a byte and
//! the states of its automaton.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind};

use super::Operator;
use crate::charset::ByteSet;

/// Most literals of one condition. Longer lists are those of `@pmFromFile`, which is such a search itself: joining them
/// would take longer to build than all else at load.
const MEMBERS: usize = 1024;

/// How much of a literal is looked for: what has its beginning mostly has the rest, in half the time to build.
const LENGTH: usize = 12;

/// Many operators, by what they need.
#[derive(Debug)]
pub struct Sieve {
    searcher: Option<AhoCorasick>,
    /// The conditions that each literal of the searcher fulfils.
    owners: Vec<Vec<usize>>,
    /// All conditions of an operator stand in a row.
    conditions: Vec<Condition>,
    /// How many operators there are.
    count: usize,
}

/// One of its literals or one of its bytes must be in the value.
#[derive(Debug)]
struct Condition {
    operator: usize,
    bytes: ByteSet,
}

/// Which conditions a value fulfils; reused from value to value.
#[derive(Debug, Default)]
pub struct Sifted {
    met: Vec<bool>,
    barred: Vec<bool>,
}

impl Sieve {
    /// A sieve for these operators, which it knows by their place in the list. `None` stands for one that nothing rules
    /// out (a negated one).
    pub fn new<'a>(operators: impl Iterator<Item = Option<&'a Operator>>) -> Self {
        let mut sieve = Self { searcher: None, owners: Vec::new(), conditions: Vec::new(), count: 0 };
        let mut literals: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for (at, operator) in operators.enumerate() {
            sieve.count = at + 1;
            let Some(needs) = operator.and_then(Operator::needs) else { continue };
            let also = operator.and_then(Operator::required).filter(|_| !needs.bytes.is_empty());
            let sets = [Some((needs.literals, needs.bytes)), also.map(|literals| (literals, ByteSet::NONE))];
            for (strings, bytes) in sets.into_iter().flatten().filter(|(strings, _)| strings.len() <= MEMBERS) {
                for string in strings {
                    let beginning = string.get(..LENGTH).map_or(string.clone(), Into::into);
                    let owners = literals.entry(beginning).or_default();
                    if owners.last() != Some(&sieve.conditions.len()) {
                        owners.push(sieve.conditions.len());
                    }
                }
                sieve.conditions.push(Condition { operator: at, bytes });
            }
        }
        let builder = || {
            let mut builder = AhoCorasickBuilder::new();
            // The table of a full automaton is thirty times as large and no faster: it falls out of the cache.
            builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::ContiguousNFA));
            builder
        };
        match builder().build(literals.keys()) {
            Ok(searcher) => sieve.searcher = Some(searcher).filter(|_| !literals.is_empty()),
            // More states than can be numbered: then nothing is ruled out.
            Err(_) => sieve.conditions.clear(),
        }
        sieve.owners = literals.into_values().collect();
        sieve
    }

    /// Whether there is anything to look for.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Passes the place of every operator that could match the value to `could`, in order. `mask` is the set of the
    /// value's bytes.
    pub fn sift(&self, value: &[u8], mask: &ByteSet, sifted: &mut Sifted, mut could: impl FnMut(usize)) {
        let Sifted { met, barred } = sifted;
        met.clear();
        met.extend(self.conditions.iter().map(|condition| !condition.bytes.is_disjoint(mask)));
        let mut open = met.iter().filter(|met| !**met).count();
        if let Some(searcher) = self.searcher.as_ref().filter(|_| open > 0) {
            for found in searcher.find_overlapping_iter(value) {
                for &owner in self.owners.get(found.pattern().as_usize()).into_iter().flatten() {
                    if let Some(slot) = met.get_mut(owner).filter(|slot| !**slot) {
                        *slot = true;
                        open -= 1;
                    }
                }
                if open == 0 {
                    break;
                }
            }
        }
        barred.clear();
        barred.resize(self.count, false);
        for (condition, _) in self.conditions.iter().zip(met.iter()).filter(|(_, met)| !**met) {
            if let Some(flag) = barred.get_mut(condition.operator) {
                *flag = true;
            }
        }
        barred.iter().enumerate().filter(|(_, barred)| !**barred).for_each(|(at, _)| could(at));
    }
}
