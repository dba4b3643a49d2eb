//! Whether contracts still say what their model servers say: asked at the start, after each reload and now and then, by the
//! control thread. A difference is a metric and a line for operators; it refuses nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tollgate_layers::protocol::metadata::{self, Told};
use tollgate_layers::routes::Preset;

use crate::record::metrics::{head, row};
use crate::snapshot::{Model, Policy};
use crate::state::State;
use crate::tick::Ticker;
use crate::upstream::{Remote, Target, probe};

/// The most models that one round asks about.
const MOST: usize = 256;
/// Where servers of OpenAPI publish their document.
const DOCUMENT: &str = "/openapi.json";

/// What was found last.
#[derive(Default)]
pub struct Drift {
    found: Mutex<Vec<Found>>,
}

/// What a server says otherwise than the contract of a model. Empty where they agree.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The model.
    pub model: String,
    /// The upstream that was asked.
    pub upstream: String,
    /// Each difference, in words.
    pub differences: Vec<String>,
}

impl Drift {
    /// What was found last; models whose server did not say are left out.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        self.found.lock().clone()
    }

    /// Writes the metric.
    pub fn render(&self, out: &mut String) {
        head(
            out,
            "tollgate_contract_drift",
            "gauge",
            "Differences between a contract and what its server says of the model.",
        );
        for Found { model, upstream, differences } in self.found.lock().iter() {
            let labels = [("model", model.as_str()), ("upstream", upstream.as_str())];
            row(out, "tollgate_contract_drift", &labels, differences.len());
        }
    }
}

/// Asks for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    let ticker = Ticker::new(state.clock.clone());
    let asking = async {
        loop {
            let policy = state.policy();
            let every = policy.drift_every;
            if every > Duration::ZERO {
                let found = round(&policy, &ticker).await;
                *state.drift.found.lock() = found;
            } else {
                state.drift.found.lock().clear();
            }
            let next = if every > Duration::ZERO { every } else { Duration::from_hours(24) };
            drop(tokio::time::timeout(next, state.swapped.notified()).await);
        }
    };
    tokio::join!(asking, Arc::clone(&ticker).run(Ticker::EVERY));
}

/// Asks once about every model whose server has words for it.
async fn round(policy: &Policy, ticker: &Arc<Ticker>) -> Vec<Found> {
    let mut said: HashMap<(usize, String), Option<Told>> = HashMap::new();
    let mut found = BTreeMap::new();
    for model in policy.models.iter().take(MOST) {
        let Some(upstream) = policy.upstreams.get(model.upstream) else { continue };
        let (Some(preset), Target::Remote(remote)) = (upstream.preset, &upstream.target) else { continue };
        let document = model.published.as_ref().map(|_| DOCUMENT.to_owned());
        let Some(path) = document.or_else(|| preset.metadata_path(&model.name)) else { continue };
        let key = (model.upstream, path);
        if !said.contains_key(&key) {
            let told = ask(remote, &key.1, ticker).await;
            said.insert(key.clone(), told);
        }
        if let Some(Some(told)) = said.get(&key) {
            let differences = differences(preset, model, told);
            let (model, upstream) = (model.name.to_string(), upstream.name.to_string());
            found.insert(model.clone(), Found { model, upstream, differences });
        }
    }
    found.into_values().collect()
}

async fn ask(remote: &Remote, path: &str, ticker: &Arc<Ticker>) -> Option<Told> {
    let body = probe::ask(remote, path, ticker).await.ok()?;
    metadata::read(&serde_json::from_slice(&body).ok()?).ok()
}

fn differences(preset: Preset, model: &Model, told: &Told) -> Vec<String> {
    match told {
        Told::List(list) => {
            // To Ollama, a name without a tag is the newest.
            let newest = format!("{}:latest", model.name);
            let same = |name: &str| name == &*model.name || (preset == Preset::Ollama && name == newest);
            let listed = list.iter().any(|listed| same(&listed.name));
            if listed { Vec::new() } else { vec![format!("the server does not list `{}`", model.name)] }
        }
        Told::Model(ports) => metadata::differences(&model.signature, ports),
        Told::OpenApi(document) => {
            let Some((taken, schema)) = &model.published else { return Vec::new() };
            match document.operations.iter().find(|operation| operation.path == taken.path) {
                Some(operation) if operation.schema == *schema => Vec::new(),
                Some(_) => vec![format!("the server publishes another schema for `POST {}`", taken.path)],
                None => vec![format!("the server publishes no schema for `POST {}`", taken.path)],
            }
        }
    }
}
