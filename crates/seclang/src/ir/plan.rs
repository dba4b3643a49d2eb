//! Which rules of a phase look at which shelf: what makes it possible to ask of a value which rules concern it, instead
//! of asking every rule for its values.

use crate::ir::bits::Bits;
use crate::ir::rule::{Rule, Select};
use crate::ir::shelf::Shelf;

/// The rules of one phase by what they look at.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Rules that are run whatever the request holds: they look at state or at counts, or at nothing.
    pub(crate) always: Bits,
    /// Rules that excuse prompts.
    pub(crate) excusing: Bits,
    shelves: Vec<Targets>,
}

/// The rules that look at one shelf.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Those that look at all of it, or at what a pattern selects.
    pub(crate) any: Bits,
    /// Those that look at a name.
    pub(crate) named: Vec<(Box<[u8]>, Bits)>,
}

impl Plan {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let none = Bits::none(rules.len());
        let mut plan = Self { always: none.clone(), excusing: none.clone(), shelves: Vec::new() };
        plan.shelves.resize_with(Shelf::COUNT, Targets::default);
        for (at, rule) in rules.iter().enumerate() {
            if rule.excuses_prompts {
                plan.excusing.insert(at);
            }
            let Some(head) = rule.links.first() else { continue };
            if head.unconditional || head.looks.iter().any(|look| look.state || look.count) {
                plan.always.insert(at);
            }
            for look in head.looks.iter().filter(|look| !look.state && !look.count) {
                for shelf in look.shelves {
                    let Some(targets) = plan.shelves.get_mut(shelf.index()) else { continue };
                    if targets.any.words().is_empty() {
                        targets.any = none.clone();
                    }
                    targets.take(at, &look.select, &none);
                }
            }
        }
        plan
    }

    /// The rules that look at a shelf; `None` when there are none.
    pub(crate) fn targets(&self, shelf: Shelf) -> Option<&Targets> {
        self.shelves.get(shelf.index()).filter(|targets| !targets.any.words().is_empty())
    }
}

impl Targets {
    fn take(&mut self, rule: usize, select: &Select, none: &Bits) {
        let Select::Name(name) = select else {
            self.any.insert(rule);
            return;
        };
        match self.named.iter_mut().find(|(known, _)| known == name) {
            Some((_, rules)) => rules.insert(rule),
            None => {
                let mut rules = none.clone();
                rules.insert(rule);
                self.named.push((name.clone(), rules));
            }
        }
    }
}
