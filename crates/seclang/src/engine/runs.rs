//! Arrays of numbers: what can be told of all their elements at once, so that only rules that could match one see them.

use crate::charset::ByteSet;
use crate::engine::inputs::{Inputs, Value};
use crate::ir::{RuleSet, collapse};
use crate::ir::bits::{Bits, next_in};
use crate::ir::rule::{Link, Rule};
use crate::ir::trie::Trie;
use crate::transforms::Transform;

/// The bytes of all elements, or of all their names.
pub(crate) fn mask(inputs: &Inputs, value: &Value, (names, run): (bool, usize)) -> ByteSet {
    if names {
        return ByteSet::of(inputs.bytes(value.name)).union(ByteSet::of(b".array_").with_range(b'0', b'9'));
    }
    inputs.run(run).map_or(ByteSet::ALL, |summary| summary.mask)
}

/// Takes out the rules that can match no element, or no name.
pub(crate) fn narrow(
    row: &mut [u64],
    (rules, phase): (&RuleSet, usize),
    (inputs, value): (&Inputs, &Value),
    (names, run, mask): (bool, usize, ByteSet),
) {
    let Some(summary) = inputs.run(run) else { return };
    let Some(list) = rules.phases.get(phase) else { return };
    let mut found = Bits::none(rules.count());
    if names {
        rules.name_filter.scan(&skeleton(inputs.bytes(value.name), summary.depth), &mut found);
    }
    let mut from = 0;
    while let Some(at) = next_in(row, from) {
        from = at + 1;
        let Some(rule) = list.get(at) else { continue };
        let Some(head) = rule.links.first() else { continue };
        if head.negated || !head.stations.is_empty() {
            continue;
        }
        let none = if names {
            no_name(rules, (rule, head), &found, mask)
        } else {
            no_element(&rules.trie, head, summary.longest, mask)
        };
        if !none && std::env::var("DBG").is_ok() { eprintln!("names {names} rule {} req {:?}", rule.id, head.operator.required().map(|l| l.len())); }
        if none && let Some(word) = row.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }
}

/// Whether no element is long enough, or the operator matches no number at all.
fn no_element(trie: &Trie, head: &Link, longest: usize, mask: ByteSet) -> bool {
    if trie.longest(head.node, longest).is_some_and(|most| most < head.shortest) {
        return true;
    }
    head.operator.spares_numbers() && keeps(trie, head, mask, |step| matches!(step, Transform::UrlDecode | Transform::UrlDecodeUni))
}

/// Whether the literals that the operator needs are in no name.
fn no_name(rules: &RuleSet, (rule, head): (&Rule, &Link), found: &Bits, mask: ByteSet) -> bool {
    if !keeps(&rules.trie, head, mask, |step| matches!(step, Transform::Lowercase | Transform::Uppercase)) {
        return false;
    }
    rules.name_filter.excludes(rule.ordinal, found)
}

/// Whether every step of a chain leaves values of these bytes as they are, but for the ones that are allowed not to.
fn keeps(trie: &Trie, head: &Link, mask: ByteSet, allowed: impl Fn(Transform) -> bool) -> bool {
    let mut node = head.node;
    let mut mask = mask.union(ByteSet::of(b" "));
    if mask.contains(b'E') {
        mask.insert(b'e');
    }
    while let Some((parent, step)) = trie.last_step(node) {
        let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&mask));
        if !untouched && !allowed(step) {
            return false;
        }
        node = parent;
    }
    true
}

/// What all names of the elements look like when they are written as [`collapse`] does.
fn skeleton(prefix: &[u8], depth: usize) -> Vec<u8> {
    let mut text = prefix.to_vec();
    for _ in 0..depth {
        text.extend_from_slice(b".array_0");
    }
    collapse(&text)
}
