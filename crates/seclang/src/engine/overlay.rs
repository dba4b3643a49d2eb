//! What `ctl` takes away from the rules, for one transaction. Rules are never copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ir::bits::Bits;
use crate::ir::rule::{Except, Select};
use crate::ir::shelf::Shelf;

/// Removed rules and removed targets.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    removed: Option<Bits>,
    /// Whole shelves, names (lower case) and patterns that are no target of the rules in the set.
    whole: BTreeMap<Shelf, Bits>,
    names: BTreeMap<Shelf, BTreeMap<Box<[u8]>, Bits>>,
    patterns: Vec<(Arc<Bits>, Except)>,
}

impl Overlay {
    pub(crate) fn reset(&mut self) {
        self.removed = None;
        self.whole.clear();
        self.names.clear();
        self.patterns.clear();
    }

    pub(crate) fn remove_rules(&mut self, rules: &Arc<Bits>) {
        match &mut self.removed {
            Some(removed) => removed.union_with(rules),
            None => self.removed = Some(Bits::clone(rules)),
        }
    }

    pub(crate) fn remove_targets(&mut self, rules: &Arc<Bits>, excepts: &[Except]) {
        for except in excepts {
            match &except.select {
                Select::All => {
                    for shelf in except.shelves {
                        add(&mut self.whole, *shelf, rules);
                    }
                }
                Select::Name(name) => {
                    for shelf in except.shelves {
                        add(self.names.entry(*shelf).or_default(), name.clone(), rules);
                    }
                }
                Select::Pattern(pattern) => {
                    let known = self.patterns.iter().any(|(known, it)| {
                        Arc::ptr_eq(known, rules)
                            && std::ptr::eq(it.shelves, except.shelves)
                            && same(&it.select, pattern)
                    });
                    if !known {
                        self.patterns.push((Arc::clone(rules), except.clone()));
                    }
                }
                Select::Computed(_) | Select::Slot(_) => {}
            }
        }
    }

    /// Whether the rule no longer runs.
    pub(crate) fn removes(&self, ordinal: usize) -> bool {
        self.removed.as_ref().is_some_and(|removed| removed.contains(ordinal))
    }

    /// Whether a value of that name is no target of the rule.
    pub(crate) fn excuses(&self, ordinal: usize, shelf: Shelf, name: &[u8]) -> bool {
        if self.whole.get(&shelf).is_some_and(|rules| rules.contains(ordinal)) {
            return true;
        }
        if let Some(names) = self.names.get(&shelf)
            && names.get(&*name.to_ascii_lowercase()).is_some_and(|rules| rules.contains(ordinal))
        {
            return true;
        }
        self.patterns.iter().any(|(rules, except)| {
            rules.contains(ordinal) && except.shelves.contains(&shelf) && except.select.takes(name)
        })
    }
}

fn add<K: Ord>(map: &mut BTreeMap<K, Bits>, key: K, rules: &Bits) {
    map.entry(key).and_modify(|bits| bits.union_with(rules)).or_insert_with(|| rules.clone());
}

fn same(select: &Select, pattern: &regex_automata::meta::Regex) -> bool {
    // A `ctl` that runs again brings the very same compiled parts; a clone of a pattern shares them.
    matches!(select, Select::Pattern(known) if std::ptr::eq(known.get_config(), pattern.get_config()))
}
