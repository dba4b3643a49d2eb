//! Literals that rules cannot match without, all searched for in one pass.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::ir::bits::Bits;

/// Rules by the literals that they need.
#[derive(Debug, Default)]
pub(crate) struct Prefilter {
    /// Rules that need one of their literals.
    needing: Bits,
    search: Option<AhoCorasick>,
    /// Rules of each literal.
    owners: Vec<Box<[usize]>>,
}

impl Prefilter {
    /// Of rules, by number below `count`, and their literals.
    pub(crate) fn new(count: usize, rules: impl Iterator<Item = (usize, Vec<Box<[u8]>>)>) -> Self {
        let mut needing = Bits::none(count);
        let mut literals: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for (rule, needed) in rules {
            // An empty literal is everywhere.
            if needed.iter().any(|literal| literal.is_empty()) {
                continue;
            }
            needing.insert(rule);
            for literal in needed {
                literals.entry(literal).or_default().push(rule);
            }
        }
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(literals.keys());
        match search {
            Ok(search) => {
                let owners = literals.into_values().map(Vec::into_boxed_slice).collect();
                Self { needing, search: Some(search), owners }
            }
            // Too many for an automaton: then it filters nothing.
            Err(_) => Self::default(),
        }
    }

    /// Adds the rules of which a literal is in the text.
    pub(crate) fn scan(&self, text: &[u8], found: &mut Bits) {
        let Some(search) = &self.search else { return };
        for hit in search.find_overlapping_iter(text) {
            for rule in self.owners.get(hit.pattern().as_usize()).into_iter().flatten() {
                found.insert(*rule);
            }
        }
    }

    /// Whether a rule cannot match a text in which these were found.
    pub(crate) fn excludes(&self, rule: usize, found: &Bits) -> bool {
        self.needing.contains(rule) && !found.contains(rule)
    }
}
