//! What the calls of watched contracts were like, model by model: numbers from which a contract can be proposed. Kept over
//! reloads, never written down, and no larger than the contracts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tollgate_core::call::Call;
use tollgate_core::guard::Mode;
use tollgate_core::journal::Journal;
use tollgate_layers::contract::Seen;

use crate::snapshot::Policy;

/// Figures of every model, by name.
#[derive(Default)]
pub struct Observed {
    models: Mutex<HashMap<String, Arc<Mutex<Seen>>>>,
}

impl Observed {
    /// The figures of a model.
    pub fn of(&self, model: &str) -> Arc<Mutex<Seen>> {
        Arc::clone(self.models.lock().entry(model.to_owned()).or_default())
    }

    /// Forgets models that `policy` does not name.
    pub fn keep(&self, policy: &Policy) {
        self.models.lock().retain(|name, _| policy.models.iter().any(|model| *model.name == **name));
    }
}

impl Policy {
    /// Adds a call to the figures of its model, where its contract is watched.
    pub fn observe(&self, log: &Journal, call: &Call) {
        if self.contract.mode(log) != Mode::Observe {
            return;
        }
        let contract = self.contract.layer.as_ref().and_then(|contracts| contracts.of(call.model?));
        let model = call.model.and_then(|model| self.models.get(model.index()));
        if let (Some(contract), Some(model)) = (contract, model) {
            let seen = contract.seen(call);
            model.seen.lock().add(seen);
        }
    }

    /// The figures of models that were asked while watched, as JSON.
    #[must_use]
    pub fn observed(&self) -> serde_json::Value {
        let figures = self.models.iter().filter_map(|model| {
            let seen = model.seen.lock().clone();
            (seen.requests > 0).then(|| Some((model.name.to_string(), serde_json::to_value(seen).ok()?)))?
        });
        serde_json::json!({ "models": figures.collect::<serde_json::Map<_, _>>() })
    }
}
