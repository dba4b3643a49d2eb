//! One exchange before the rules: its transaction, what it was excused from, and in the end what was found.

use seclang::{Matched, Tally, Transaction};
use tollgate_core::ruling::{Code, Refusal};

use super::{Asked, Waf, evidence};

/// One exchange before the rules. Empty, and without cost, until phase 1.
#[derive(Debug, Default)]
pub struct Turn {
    running: Option<Box<Running>>,
    tally: Option<Box<Tally>>,
    /// No phase up to this one is run any more: a rule allowed the rest.
    allowed: u8,
    /// The phase in which the budget was spent.
    spent: Option<u8>,
}

/// A transaction that has begun.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) transaction: Transaction,
    plan: usize,
}

impl Turn {
    /// What was found, once phase 5 has run.
    #[must_use]
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }

    /// The phase in which the budget of the rules was spent, if it was.
    #[must_use]
    pub const fn spent(&self) -> Option<u8> {
        self.spent
    }

    /// Whether the rules still hold the body that they were shown.
    #[must_use]
    pub fn holds_body(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.transaction.holds_body())
    }

    /// What the rules would have refused the exchange for, had they not only been watched.
    #[must_use]
    pub fn spared(&self) -> Option<Refusal> {
        let tally = self.tally()?;
        let spared = |at: &usize| tally.matched.get(*at).filter(|matched| matched.spared);
        let first = (0..tally.matched.len()).filter(|at| spared(at).is_some());
        let at = first.min_by_key(|at| tally.matched.get(*at).map(|matched| matched.phase))?;
        let spared = spared(&at)?;
        let score = if spared.phase > 2 { tally.outbound } else { tally.inbound };
        // What came behind it would not have come, had it refused.
        let why = evidence::told((spared.id, spared.phase), score, tally.matched.iter().take(at + 1));
        Some(Refusal::new(Code::WafBlocked).because(why))
    }

    /// Rules that matched and want to be logged.
    pub fn logged(&self) -> impl Iterator<Item = &Matched> {
        self.tally().into_iter().flat_map(|tally| &tally.matched).filter(|matched| matched.log)
    }

    /// What the journal keeps of a refusal by that rule.
    pub(super) fn evidence(&self, rule: u64, phase: u8) -> String {
        let Some(running) = &self.running else { return String::new() };
        let score = evidence::score(&running.transaction, phase);
        evidence::told((rule, phase), score, running.transaction.matched().iter())
    }

    /// The transaction, begun now if it was not; `None` where the layer is off for the route.
    pub(super) fn begin(&mut self, waf: &Waf, asked: &Asked<'_>, detect_only: bool) -> Option<&mut Running> {
        if self.running.is_none() {
            let place = asked.route.unwrap_or(usize::MAX);
            let plan = waf.plan(place)?;
            let facts = seclang::Facts {
                remote: (asked.from, asked.facts.peer.port),
                server: asked.facts.peer.local,
                unique_id: asked.facts.id.to_string().into_boxed_str(),
                unix_ms: asked.facts.unix_ms,
                detect_only,
                pinned: std::sync::Arc::clone(&plan.pinned),
            };
            let transaction = Transaction::new(std::sync::Arc::clone(&plan.rules), facts);
            self.running = Some(Box::new(Running { transaction, plan: place }));
        }
        self.running.as_deref_mut()
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn running(&mut self) -> Option<&mut Running> {
        self.running.as_deref_mut()
    }

    pub(super) fn plan(&self) -> Option<usize> {
        self.running.as_ref().map(|running| running.plan)
    }

    /// Whether `phase` is still to be run.
    pub(super) const fn is_open(&self, phase: u8) -> bool {
        self.running.is_some() && phase > self.allowed
    }

    pub(super) fn allow(&mut self, up_to: u8) {
        self.allowed = self.allowed.max(up_to);
    }

    pub(super) const fn spend(&mut self, phase: u8) {
        if self.spent.is_none() {
            self.spent = Some(phase);
        }
    }

    pub(super) fn close(&mut self, tally: Tally) {
        self.running = None;
        self.tally = Some(Box::new(tally));
    }
}
