//! `@rx`: regular expressions over bytes, in linear time.
//!
//! The dot matches newlines and `^` and `$` are the ends of the value, as in ModSecurity 2 (libmodsecurity adds
//! `(?m)`, with which a newline slips past `!@rx ^…$`). [`super::pcre`] turns the dialect into that of `regex-syntax`.

use std::sync::atomic::{AtomicU32, Ordering};

use regex_automata::Input;
use regex_automata::meta::{Config, Regex};
use regex_automata::util::captures::Captures as Groups;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

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
    pub(super) facts: Facts,
}

impl Rx {
    pub(super) fn compile(pattern: &str) -> Result<Self, Unusable> {
        // Numbers are never reused: a cache made for one pattern in another's hands would be a wrong answer.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let hir = parse(pattern)?;
        let cache = if pattern.len() < LARGE { CACHE } else { LARGE_CACHE };
        let config = Config::new().hybrid_cache_capacity(cache).nfa_size_limit(Some(NFA)).utf8_empty(false);
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(|why| {
            Unusable::new(format!("the pattern cannot be compiled: {why}"), 0).hint("make its repetitions smaller")
        })?;
        Ok(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), regex, facts: Facts::of(&hir) })
    }

    /// Whether the pattern occurs in the value. Groups are looked for on a match only: most values match nothing.
    pub(super) fn test(&self, value: &[u8], caches: &mut Caches, captures: Option<&mut Captures>) -> bool {
        caches.with(self.number, &self.regex, |cache| {
            let input = Input::new(value);
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

pub(crate) fn parse(pattern: &str) -> Result<Hir, Unusable> {
    let translated = pcre::translate(pattern)?;
    let mut parser =
        ParserBuilder::new().unicode(false).utf8(false).dot_matches_new_line(true).multi_line(false).build();
    parser.parse(&translated.text).map_err(|why| {
        let (kind, offset) = match &why {
            regex_syntax::Error::Parse(why) => (why.kind().to_string(), why.span().start.offset),
            regex_syntax::Error::Translate(why) => (why.kind().to_string(), why.span().start.offset),
            _ => (why.to_string(), 0),
        };
        Unusable::new(format!("bad pattern: {kind}"), translated.origin(offset))
    })
}

fn taken(groups: &Groups) -> Captures {
    let mut captures = Captures::default();
    for (slot, group) in captures.slots.iter_mut().zip(groups.iter()) {
        *slot = group.map(|span| span.range());
    }
    captures
}
