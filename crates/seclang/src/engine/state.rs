//! What rules change while they run.

use crate::engine::Tally;
use crate::engine::collections::Collections;
use crate::engine::overlay::Overlay;
use crate::engine::tx::Tx;
use crate::ir::RuleSet;
use crate::ir::names::Names;
use crate::operators::Captures;
use crate::parse::ast::EngineMode;

/// The changing part of a transaction.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tx: Tx,
    pub(crate) matched: Current,
    /// MATCHED_VARS: full names and values.
    pub(crate) kept: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) overlay: Overlay,
    pub(crate) mode: EngineMode,
    pub(crate) detect_only: bool,
    /// REQBODY_PROCESSOR
    pub(crate) processor: Box<str>,
    pub(crate) force_body: bool,
    pub(crate) request_body: bool,
    pub(crate) reply_body: bool,
    pub(crate) collections: Collections,
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) highest_severity: Option<u8>,
    pub(crate) session: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) tally: Tally,
}

/// MATCHED_VAR and MATCHED_VAR_NAME.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tx: Tx::default(),
            matched: Current::default(),
            kept: Vec::new(),
            overlay: Overlay::default(),
            mode: EngineMode::On,
            detect_only: false,
            processor: Box::default(),
            force_body: false,
            request_body: true,
            reply_body: true,
            collections: Collections::default(),
            env: Vec::new(),
            highest_severity: None,
            session: Vec::new(),
            user: Vec::new(),
            tally: Tally::default(),
        }
    }
}

impl State {
    /// Begins a transaction, keeping the memory of an earlier one.
    pub(crate) fn reset(&mut self, rules: &RuleSet) {
        self.tx.reset(&rules.names);
        self.matched.name.clear();
        self.matched.value.clear();
        self.kept.clear();
        self.overlay.reset();
        self.mode = rules.settings.mode;
        self.processor = Box::default();
        self.force_body = false;
        self.request_body = rules.settings.request_body;
        self.reply_body = rules.settings.reply_body;
        self.collections = Collections::default();
        self.env.clear();
        self.highest_severity = None;
        self.session.clear();
        self.user.clear();
        self.tally = Tally::default();
    }

    /// Whether disruptive actions are done.
    pub(crate) fn enforces(&self) -> bool {
        self.mode == EngineMode::On && !self.detect_only
    }

    /// Writes the captures of a match: all ten slots.
    pub(crate) fn capture(&mut self, value: &[u8], captures: &Captures) {
        for (group, range) in captures.slots.iter().enumerate() {
            let slot = Names::capture(group);
            let text = match (group, &captures.text) {
                (0, Some(text)) => Some(&**text),
                _ => range.clone().and_then(|range| value.get(range)),
            };
            match text {
                Some(text) => self.tx.set(slot, text),
                None => self.tx.unset(slot),
            }
        }
    }
}
