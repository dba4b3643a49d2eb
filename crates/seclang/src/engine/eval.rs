//! Runs the rules of one phase.

use crate::engine::board::Tools;
use crate::engine::derived::{self, Derived};
use crate::engine::inputs::{Id, Inputs};
use crate::engine::macros::View;
use crate::engine::overture::Pinned;
use crate::engine::state::State;
use crate::engine::{Scratch, Verdict};
use crate::ir::RuleSet;
use crate::ir::bits::next_in;
use crate::ir::rule::{Link, Look, Rule};
use crate::ir::shelf::Shelf;
use crate::ir::trie::Node;
use crate::operators::Captures;
use crate::parse::ast::Variable;

/// One phase of one transaction.
pub(crate) struct Turn<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) pinned: &'a Pinned,
    pub(crate) inputs: &'a Inputs,
    pub(crate) derived: &'a mut Derived,
    pub(crate) state: &'a mut State,
    pub(crate) scratch: &'a mut Scratch,
    /// 1 to 5
    pub(crate) phase: u8,
    /// What the transaction may have scanned when this phase ends.
    pub(crate) budget: u64,
    /// Only rules that look at nothing but a window of the reply, and have not matched yet.
    pub(crate) window: bool,
    /// With every optimisation.
    pub(crate) fast: bool,
}

/// How a link met a value.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Met {
    /// Its operator says no, whatever else there is in the transaction.
    No,
    /// It would have matched, but does not look at the value, by an exclusion.
    Excused,
    /// It matched, and acted.
    Yes,
}

/// How a phase ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With its last rule, or an `allow:phase`.
    Done,
    /// With this verdict.
    Verdict(Verdict),
}

/// What a rule leads to.
pub(crate) enum Step {
    End(Outcome),
    Next,
    To(usize),
}

/// What a value is, besides its bytes.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) look: &'a Look,
    pub(super) name: &'a [u8],
    pub(super) shelf: Option<Shelf>,
}

/// Where the bytes of a value come from.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// A value of the request: its transformations are kept.
    Kept(Id),
    /// A value that may change, or an element of a run.
    Loose(&'a [u8]),
}

impl Turn<'_> {
    /// Runs the phase.
    pub(crate) fn run(&mut self) -> Outcome {
        let rules = self.rules;
        let phase = usize::from(self.phase) - 1;
        let Some(list) = rules.phases.get(phase) else { return Outcome::Done };
        if self.fast {
            let Scratch { board, seen, proofs, walkers, caches, .. } = &mut *self.scratch;
            board.fill((rules, phase), self.inputs, self.derived, Tools { seen, proofs, walkers, caches });
        }
        let mut overture = if self.fast && self.phase == 1 { rules.overture } else { None };
        let mut at = 0;
        loop {
            if self.fast {
                let Some(next) = next_in(self.scratch.board.alive(), at) else { break };
                at = next;
            }
            // Once: the first of them may be the first that is not one of them.
            if overture == Some(at) {
                overture = None;
                at = self.overture(list, at);
                if self.is_exhausted() {
                    return Outcome::Verdict(Verdict::OutOfWork);
                }
                continue;
            }
            let Some(rule) = list.get(at) else { break };
            let place = at;
            at += 1;
            if self.window && !self.is_for_window(rule) {
                continue;
            }
            if self.state.overlay.removes(rule.ordinal) || !self.chain(rule, place) {
                if self.is_exhausted() {
                    return Outcome::Verdict(Verdict::OutOfWork);
                }
                continue;
            }
            match self.conclude(rule) {
                Step::End(outcome) => return outcome,
                Step::Next => {}
                Step::To(next) => at = at.max(next),
            }
            if self.is_off() {
                break;
            }
        }
        Outcome::Done
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.state.tally.work > self.budget
    }

    fn is_for_window(&self, rule: &Rule) -> bool {
        let looks = rule.links.first().map_or(&[][..], |head| &head.looks);
        let only = matches!(looks, [look] if look.variable == Variable::ResponseBody && !look.count);
        only && !self.state.tally.matched.iter().any(|matched| matched.id == rule.id && matched.phase == self.phase)
    }

    /// Whether all links match.
    pub(super) fn chain(&mut self, rule: &Rule, place: usize) -> bool {
        self.state.kept.clear();
        let Some((head, tail)) = rule.links.split_first() else { return false };
        let place = self.fast.then_some(place);
        self.link(rule, head, place) && tail.iter().all(|link| self.link(rule, link, None))
    }

    /// Whether a link matches on any value. Every matching value acts. For a head, `place` is the rule's in the phase.
    pub(super) fn link(&mut self, rule: &Rule, link: &Link, place: Option<usize>) -> bool {
        if link.unconditional {
            self.act(rule, link);
            return true;
        }
        self.parameter(rule, link);
        let mut matched = false;
        // A link that reads MATCHED_VARS sees what there was when it began.
        let kept = self.state.kept.len();
        for look in &link.looks {
            matched |= if look.count {
                self.count(rule, link, look)
            } else if look.state {
                self.state_look(rule, link, look, kept)
            } else {
                self.shelf_look((rule, place), link, look)
            };
            if self.is_exhausted() {
                return false;
            }
        }
        matched
    }

    /// Expands the operator's argument for this link.
    fn parameter(&mut self, rule: &Rule, link: &Link) {
        if link.parameter.fixed().is_some() {
            return;
        }
        let mut parameter = std::mem::take(&mut self.scratch.parameter);
        parameter.clear();
        self.view(rule).expand(&link.parameter, &mut parameter);
        self.scratch.parameter = parameter;
    }

    /// Transforms and tests one value; on a match, acts.
    pub(super) fn test(&mut self, rule: &Rule, link: &Link, bytes: Bytes<'_>, subject: Subject<'_>) -> Met {
        if link.stations.is_empty() {
            return self.test_at(rule, link, (bytes, link.node), subject);
        }
        let mut met = Met::No;
        let mut last: Option<Vec<u8>> = None;
        for station in &link.stations {
            let text = self.text(bytes, *station);
            if last.as_deref() == Some(&*text) {
                continue;
            }
            last = Some(text.into_owned());
            met = met.max(self.test_at(rule, link, (bytes, *station), subject));
        }
        met
    }

    fn text<'b>(&'b mut self, bytes: Bytes<'b>, node: Node) -> std::borrow::Cow<'b, [u8]> {
        match bytes {
            Bytes::Kept(id) => std::borrow::Cow::Borrowed(self.derived.get(self.rules, self.inputs, id, node)),
            Bytes::Loose(value) => derived::apply(self.rules, value, node),
        }
    }

    fn test_at(&mut self, rule: &Rule, link: &Link, (bytes, node): (Bytes<'_>, Node), subject: Subject<'_>) -> Met {
        let loose;
        let text: &[u8] = match bytes {
            Bytes::Kept(id) if self.fast && self.is_identity(id, node) => {
                self.inputs.value(id).map_or(&[], |value| self.inputs.bytes(value.text))
            }
            Bytes::Kept(id) => self.derived.get(self.rules, self.inputs, id, node),
            Bytes::Loose(value) => {
                loose = derived::apply(self.rules, value, node);
                &loose
            }
        };
        self.state.tally.work = self.state.tally.work.saturating_add(link.operator.work(text.len()));
        let Scratch { caches, captures, parameter, .. } = &mut *self.scratch;
        let parameter = link.parameter.fixed().unwrap_or(parameter);
        let captures = (link.capture && !link.negated).then(|| {
            *captures = Captures::default();
            captures
        });
        if link.operator.test(text, parameter, caches, captures) == link.negated {
            return Met::No;
        }
        if excused(self.state, rule, link, &subject) {
            return Met::Excused;
        }
        if link.capture && !link.negated {
            self.state.capture(text, &self.scratch.captures);
        }
        let matched = &mut self.state.matched;
        matched.value.clear();
        matched.value.extend_from_slice(text);
        matched.name.clear();
        write_full_name(&subject, &mut matched.name);
        if rule.keeps_matched {
            self.state.kept.push((self.state.matched.name.clone(), self.state.matched.value.clone()));
        }
        if !link.acts.is_empty() {
            self.act(rule, link);
            self.parameter(rule, link);
        }
        Met::Yes
    }

    /// Whether the bytes of the value are none that the node changes.
    fn is_identity(&self, id: Id, node: Node) -> bool {
        let Scratch { board, proofs, .. } = &*self.scratch;
        let proof = board.place(id).and_then(|place| proofs.get(place));
        proof.is_some_and(|proof| proof.identity.contains(node.index()))
    }

    pub(crate) fn view<'b>(&'b self, rule: &'b Rule) -> View<'b> {
        View { rules: self.rules, inputs: self.inputs, state: self.state, rule }
    }
}

/// Whether the rule does not look at this value, by its own exclusions or by a `ctl`.
fn excused(state: &State, rule: &Rule, link: &Link, subject: &Subject<'_>) -> bool {
    if subject.look.count {
        return false;
    }
    let shelf = subject.shelf.or_else(|| subject.look.shelves.first().copied());
    let Some(shelf) = shelf else { return false };
    let own = link.excepts.iter().any(|it| it.shelves.contains(&shelf) && it.select.takes(subject.name));
    // What `ctl` takes away, it takes from the rule's head.
    let is_head = rule.links.first().is_some_and(|head| std::ptr::eq(head, link));
    own || is_head && state.overlay.excuses(rule.ordinal, shelf, subject.name)
}

fn write_full_name(subject: &Subject<'_>, out: &mut Vec<u8>) {
    let variable = subject.look.variable;
    if matches!(variable, Variable::MatchedVars | Variable::MatchedVarsNames) && !subject.look.count {
        // They keep the name of what matched first.
        out.extend_from_slice(subject.name);
        return;
    }
    if subject.look.count {
        out.push(b'&');
    }
    out.extend_from_slice(variable.name().as_bytes());
    if variable.is_collection() && !subject.name.is_empty() {
        out.push(b':');
        out.extend_from_slice(subject.name);
    }
}
