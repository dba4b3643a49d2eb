//! The names of the elements of an array differ in their digits only: a pattern is walked once over all of them, as an
//! automaton whose digits are any digits.

use std::collections::HashMap;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::{Input, MatchKind};

use crate::ir::rule::Link;
use crate::operators::{Operator, parse_pattern};

/// Automata of one thread, by rule set and rule. They are made for rules that have met such a name.
#[derive(Debug, Default)]
pub(crate) struct Walkers {
    known: HashMap<(u64, usize), Option<Walker>>,
}

#[derive(Debug)]
struct Walker {
    dfa: DFA,
    cache: Cache,
}

/// Most automata of a thread.
const MOST: usize = 256;
/// Most memory of one automaton's states.
const CACHE: usize = 128 << 10;
/// Most states that any digits lead to, before nothing is known.
const MOST_STATES: usize = 48;

/// What all names have in common, behind the rule's transformations.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) prefix: &'a [u8],
    /// What stands before an index.
    pub(crate) before: &'a [u8],
    /// Most indices of a name; it has one at least.
    pub(crate) depth: usize,
}

impl Walkers {
    /// Whether the operator certainly matches no such name.
    pub(crate) fn excludes(&mut self, key: (u64, usize), link: &Link, shape: Shape<'_>) -> bool {
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            self.known.clear();
        }
        let walker = self.known.entry(key).or_insert_with(|| Walker::new(link));
        walker.as_mut().is_some_and(|walker| walker.excludes(shape))
    }
}

/// A match was met, or nothing can be told.
struct Unknown;

impl Walker {
    fn new(link: &Link) -> Option<Self> {
        let Operator::Rx(_) = &link.operator else { return None };
        let pattern = std::str::from_utf8(link.parameter.fixed()?).ok()?;
        let hir = parse_pattern(pattern).ok()?;
        let config = Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(4 << 20));
        let nfa = Compiler::new().configure(config).build_from_hir(&hir).ok()?;
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE)
            .skip_cache_capacity_check(true)
            // A state that was thrown away must not be asked again.
            .minimum_cache_clear_count(Some(0));
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let cache = dfa.create_cache();
        Some(Self { dfa, cache })
    }

    fn excludes(&mut self, shape: Shape<'_>) -> bool {
        let excludes = self.walk(shape).is_ok();
        if !excludes && self.cache.memory_usage() > CACHE / 2 {
            self.cache.reset(&self.dfa);
        }
        excludes
    }

    fn walk(&mut self, shape: Shape<'_>) -> Result<(), Unknown> {
        let start = self.dfa.start_state_forward(&mut self.cache, &Input::new(b"")).map_err(|_| Unknown)?;
        let mut states = vec![start];
        self.read(&mut states, shape.prefix)?;
        for _ in 0..shape.depth {
            self.read(&mut states, shape.before)?;
            self.digits(&mut states)?;
            for state in &states {
                let end = self.dfa.next_eoi_state(&mut self.cache, *state).map_err(|_| Unknown)?;
                if end.is_match() {
                    return Err(Unknown);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, states: &mut [LazyStateID], text: &[u8]) -> Result<(), Unknown> {
        for byte in text {
            for state in &mut *states {
                *state = self.next(*state, *byte)?;
            }
        }
        Ok(())
    }

    /// All states that one digit or more leads to.
    fn digits(&mut self, states: &mut Vec<LazyStateID>) -> Result<(), Unknown> {
        let mut reached: Vec<LazyStateID> = Vec::new();
        let mut from = std::mem::take(states);
        while let Some(state) = from.pop() {
            for digit in b'0'..=b'9' {
                let next = self.next(state, digit)?;
                if !reached.contains(&next) {
                    if reached.len() >= MOST_STATES {
                        return Err(Unknown);
                    }
                    reached.push(next);
                    from.push(next);
                }
            }
        }
        *states = reached;
        Ok(())
    }

    fn next(&mut self, state: LazyStateID, byte: u8) -> Result<LazyStateID, Unknown> {
        if state.is_dead() {
            return Ok(state);
        }
        let next = self.dfa.next_state(&mut self.cache, state, byte).map_err(|_| Unknown)?;
        if next.is_match() || next.is_quit() { Err(Unknown) } else { Ok(next) }
    }
}
