//! A transaction: the phases in order, what is kept between them, how they end.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::body::{self, Given};
use crate::engine::collections::Collections;
use crate::engine::derived::Derived;
use crate::engine::eval::{Outcome, Turn};
use crate::engine::head;
use crate::engine::inputs::{Inputs, Span};
use crate::engine::state::State;
use crate::engine::{Facts, HeadView, Known, Matched, Processor, ReplyView, Scope, Scratch, Store, Tally, Verdict};
use crate::ir::RuleSet;
use crate::operators::integer;
use crate::parse::ast::{EngineMode, LimitAction, Variable};

/// One request and its reply before the rules. `Send`: it may move to another thread between its phases.
#[derive(Debug)]
pub struct Transaction {
    rules: Arc<RuleSet>,
    facts: Facts,
    store: Option<StoreHandle>,
    parts: Option<Box<Parts>>,
    body: Option<(Bytes, Processor, Vec<Known>)>,
    ended: Option<Verdict>,
    allowed: Option<Scope>,
}

struct StoreHandle(Arc<dyn Store>);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// The most bytes of memory that go from one transaction to the next.
const MOST_KEPT: usize = 1 << 20;

/// The memory of a transaction; it goes from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    inputs: Inputs,
    derived: Derived,
    state: State,
}

impl Parts {
    /// Lets go of what the transaction was about, and of memory that only a large one needs.
    fn forget(&mut self) {
        self.inputs.clear();
        self.derived.clear();
        if self.inputs.room() + self.derived.room() > MOST_KEPT {
            (self.inputs, self.derived) = (Inputs::default(), Derived::default());
        }
        if self.state.matched.value.capacity() > MOST_KEPT {
            self.state.matched.value = Vec::new();
        }
    }
}

impl Transaction {
    /// Begins.
    #[must_use]
    pub const fn new(rules: Arc<RuleSet>, facts: Facts) -> Self {
        Self { rules, facts, store: None, parts: None, body: None, ended: None, allowed: None }
    }

    /// With a store for persistent collections.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(StoreHandle(store));
        self
    }

    /// Phase 1.
    pub fn head(&mut self, head: &HeadView<'_>, scratch: &mut Scratch) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let parts = self.begin(scratch);
        if parts.state.mode == EngineMode::Off {
            return Verdict::Pass;
        }
        let mut parts = self.parts.take().unwrap_or_default();
        head::request(&mut parts.inputs, &rules, &self.facts, head);
        body::announce(&parts.inputs, &mut parts.state);
        self.parts = Some(parts);
        self.phase(1, scratch)
    }

    /// Gives the body. `known` ranges are sorted and do not overlap.
    pub fn read_body(&mut self, body: Bytes, processor: Processor, known: &[Known]) {
        self.body = Some((body, processor, known.to_vec()));
    }

    /// Phase 2.
    pub fn body(&mut self, scratch: &mut Scratch) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let given = self.body.take();
        if !self.runs(2, scratch) {
            return self.ended.clone().unwrap_or(Verdict::Pass);
        }
        let (body, processor, known) = given.unwrap_or((Bytes::new(), Processor::Auto, Vec::new()));
        let parts = self.begin(scratch);
        parts.inputs.set_body(body);
        let given = Given { processor, known: &known };
        let verdict = if body::read(&mut parts.inputs, &mut parts.state, &rules, &given).is_err() {
            let verdict = Verdict::Deny { status: 413, rule: 0 };
            self.ended = Some(verdict.clone());
            verdict
        } else {
            self.phase(2, scratch)
        };
        if !rules.keeps_body {
            let Parts { inputs, derived, .. } = self.begin(scratch);
            inputs.set_body(Bytes::new());
            derived.clear();
        }
        verdict
    }

    /// Whether it still holds the request's body: until its end where a rule after phase 2 reads something of it, and
    /// otherwise until that phase is over.
    #[must_use]
    pub fn holds_body(&self) -> bool {
        self.body.is_some() || self.parts.as_ref().is_some_and(|parts| !parts.inputs.body().is_empty())
    }

    /// Phase 3.
    pub fn reply_head(&mut self, reply: &ReplyView<'_>, scratch: &mut Scratch) -> Verdict {
        if !self.runs(3, scratch) {
            return self.ended.clone().unwrap_or(Verdict::Pass);
        }
        head::reply(&mut self.begin(scratch).inputs, reply);
        self.phase(3, scratch)
    }

    /// Phase 4, over the whole body or its first part.
    pub fn reply_body(&mut self, mut body: Bytes, scratch: &mut Scratch) -> Verdict {
        if !self.runs(4, scratch) {
            return self.ended.clone().unwrap_or(Verdict::Pass);
        }
        let rules = Arc::clone(&self.rules);
        let Parts { inputs, state, .. } = self.begin(scratch);
        let content_type = inputs.first(Variable::ResponseContentType, None).unwrap_or_default().to_vec();
        if state.reply_body && rules.settings.reads_type(&content_type) {
            let most = usize::try_from(rules.settings.reply_body_limit).unwrap_or(usize::MAX);
            let is_over = body.len() > most;
            inputs.set(Variable::OutboundDataError, if is_over { b"1" } else { b"0" });
            if is_over && rules.settings.reply_limit_action == LimitAction::Reject && state.enforces() {
                let verdict = Verdict::Deny { status: 500, rule: 0 };
                self.ended = Some(verdict.clone());
                return verdict;
            }
            body.truncate(most);
            let end = body.len();
            inputs.set_reply(body);
            inputs.set_span(Variable::ResponseBody, Span::of_reply(0, end));
        }
        self.phase(4, scratch)
    }

    /// Phase-4 pattern rules on one window of a streamed reply: only rules whose sole target is `RESPONSE_BODY`. A rule
    /// that matched in an earlier window is not run again.
    pub fn reply_window(&mut self, window: &[u8], scratch: &mut Scratch) -> Verdict {
        if !self.runs(4, scratch) {
            return self.ended.clone().unwrap_or(Verdict::Pass);
        }
        let Parts { inputs, derived, state } = self.begin(scratch);
        if !state.reply_body {
            return Verdict::Pass;
        }
        inputs.set_reply(Bytes::copy_from_slice(window));
        inputs.replace_span(Variable::ResponseBody, Span::of_reply(0, window.len()));
        derived.clear();
        self.run(4, true, scratch)
    }

    /// Phase 5. `status` is what the client got.
    pub fn finish(&mut self, status: u16, scratch: &mut Scratch) -> Tally {
        let rules = Arc::clone(&self.rules);
        let parts = self.begin(scratch);
        if parts.inputs.first(Variable::ResponseStatus, None).is_none() {
            parts.inputs.set_number(Variable::ResponseStatus, u64::from(status));
        }
        self.run(5, false, scratch);
        let Some(mut parts) = self.parts.take() else { return Tally::default() };
        let mut tally = std::mem::take(&mut parts.state.tally);
        let score = |names: &[&str]| {
            let found = names.iter().find_map(|name| parts.state.tx.named(&rules.names, name.as_bytes()));
            found.map(integer)
        };
        // The names of CRS 4, then those of CRS 3.
        tally.inbound = score(&["blocking_inbound_anomaly_score", "anomaly_score"]);
        tally.outbound = score(&["blocking_outbound_anomaly_score", "outbound_anomaly_score"]);
        parts.forget();
        scratch.give_back(parts);
        tally
    }

    /// Rules that matched so far, in order.
    #[must_use]
    pub fn matched(&self) -> &[Matched] {
        self.parts.as_ref().map_or(&[], |parts| &parts.state.tally.matched)
    }

    /// A TX variable read as a number, such as `blocking_inbound_anomaly_score`; `None` where no rule has set it.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.parts.as_ref()?.state.tx.named(&self.rules.names, name.as_bytes()).map(integer)
    }

    /// The parts of this transaction, made ready on first use.
    fn begin(&mut self, scratch: &mut Scratch) -> &mut Parts {
        let Self { rules, facts, store, parts, .. } = self;
        parts.get_or_insert_with(|| {
            let mut parts = scratch.take_parts();
            parts.state.reset(rules);
            parts.state.detect_only = facts.detect_only;
            if let Some(store) = store {
                parts.state.collections = Collections::with_store(Arc::clone(&store.0));
            }
            for (name, value) in facts.pinned.iter() {
                let name = name.strip_prefix("tx.").unwrap_or(name);
                parts.state.tx.pin(&rules.names, name.as_bytes(), value.as_bytes());
            }
            parts
        })
    }

    /// Whether a phase before 5 is to run.
    fn runs(&mut self, phase: u8, scratch: &mut Scratch) -> bool {
        let off = self.begin(scratch).state.mode == EngineMode::Off;
        let allowed = match self.allowed {
            None => false,
            Some(Scope::All) => true,
            Some(Scope::Request) => phase <= 2,
        };
        !off && !allowed && self.ended.is_none()
    }

    fn phase(&mut self, phase: u8, scratch: &mut Scratch) -> Verdict {
        if self.runs(phase, scratch) {
            self.run(phase, false, scratch)
        } else {
            self.ended.clone().unwrap_or(Verdict::Pass)
        }
    }

    fn run(&mut self, phase: u8, window: bool, scratch: &mut Scratch) -> Verdict {
        let (rules, pinned) = (Arc::clone(&self.rules), Arc::clone(&self.facts.pinned));
        let Parts { inputs, derived, state } = self.begin(scratch);
        if state.mode == EngineMode::Off {
            return Verdict::Pass;
        }
        let budget = rules.most_work();
        // The last phase runs whatever happened before; it has an allowance of its own.
        let budget = if phase == 5 { state.tally.work.saturating_add(budget) } else { budget };
        let fast = !rules.options.plain;
        let outcome =
            Turn { rules: &rules, pinned: &pinned, inputs, derived, state, scratch, phase, budget, window, fast }.run();
        let verdict = match outcome {
            Outcome::Done => Verdict::Pass,
            Outcome::Verdict(verdict) => verdict,
        };
        match &verdict {
            Verdict::Allow(scope) => self.allowed = Some(*scope),
            Verdict::Deny { .. } | Verdict::Drop { .. } | Verdict::Redirect { .. } if phase < 5 => {
                self.ended = Some(verdict.clone());
            }
            _ => {}
        }
        verdict
    }
}
