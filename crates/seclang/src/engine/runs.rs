//! Arrays of numbers: what can be told of all their elements at once, so that only rules that could match one see them.

use crate::bodies::Summary;
use crate::charset::ByteSet;
use crate::engine::derived;
use crate::engine::inputs::{Inputs, Value};
use crate::engine::names::{Shape, Walkers};
use crate::ir::bits::{Bits, next_in};
use crate::ir::rule::{Link, Rule};
use crate::ir::trie::{Node, Trie};
use crate::ir::{RuleSet, collapse};
use crate::operators::{Caches, Operator};
use crate::transforms::Transform;

/// The bytes of all elements, or of all their names.
pub(crate) fn mask(inputs: &Inputs, value: &Value, (names, run): (bool, usize)) -> ByteSet {
    if names {
        return ByteSet::of(inputs.bytes(value.name)).union(ByteSet::of(b".array_").with_range(b'0', b'9'));
    }
    inputs.run(run).map_or(ByteSet::ALL, |summary| summary.mask)
}

/// Numbers as JSON writes them, of which an array rarely has every digit.
pub(crate) fn round_up(mask: ByteSet) -> ByteSet {
    if mask.is_subset(&ByteSet::NUMBERS) { ByteSet::NUMBERS } else { mask }
}

/// Whether an element could have that name: all of them begin alike.
pub(crate) fn could_be_named(inputs: &Inputs, value: &Value, name: &[u8]) -> bool {
    let prefix = inputs.bytes(value.name);
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A run of a phase: the rules, and what it stands for.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) phase: usize,
    pub(crate) prefix: &'a [u8],
    /// The array itself.
    pub(crate) text: &'a [u8],
    pub(crate) summary: &'a Summary,
    pub(crate) mask: ByteSet,
}

impl Run<'_> {
    /// Takes out the rules that can match no element.
    pub(crate) fn narrow_elements(&self, row: &mut [u64]) {
        self.narrow(row, |rule, head| {
            let trie = &self.rules.trie;
            if keeps(trie, head, self.mask, |_| false) {
                // Elements are tested as they stand in the array: what is not in it is in none of them.
                if rule.number_search.as_ref().is_some_and(|search| !search.is_match(self.text)) {
                    return true;
                }
            } else if !head.stations.is_empty() {
                return false;
            }
            let shorter = trie.longest(head.node, self.summary.longest).is_some_and(|most| most < head.shortest);
            let decodes = |step| matches!(step, Transform::UrlDecode | Transform::UrlDecodeUni);
            shorter || head.operator.spares_numbers() && keeps(trie, head, self.mask, decodes)
        });
    }

    /// Takes out the rules that can match no name: their literals are in none, or their patterns lead nowhere.
    pub(crate) fn narrow_names(&self, row: &mut [u64], (walkers, caches): (&mut Walkers, &mut Caches)) {
        let mut found = Bits::none(self.rules.count());
        self.rules.name_filter.scan(&skeleton(self.prefix, self.summary.depth), &mut found);
        self.narrow(row, |rule, head| {
            // With `multiMatch` the raw value is tested too: then no step may change even the case.
            let multi = !head.stations.is_empty();
            let changes_case = |step| !multi && matches!(step, Transform::Lowercase | Transform::Uppercase);
            let kept = keeps(&self.rules.trie, head, self.mask, changes_case);
            if !kept && !is_cut(&self.rules.trie, head, self.mask) {
                return false;
            }
            if !kept && !head.nodes().iter().all(|node| self.spares_first(head, *node, caches)) {
                return false;
            }
            if !kept && !multi {
                return true;
            }
            if matches!(head.operator, Operator::DetectSqli) && self.mask.is_subset(&words()) {
                return self.spares_first(head, head.node, caches);
            }
            if self.rules.name_filter.excludes(rule.ordinal, &found) {
                return true;
            }
            // The steps that are left change single letters, so that parts may be transformed apart.
            let node = if multi { Node::RAW } else { head.node };
            let prefix = derived::apply(self.rules, self.prefix, node);
            let before = derived::apply(self.rules, b".array_", node);
            let shape = Shape { prefix: &prefix, before: &before, depth: self.summary.depth };
            walkers.excludes((self.rules.serial, rule.ordinal), head, shape)
        });
    }

    /// Whether the operator does not match the first name.
    fn spares_first(&self, head: &Link, node: Node, caches: &mut Caches) -> bool {
        // What its macros come to is not known yet.
        let Some(parameter) = head.parameter.fixed() else { return false };
        let mut name = self.prefix.to_vec();
        for _ in 0..self.summary.depth {
            name.extend_from_slice(b".array_0");
        }
        let text = derived::apply(self.rules, &name, node);
        !head.operator.test(&text, parameter, caches, None)
    }

    fn narrow(&self, row: &mut [u64], mut is_out: impl FnMut(&Rule, &Link) -> bool) {
        let Some(list) = self.rules.phases.get(self.phase) else { return };
        let mut from = 0;
        while let Some(at) = next_in(row, from) {
            from = at + 1;
            let Some(rule) = list.get(at) else { continue };
            let Some(head) = rule.links.first() else { continue };
            if head.negated || !is_out(rule, head) {
                continue;
            }
            if let Some(word) = row.get_mut(at / 64) {
                *word &= !(1 << (at % 64));
            }
        }
    }
}

/// Whether every step of a chain leaves values of these bytes as they are, but for the ones that are allowed not to.
fn keeps(trie: &Trie, head: &Link, mask: ByteSet, allowed: impl Fn(Transform) -> bool) -> bool {
    let mut node = head.node;
    let mut mask = mask;
    if mask.contains(b'+') {
        mask.insert(b' ');
    }
    let slashes = mask.contains(b'/') || mask.contains(b'\\');
    while let Some((parent, step)) = trie.last_step(node) {
        let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&mask));
        // A path of one part stays as it is, unless it is nothing but dots.
        let one_part = matches!(step, Transform::NormalizePath | Transform::NormalizePathWin) && !slashes;
        if !untouched && !one_part && !allowed(step) {
            return false;
        }
        node = parent;
    }
    true
}

/// Whether a chain decodes base64 before anything else happens: that ends at the first dot, and so before any digit in
/// which the names differ.
fn is_cut(trie: &Trie, head: &Link, mask: ByteSet) -> bool {
    let mut node = head.node;
    let mut cut = false;
    while let Some((parent, step)) = trie.last_step(node) {
        let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&mask));
        cut = step == Transform::Base64Decode || cut && untouched;
        node = parent;
    }
    cut
}

/// The bytes of words and of the dots between them. Digits within a word change nothing for libinjection, which knows
/// no keyword that an index is part of.
const fn words() -> ByteSet {
    let mut set = ByteSet::NONE;
    let mut byte = 0;
    while byte < 0x80_u8 {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' {
            set.insert(byte);
        }
        byte += 1;
    }
    set
}

/// What all names of the elements look like when they are written as [`collapse`] does.
fn skeleton(prefix: &[u8], depth: usize) -> Vec<u8> {
    let mut text = prefix.to_vec();
    for _ in 0..depth {
        text.extend_from_slice(b".array_0");
    }
    collapse(&text)
}
