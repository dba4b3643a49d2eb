//! A rule set begins with rules that look at nothing but variables which the rules themselves have set: thresholds and
//! their defaults. What they do is the same for every request, so that a thread does it once and keeps what came of it.

use std::sync::Arc;

use crate::engine::Matched;
use crate::engine::eval::{Step, Turn};
use crate::engine::state::{Current, State};
use crate::engine::tx::Tx;
use crate::ir::RuleSet;
use crate::ir::rule::{Opening, Rule};

/// Most beginnings that a thread keeps.
const MOST: usize = 32;

/// TX variables that are set before phase 1.
pub(crate) type Pinned = Arc<[(Box<str>, Box<str>)]>;

/// The beginnings that a thread has been through.
#[derive(Debug, Default)]
pub(crate) struct Overtures(Vec<Overture>);

/// What the first of these rules and those behind it did.
#[derive(Debug)]
struct Overture {
    serial: u64,
    pinned: Pinned,
    tx: Tx,
    /// `None` where nothing matched.
    matched: Option<Current>,
    highest_severity: Option<u8>,
    found: Vec<Matched>,
    /// The first rule behind them.
    next: usize,
}

impl Overtures {
    fn find(&self, rules: &RuleSet, pinned: &Pinned) -> Option<&Overture> {
        let is_it =
            |it: &&Overture| it.serial == rules.serial && (Arc::ptr_eq(&it.pinned, pinned) || it.pinned == *pinned);
        self.0.iter().find(is_it)
    }

    fn keep(&mut self, overture: Overture) {
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(overture);
    }
}

impl Overture {
    /// Brings the state to where it is behind these rules.
    fn replay(&self, state: &mut State) {
        state.tx.copy_from(&self.tx);
        if let Some(matched) = &self.matched {
            state.matched.name.clone_from(&matched.name);
            state.matched.value.clone_from(&matched.value);
        }
        let severities = [state.highest_severity, self.highest_severity];
        state.highest_severity = severities.into_iter().flatten().min();
        state.tally.matched.extend_from_slice(&self.found);
    }
}

impl Turn<'_> {
    /// Runs the rules that depend on no exchange, from the first on; the place of the first that is not one of them.
    // INVARIANT: no rule before them has changed a TX variable (`RuleSet::overture`).
    pub(super) fn overture(&mut self, list: &[Rule], first: usize) -> usize {
        if let Some(known) = self.scratch.overtures.find(self.rules, self.pinned) {
            known.replay(self.state);
            return known.next;
        }
        let matched = std::mem::take(&mut self.state.matched);
        let severity = self.state.highest_severity.take();
        let found = self.state.tally.matched.len();
        let next = self.own_rules(list, first);
        let mut tx = Tx::default();
        tx.copy_from(&self.state.tx);
        let overture = Overture {
            serial: self.rules.serial,
            pinned: Arc::clone(self.pinned),
            tx,
            matched: (!self.state.matched.name.is_empty()).then(|| self.state.matched.clone()),
            highest_severity: self.state.highest_severity,
            found: self.state.tally.matched.get(found..).unwrap_or_default().to_vec(),
            next,
        };
        if overture.matched.is_none() {
            self.state.matched = matched;
        }
        self.state.highest_severity = [severity, overture.highest_severity].into_iter().flatten().min();
        // What was cut short is not what the next request would come to.
        if !self.is_exhausted() {
            self.scratch.overtures.keep(overture);
        }
        next
    }

    fn own_rules(&mut self, list: &[Rule], first: usize) -> usize {
        let mut at = first;
        while let Some(rule) = list.get(at) {
            let matches = match (rule.opening, rule.links.first()) {
                (Opening::Whole, _) => self.chain(rule, at),
                (Opening::Unless, Some(head)) => self.link(rule, head, None),
                _ => break,
            };
            if !matches {
                at += 1;
                continue;
            }
            if rule.opening == Opening::Unless {
                break;
            }
            match self.conclude(rule) {
                Step::To(next) => at = next.max(at + 1),
                Step::End(_) | Step::Next => at += 1,
            }
        }
        at
    }
}
