//! The charset proof: which rules can match a value at all, told from the set of bytes that it is made of.

use crate::charset::ByteSet;
use crate::ir::RuleSet;
use crate::ir::bits::Bits;
use crate::ir::rule::Link;
use crate::ir::trie::{Node, Trie};
use crate::transforms::Transform;

/// What a set of bytes rules out.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Rules of each phase whose head could match a value of these bytes.
    pub(crate) rules: [Bits; 5],
    /// Nodes of the trie that leave such a value as it is.
    pub(crate) identity: Bits,
    /// Nodes that change nothing but the case of letters in such a value.
    pub(crate) folding: Bits,
}

impl Proof {
    /// Proves for all rules at once.
    pub(crate) fn new(rules: &RuleSet, mask: ByteSet) -> Self {
        let spread = Spread::new(&rules.trie, mask);
        let phase = |list: &Vec<crate::ir::rule::Rule>| {
            let mut can = Bits::none(list.len());
            for (at, rule) in list.iter().enumerate() {
                if rule.links.first().is_some_and(|head| spread.admits(head)) {
                    can.insert(at);
                }
            }
            can
        };
        let [one, two, three, four, five] = &rules.phases;
        Self {
            rules: [phase(one), phase(two), phase(three), phase(four), phase(five)],
            identity: spread.identity,
            folding: spread.folding,
        }
    }
}

/// What becomes of a set of bytes at each node of the trie.
#[derive(Debug)]
pub(crate) struct Spread {
    masks: Vec<ByteSet>,
    identity: Bits,
    folding: Bits,
}

impl Spread {
    pub(crate) fn new(trie: &Trie, mask: ByteSet) -> Self {
        let mut masks = Vec::with_capacity(trie.len());
        masks.push(mask);
        let mut identity = Bits::none(trie.len());
        identity.insert(Node::RAW.index());
        let mut folding = identity.clone();
        for (node, parent, step) in trie.nodes() {
            let above = masks.get(parent.index()).copied().unwrap_or(ByteSet::ALL);
            let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&above));
            if untouched && identity.contains(parent.index()) {
                identity.insert(node.index());
            }
            let folds = untouched || matches!(step, Transform::Lowercase | Transform::Uppercase);
            if folds && folding.contains(parent.index()) {
                folding.insert(node.index());
            }
            masks.push(if untouched { above } else { transfer(step, above) });
        }
        Self { masks, identity, folding }
    }

    /// Whether the link could match a value of these bytes.
    pub(crate) fn admits(&self, link: &Link) -> bool {
        if link.negated || link.unconditional {
            return true;
        }
        let can = |node: &Node| self.masks.get(node.index()).is_none_or(|mask| link.operator.can_match(mask));
        link.nodes().iter().any(can)
    }
}

/// Whether a link could match a value of these bytes: for one link, where no proof of all rules is at hand.
pub(crate) fn could(trie: &Trie, link: &Link, mask: ByteSet) -> bool {
    link.negated || link.nodes().iter().any(|node| link.operator.can_match(&at_node(trie, *node, mask)))
}

fn at_node(trie: &Trie, node: Node, mask: ByteSet) -> ByteSet {
    let Some((parent, step)) = trie.last_step(node) else { return mask };
    let above = at_node(trie, parent, mask);
    let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&above));
    if untouched { above } else { transfer(step, above) }
}

/// What a step makes of a set of bytes.
fn transfer(step: Transform, set: ByteSet) -> ByteSet {
    match step {
        Transform::Base64Decode => decoded(set),
        _ => step.transfer(set),
    }
}

/// Bytes that base64 text of these bytes can stand for. Digits alone stand for no bracket and no percent sign.
fn decoded(set: ByteSet) -> ByteSet {
    let alphabet = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain([b'+', b'/']).zip(0_u8..);
    let sextets: Vec<u8> = alphabet.filter(|(byte, _)| set.contains(*byte)).map(|(_, sextet)| sextet).collect();
    let parts = |part: fn(u8) -> u8| {
        // A text may end within a group: what is missing counts 0.
        let mut seen = ByteSet::of(&[0]);
        sextets.iter().for_each(|sextet| seen.insert(part(*sextet)));
        seen
    };
    let whole = parts(|sextet| sextet);
    let joined = [
        (whole, 2, parts(|sextet| sextet >> 4)),
        (parts(|sextet| sextet & 15), 4, parts(|sextet| sextet >> 2)),
        (parts(|sextet| sextet & 3), 6, whole),
    ];
    let mut out = ByteSet::NONE;
    for (high, shift, low) in joined {
        for high in (0..64).filter(|part| high.contains(*part)) {
            for low in (0..64).filter(|part| low.contains(*part)) {
                out.insert(high << shift | low);
            }
        }
    }
    out
}
