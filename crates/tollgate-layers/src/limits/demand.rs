//! What a request asks of its budgets before it runs, and what it turned out to use. Plain sums: who pays is decided elsewhere.

use tollgate_core::call::{Call, Dialect, Role};
use tollgate_core::cost::{Cost, Estimate};

use super::Unit;

/// Tokens that an answer is expected to have where neither the caller nor the contract bounds it.
const GUESSED_TOKENS: u64 = 1024;

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Accelerator time.
    pub compute: Estimate,
    /// Tokens, read and written.
    pub tokens: Size,
    /// Bytes of the body.
    pub bytes: u64,
}

/// An amount, and how much of it the caller declared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    /// What will be reserved.
    pub expected: u64,
    /// The part that the caller asked for in numbers: only this can be `too_expensive`.
    pub declared: u64,
}

/// What a request used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used {
    /// Accelerator time; 0 means that nothing ran, so that everything is given back.
    pub compute: Cost,
    /// Tokens, read and written; `None` where nobody said, so that what was reserved stays.
    pub tokens: Option<u64>,
    /// Bytes of the request and of its answer; `None` likewise.
    pub bytes: Option<u64>,
}

impl Demand {
    /// What `call` asks for, beside accelerator time.
    #[must_use]
    pub fn of(compute: Estimate, call: &Call) -> Self {
        Self { compute, tokens: tokens(call), bytes: call.body_bytes }
    }

    /// What it asks for in a unit; at least `min_cost` of accelerator time.
    pub(super) fn size(&self, unit: Unit, min_cost: Cost) -> Size {
        match unit {
            Unit::Bytes => Size { expected: self.bytes, declared: self.bytes },
            Unit::Compute => Size { expected: self.compute.cost.max(min_cost).0, declared: self.compute.declared.0 },
            Unit::Concurrent | Unit::Requests => Size { expected: 1, declared: 0 },
            Unit::Tokens => self.tokens,
        }
    }
}

impl From<Estimate> for Demand {
    fn from(compute: Estimate) -> Self {
        Self { compute, ..Self::default() }
    }
}

impl From<Cost> for Used {
    fn from(compute: Cost) -> Self {
        Self { compute, ..Self::default() }
    }
}

impl Used {
    /// What it used of a unit; `None` where what was reserved stays.
    pub(super) fn of(&self, unit: Unit, min_cost: Cost) -> Option<u64> {
        let ran = self.compute.0 > 0;
        match unit {
            Unit::Bytes if ran => self.bytes,
            Unit::Compute if ran => Some(self.compute.max(min_cost).0),
            Unit::Tokens if ran => self.tokens,
            Unit::Concurrent | Unit::Requests => None,
            Unit::Bytes | Unit::Compute | Unit::Tokens => Some(0),
        }
    }
}

fn tokens(call: &Call) -> Size {
    let knobs = &call.knobs;
    let speaks = matches!(call.dialect, Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAi);
    // What is only embedded or ranked is answered in numbers.
    let writes = speaks && !call.prompts.iter().all(|prompt| prompt.role == Role::Document);
    let each = if writes { knobs.output_cap.or(knobs.output_tokens).unwrap_or(GUESSED_TOKENS) } else { 0 };
    let choices = knobs.choices.max(1);
    Size {
        expected: knobs.input_tokens.saturating_add(each.saturating_mul(choices)),
        declared: knobs.output_tokens.filter(|_| writes).unwrap_or(0).min(each).saturating_mul(choices),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_core::call::{Knobs, Prompt};

    use super::*;

    fn call(role: Role, knobs: Knobs) -> Call {
        let prompts = vec![Prompt { role, text: "hi".into(), at: 0..4 }];
        Call { dialect: Dialect::OpenAi, prompts, knobs, ..Call::default() }
    }

    #[test]
    fn tokens_are_those_that_are_read_and_those_that_may_be_written() {
        let knobs = |output_tokens, output_cap, choices| Knobs {
            output_tokens,
            output_cap,
            choices,
            input_tokens: 10,
            ..Knobs::default()
        };
        let size = |role, knobs| tokens(&call(role, knobs));
        let is = |expected, declared| Size { expected, declared };
        assert_eq!(size(Role::User, knobs(Some(50), Some(50), 3)), is(160, 150));
        assert_eq!(size(Role::User, knobs(None, Some(64), 1)), is(74, 0), "the contract's default is not the caller's");
        assert_eq!(size(Role::User, knobs(Some(500), Some(64), 1)), is(74, 64), "what is cut down is not asked for");
        assert_eq!(size(Role::User, knobs(None, None, 1)), is(1034, 0));
        assert_eq!(size(Role::Document, knobs(None, None, 5)), is(10, 0));
        assert_eq!(size(Role::User, knobs(Some(u64::MAX), None, u64::MAX)), is(u64::MAX, u64::MAX));
        assert_eq!(tokens(&Call::default()), Size::default());
    }

    #[test]
    fn nothing_that_did_not_run_used_anything_and_what_nobody_counted_stays_reserved() {
        let min = Cost(7);
        let never = Used { compute: Cost(0), tokens: Some(5), bytes: Some(9) };
        let ran = Used { compute: Cost(3), tokens: Some(5), bytes: None };
        let of = |used: Used| [Unit::Bytes, Unit::Compute, Unit::Requests, Unit::Tokens].map(|unit| used.of(unit, min));
        assert_eq!(of(never), [Some(0), Some(0), None, Some(0)]);
        assert_eq!(of(ran), [None, Some(7), None, Some(5)]);
    }
}
