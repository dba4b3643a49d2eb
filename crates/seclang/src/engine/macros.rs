//! Expands macros, and reads the variables that change while rules run.

use crate::engine::inputs::{Inputs, write_number};
use crate::engine::state::State;
use crate::ir::RuleSet;
use crate::ir::rule::Rule;
use crate::ir::shelf::is_state;
use crate::ir::text::{Segment, Text};
use crate::parse::ast::Variable;

/// What a macro can see.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) inputs: &'a Inputs,
    pub(crate) state: &'a State,
    pub(crate) rule: &'a Rule,
}

/// The longest text that a macro expands to; what is longer is cut.
const LONGEST: usize = 1 << 20;

impl View<'_> {
    /// Expands a text behind what `out` holds.
    pub(crate) fn expand(&self, text: &Text, out: &mut Vec<u8>) {
        for segment in text.segments() {
            match segment {
                Segment::Literal(literal) => out.extend_from_slice(literal),
                Segment::Tx(slot) => out.extend_from_slice(self.state.tx.get(*slot).unwrap_or_default()),
                Segment::Variable(variable, key) => self.variable(*variable, key.as_deref(), out),
            }
            if out.len() > LONGEST {
                out.truncate(LONGEST);
                break;
            }
        }
    }

    /// Writes the first value of a variable; nothing when there is none. Whether there was one.
    pub(crate) fn value(&self, variable: Variable, key: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let found: Option<&[u8]> = match variable {
            Variable::Env => key.and_then(|key| named(&self.state.env, key)),
            Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::User => {
                key.and_then(|key| self.state.collections.get(variable, key))
            }
            Variable::HighestSeverity => {
                write_number(self.state.highest_severity.map_or(255, u64::from), out);
                return true;
            }
            Variable::MatchedVar => some_unless_empty(&self.state.matched.name, &self.state.matched.value),
            Variable::MatchedVarName => some_unless_empty(&self.state.matched.name, &self.state.matched.name),
            Variable::MatchedVars => self.state.kept.first().map(|(_, value)| &**value),
            Variable::MatchedVarsNames => self.state.kept.first().map(|(name, _)| &**name),
            Variable::ReqbodyProcessor => Some(self.state.processor.as_bytes()),
            Variable::Rule => return self.of_rule(key, out),
            Variable::SessionId => Some(&self.state.session),
            Variable::Tx => key.and_then(|key| self.state.tx.named(&self.rules.names, key)),
            Variable::UserId => Some(&self.state.user),
            other if is_state(other) => None,
            other => self.inputs.first(other, key),
        };
        out.extend_from_slice(found.unwrap_or_default());
        found.is_some() || out.len() > before
    }

    fn variable(&self, variable: Variable, key: Option<&[u8]>, out: &mut Vec<u8>) {
        self.value(variable, key, out);
    }

    fn of_rule(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
        match key {
            Some(key) if key.eq_ignore_ascii_case(b"id") => write_number(self.rule.id, out),
            // A message with macros could name itself.
            Some(key) if key.eq_ignore_ascii_case(b"msg") => {
                out.extend_from_slice(self.rule.msg.fixed().unwrap_or_default());
            }
            Some(key) if key.eq_ignore_ascii_case(b"severity") => match self.rule.severity {
                Some(severity) => write_number(u64::from(severity), out),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

fn named<'a>(list: &'a [(Vec<u8>, Vec<u8>)], key: &[u8]) -> Option<&'a [u8]> {
    list.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| &**value)
}

fn some_unless_empty<'a>(name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    (!name.is_empty()).then_some(value)
}
