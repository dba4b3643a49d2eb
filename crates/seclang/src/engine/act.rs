//! What a match does: variables, controls, the log, and where the phase goes on.

use crate::engine::eval::{Outcome, Step, Turn};
use crate::engine::{Matched, Scope, Verdict};
use crate::ir::rule::{Act, Disruptive, Link, Rule, Skip, VarChange, VarName};
use crate::ir::text::Text;
use crate::operators::integer;
use crate::parse::ast::{AllowScope, EngineMode, Variable};

/// The longest message or log data that is kept; what is longer is cut.
const LONGEST_NOTE: usize = 4096;

impl Turn<'_> {
    /// Runs the actions of a link that are done on each match.
    pub(crate) fn act(&mut self, rule: &Rule, link: &Link) {
        for act in &link.acts {
            match act {
                Act::ExpireVar { collection, name, seconds } => {
                    let (name, seconds) = (self.expanded(rule, name), self.expanded(rule, seconds));
                    let seconds = u64::try_from(integer(&seconds)).unwrap_or(0);
                    self.state.collections.expire(*collection, &name, seconds);
                }
                Act::ForceRequestBody(on) => self.state.force_body = *on,
                Act::InitCol { collection, key } => {
                    let key = self.expanded(rule, key);
                    self.state.collections.open(*collection, &key);
                }
                Act::Processor(name) => self.state.processor.clone_from(name),
                Act::RemoveRules(rules) => self.state.overlay.remove_rules(rules),
                Act::RemoveTargets(rules, excepts) => self.state.overlay.remove_targets(rules, excepts),
                Act::ReplyBodyAccess(on) => self.state.reply_body = *on,
                Act::RequestBodyAccess(on) => self.state.request_body = *on,
                Act::RuleEngine(mode) => self.state.mode = *mode,
                Act::SetEnv { name, value } => {
                    let pair = (self.expanded(rule, name), self.expanded(rule, value));
                    self.state.env.retain(|(known, _)| *known != pair.0);
                    self.state.env.push(pair);
                }
                Act::SetSid(key) => {
                    let key = self.expanded(rule, key);
                    self.state.collections.open(Variable::Session, &key);
                    self.state.session = key;
                }
                Act::SetUid(key) => {
                    let key = self.expanded(rule, key);
                    self.state.collections.open(Variable::User, &key);
                    self.state.user = key;
                }
                Act::SetVar { collection, name, change } => self.set_var(rule, *collection, (name, change)),
            }
        }
    }

    fn expanded(&self, rule: &Rule, text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        self.view(rule).expand(text, &mut out);
        out
    }

    fn set_var(&mut self, rule: &Rule, collection: Variable, (name, change): (&VarName, &VarChange)) {
        let mut value = std::mem::take(&mut self.scratch.value);
        value.clear();
        let text = match change {
            VarChange::Add(text) | VarChange::Assign(text) | VarChange::Subtract(text) => Some(text),
            VarChange::Unset => None,
        };
        if let Some(text) = text {
            self.view(rule).expand(text, &mut value);
        }
        let computed = match name {
            VarName::Slot(_) => Vec::new(),
            VarName::Computed(text) => self.expanded(rule, text),
        };
        if let VarChange::Add(_) | VarChange::Subtract(_) = change {
            let old = integer(self.current(collection, (name, &computed)).unwrap_or_default());
            let by = integer(&value);
            let new = if matches!(change, VarChange::Add(_)) { old.saturating_add(by) } else { old.saturating_sub(by) };
            value.clear();
            value.extend_from_slice(new.to_string().as_bytes());
        }
        let new = text.map(|_| &*value);
        let names = &self.rules.names;
        match (collection, name, new) {
            (Variable::Tx, VarName::Slot(slot), Some(new)) => self.state.tx.set(*slot, new),
            (Variable::Tx, VarName::Slot(slot), None) => self.state.tx.unset(*slot),
            (Variable::Tx, VarName::Computed(_), Some(new)) => self.state.tx.set_named(names, &computed, new),
            (Variable::Tx, VarName::Computed(_), None) => self.state.tx.unset_named(names, &computed),
            (other, _, new) => {
                let seconds = self.rules.settings.collection_timeout;
                self.state.collections.set(other, &computed, new, seconds);
            }
        }
        self.scratch.value = value;
    }

    fn current(&self, collection: Variable, (name, computed): (&VarName, &[u8])) -> Option<&[u8]> {
        match (collection, name) {
            (Variable::Tx, VarName::Slot(slot)) => self.state.tx.get(*slot),
            (Variable::Tx, VarName::Computed(_)) => self.state.tx.named(&self.rules.names, computed),
            (other, _) => self.state.collections.get(other, computed),
        }
    }

    /// A rule matched with its whole chain: notes it, and says where the phase goes on.
    pub(crate) fn conclude(&mut self, rule: &Rule) -> Step {
        let disruptive = !matches!(rule.disruptive, Disruptive::Pass);
        let enforces = self.state.enforces();
        if rule.log || disruptive {
            self.note(rule, disruptive && !enforces);
        }
        if let Some(severity) = rule.severity {
            let highest = self.state.highest_severity.map_or(severity, |known| known.min(severity));
            self.state.highest_severity = Some(highest);
        }
        if enforces && let Some(outcome) = self.disrupt(rule) {
            return Step::End(outcome);
        }
        match rule.skip {
            Skip::No => Step::Next,
            Skip::To(at) => Step::To(at),
        }
    }

    fn note(&mut self, rule: &Rule, spared: bool) {
        let mut msg = self.expanded(rule, &rule.msg);
        let mut data = self.expanded(rule, &rule.logdata);
        msg.truncate(LONGEST_NOTE);
        data.truncate(LONGEST_NOTE);
        let mut variable = self.state.matched.name.clone();
        variable.truncate(LONGEST_NOTE);
        self.state.tally.matched.push(Matched {
            id: rule.id,
            phase: self.phase,
            severity: rule.severity,
            log: rule.log,
            msg,
            data,
            variable,
            spared,
        });
    }

    fn disrupt(&self, rule: &Rule) -> Option<Outcome> {
        let id = rule.id;
        Some(match &rule.disruptive {
            Disruptive::Allow(AllowScope::Phase) => Outcome::Done,
            Disruptive::Allow(AllowScope::All) => Outcome::Verdict(Verdict::Allow(Scope::All)),
            Disruptive::Allow(AllowScope::Request) => Outcome::Verdict(Verdict::Allow(Scope::Request)),
            Disruptive::Deny { status } => Outcome::Verdict(Verdict::Deny { status: *status, rule: id }),
            Disruptive::Drop => Outcome::Verdict(Verdict::Drop { rule: id }),
            Disruptive::Pass => return None,
            Disruptive::Redirect { to } => {
                Outcome::Verdict(Verdict::Redirect { to: self.expanded(rule, to), rule: id })
            }
        })
    }

    /// Whether the rules are switched off.
    pub(crate) fn is_off(&self) -> bool {
        self.state.mode == EngineMode::Off
    }
}
