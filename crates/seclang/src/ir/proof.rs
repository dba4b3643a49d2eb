//! The charset proof: which rules can match a value at all, told from the set of bytes that it is made of.

use crate::charset::ByteSet;
use crate::ir::RuleSet;
use crate::ir::bits::Bits;
use crate::ir::rule::Link;
use crate::ir::trie::{Node, Trie};

/// What a set of bytes rules out.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Rules of each phase whose head could match a value of these bytes.
    pub(crate) rules: [Bits; 5],
    /// Nodes of the trie that leave such a value as it is.
    pub(crate) identity: Bits,
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
        Self { rules: [phase(one), phase(two), phase(three), phase(four), phase(five)], identity: spread.identity }
    }
}

/// What becomes of a set of bytes at each node of the trie.
#[derive(Debug)]
pub(crate) struct Spread {
    masks: Vec<ByteSet>,
    identity: Bits,
}

impl Spread {
    pub(crate) fn new(trie: &Trie, mask: ByteSet) -> Self {
        let mut masks = Vec::with_capacity(trie.len());
        masks.push(mask);
        let mut identity = Bits::none(trie.len());
        identity.insert(Node::RAW.index());
        for (node, parent, step) in trie.nodes() {
            let above = masks.get(parent.index()).copied().unwrap_or(ByteSet::ALL);
            let untouched = step.triggers().is_some_and(|triggers| triggers.is_disjoint(&above));
            if untouched && identity.contains(parent.index()) {
                identity.insert(node.index());
            }
            masks.push(if untouched { above } else { step.transfer(above) });
        }
        Self { masks, identity }
    }

    fn admits(&self, link: &Link) -> bool {
        if link.negated || link.unconditional {
            return true;
        }
        let can = |node: &Node| self.masks.get(node.index()).is_none_or(|mask| link.operator.can_match(mask));
        if link.stations.is_empty() { can(&link.node) } else { link.stations.iter().any(can) }
    }
}
