//! `@rx`: regular expressions over bytes, in linear time.
//!
//! The dot matches newlines and `^` and `$` are the ends of the value, as in ModSecurity 2 (libmodsecurity adds
//! `(?m)`, with which a newline slips past `!@rx ^…$`). [`super::pcre`] turns the dialect into that of `regex-syntax`.

use std::sync::atomic::{AtomicU32, Ordering};

use regex_automata::Input;
use regex_automata::meta::{Cache, Config, Regex};
use regex_automata::util::captures::Captures as Groups;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use super::around::Pair;
use super::proof::Facts;
use super::{Caches, Captures, Unusable, pcre};

/// Lazy DFA cache of one pattern and thread. 64 KB was measured five to ten times slower, 2 MB no faster.
const CACHE: usize = 256 << 10;

/// The same for patterns of thousands of characters (lists of commands spelled with noise): they have so many states
/// that ordinary prose fills the smaller cache, and a full one is emptied.
const LARGE_CACHE: usize = 1 << 20;

/// The length of pattern from which [`LARGE_CACHE`] is for.
const LARGE: usize = 2000;

/// Most memory of one compiled pattern.
const NFA: usize = 16 << 20;

/// A compiled pattern.
#[derive(Debug)]
pub struct Rx {
    number: u32,
    regex: Regex,
    /// What a match must hold besides; for most patterns nothing.
    pairs: Box<[Pair]>,
    pub(super) facts: Facts,
}

impl Rx {
    pub(super) fn compile(pattern: &str) -> Result<Self, Unusable> {
        // Numbers are never reused: a cache made for one pattern in another's hands would be a wrong answer.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (hir, pairs) = read(pattern)?;
        let cache = if pattern.len() < LARGE { CACHE } else { LARGE_CACHE };
        let config = Config::new().hybrid_cache_capacity(cache).nfa_size_limit(Some(NFA)).utf8_empty(false);
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|why| {
            Unusable::new(format!("the pattern cannot be compiled: {why}"), 0).hint("make its repetitions smaller")
        })?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number, regex, pairs: pairs.into(), facts: Facts::of(&hir) })
    }

    /// Whether the pattern occurs in the value. Groups are looked for on a match only: most values match nothing.
    pub(super) fn test(&self, value: &[u8], caches: &mut Caches, captures: Option<&mut Captures>) -> bool {
        caches.with(self.number, &self.regex, |cache| {
            let input = Input::new(value);
            if !self.pairs.is_empty() {
                return self.test_pairs(value, cache, captures);
            }
            if self.regex.search_half_with(cache, &input.clone().earliest(true)).is_none() {
                return false;
            }
            if let Some(captures) = captures {
                let mut groups = self.regex.create_captures();
                self.regex.search_captures_with(cache, &input, &mut groups);
                *captures = taken(&groups);
            }
            true
        })
    }

    /// Looks for a match whose groups are as they must be. Where one is not, the search goes on at its second word, which
    /// may be the first of another. What is read twice is bounded: beyond it the value counts as a match.
    fn test_pairs(&self, value: &[u8], cache: &mut Cache, captures: Option<&mut Captures>) -> bool {
        let mut groups = self.regex.create_captures();
        let (mut from, mut left) = (0, value.len().saturating_mul(8) + 64);
        while from <= value.len() {
            self.regex.search_captures_with(cache, &Input::new(value).range(from..), &mut groups);
            let Some(found) = groups.get_match() else { return false };
            let group = |number| groups.get_group(number).and_then(|span| value.get(span.range())).map(<[u8]>::to_vec);
            let read = found.end() - from;
            if left < read || self.pairs.iter().all(|pair| pair.holds(group)) {
                if let Some(captures) = captures {
                    *captures = taken(&groups);
                }
                return true;
            }
            left -= read;
            let second = self.pairs.iter().find_map(|pair| groups.get_group(pair.second));
            from = second.map_or(found.end(), |span| span.start).max(from + 1);
        }
        false
    }

    /// The same; each further match overwrites the slots of its groups.
    pub(super) fn test_global(&self, value: &[u8], caches: &mut Caches, captures: Option<&mut Captures>) -> bool {
        /// Each search may read to the end of the value: without a bound, many matches would cost its square.
        const MATCHES: usize = 16;
        let Some(captures) = captures else { return self.test(value, caches, None) };
        if !self.test(value, caches, Some(captures)) {
            return false;
        }
        caches.with(self.number, &self.regex, |cache| {
            let mut groups = self.regex.create_captures();
            let mut from = captures.slots.first().cloned().flatten().map_or(0, |range| range.end.max(range.start + 1));
            for _ in 1..MATCHES {
                if from > value.len() {
                    break;
                }
                self.regex.search_captures_with(cache, &Input::new(value).range(from..), &mut groups);
                let Some(found) = groups.get_match() else { break };
                from = found.end().max(found.start() + 1);
                for (slot, group) in captures.slots.iter_mut().zip(taken(&groups).slots) {
                    *slot = group.or(slot.take());
                }
            }
        });
        true
    }

    /// The bytes that the compiled pattern takes, its caches apart.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.regex.memory_usage()
    }
}

/// What a pattern matches, or, where groups are compared as well, more than that.
pub(crate) fn parse(pattern: &str) -> Result<Hir, Unusable> {
    read(pattern).map(|(hir, _)| hir)
}

fn read(pattern: &str) -> Result<(Hir, Vec<Pair>), Unusable> {
    let mut translated = pcre::translate(pattern)?;
    let pairs = std::mem::take(&mut translated.pairs);
    let mut parser =
        ParserBuilder::new().unicode(false).utf8(false).dot_matches_new_line(true).multi_line(false).build();
    let parsed = parser.parse(&translated.text).map_err(|why| {
        let (kind, offset) = match &why {
            regex_syntax::Error::Parse(why) => (why.kind().to_string(), why.span().start.offset),
            regex_syntax::Error::Translate(why) => (why.kind().to_string(), why.span().start.offset),
            _ => (why.to_string(), 0),
        };
        Unusable::new(format!("bad pattern: {kind}"), translated.origin(offset))
    });
    parsed.map(|hir| (hir, pairs))
}

fn taken(groups: &Groups) -> Captures {
    let mut captures = Captures::default();
    for (slot, group) in captures.slots.iter_mut().zip(groups.iter()) {
        *slot = group.map(|span| span.range());
    }
    captures
}
