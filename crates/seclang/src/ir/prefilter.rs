//! Literals that rules cannot match without, all searched for in one pass.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::charset::ByteSet;
use crate::ir::bits::Bits;
use crate::ir::collapse;
use crate::ir::number_search::NumberSearch;
use crate::ir::proof::Spread;
use crate::ir::rule::Rule;
use crate::ir::shelf::Shelf;
use crate::ir::trie::Trie;
use crate::parse::ast::Variable;

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

    /// Whether a rule can be told from its literals at all.
    pub(crate) fn knows(&self, rule: usize) -> bool {
        self.needing.contains(rule)
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

/// Shortest literal that a long text is searched for: shorter ones are in every text.
const SHORTEST: usize = 3;

/// Literals of the rules that look at names of arguments.
pub(crate) fn of_names(phases: &[Vec<Rule>; 5], count: usize) -> Prefilter {
    let names = Shelf::of(Variable::ArgsPostNames);
    let looking = phases.iter().flatten().filter_map(|rule| {
        let head = rule.links.first()?;
        let looks = head.looks.iter().any(|look| look.shelves.contains(&names));
        let literals = (looks && !head.negated).then(|| head.operator.required()).flatten()?;
        Some((rule.ordinal, literals.iter().map(|literal| collapse(literal).into_boxed_slice()).collect()))
    });
    Prefilter::new(count, looking)
}

/// Literals of the rules that look at values.
pub(crate) fn of_texts(phases: &[Vec<Rule>; 5], count: usize) -> Prefilter {
    let looking = phases.iter().flatten().filter_map(|rule| {
        let head = rule.links.first()?;
        let literals = (!head.negated).then(|| head.operator.required()).flatten()?;
        literals.iter().all(|literal| literal.len() >= SHORTEST).then_some((rule.ordinal, literals))
    });
    Prefilter::new(count, looking)
}

/// Gives rules that could match numbers, but only some few, a search for these.
pub(crate) fn add_number_searches(phases: &mut [Vec<Rule>; 5], trie: &Trie) {
    let values = Shelf::of(Variable::ArgsPost);
    let numbers = Spread::new(trie, ByteSet::NUMBERS);
    for rule in phases.iter_mut().flatten() {
        let Some(head) = rule.links.first() else { continue };
        let looks = head.looks.iter().any(|look| look.shelves.contains(&values));
        if !looks || head.negated || !numbers.admits(head) {
            continue;
        }
        rule.number_search = head.operator.required().and_then(|literals| NumberSearch::new(&literals));
    }
}
