//! How much of a call's time its server computes, by the server's own statistics (those of Triton, at `/v2/models/M/stats`):
//! the rest is its queue, which is no cost. Asked now and then by the control thread; what is not said is taken to be all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_layers::routes::Preset;

use crate::snapshot::Policy;
use crate::state::State;
use crate::tick::Ticker;
use crate::upstream::{Target, probe};

/// How often servers are asked.
const EVERY: Duration = Duration::from_secs(5);

/// The most models that one round asks about.
const MOST: usize = 256;

/// How many calls had been learned from when a server was asked last, and what it said, by model.
type Before = HashMap<String, (u64, Totals)>;

/// What a server has done since it began, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    /// Whose they are: each endpoint counts for itself.
    endpoint: usize,
    /// From a request's first byte to the last of its answer.
    whole: u64,
    /// Reading the input, computing, writing the output.
    computed: u64,
}

/// Asks for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    let ticker = Ticker::new(state.clock.clone());
    let asking = async {
        let mut before = Before::new();
        loop {
            round(&state.policy(), &ticker, &mut before).await;
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::join!(asking, Arc::clone(&ticker).run(Ticker::EVERY));
}

/// Asks once about every model whose server keeps statistics, if it was called since.
async fn round(policy: &Policy, ticker: &Arc<Ticker>, before: &mut Before) {
    let mut now = Before::new();
    for (id, model) in (0..).map(ModelId).zip(&policy.models).take(MOST) {
        let Some(upstream) = policy.upstreams.get(model.upstream) else { continue };
        let (Some(Preset::Triton), Target::Remote(remote)) = (upstream.preset, &upstream.target) else { continue };
        let Some(path) = Preset::Triton.metadata_path(&model.name).map(|path| format!("{path}/stats")) else {
            continue;
        };
        let Some(learner) = policy.cost.learner(id) else { continue };
        let samples = learner.samples();
        match before.get(&*model.name) {
            None if samples == 0 => continue,
            Some(said) if said.0 == samples => {
                now.insert(model.name.to_string(), *said);
                continue;
            }
            _ => {}
        }
        let answer = probe::ask_any(remote, &path, ticker).await.ok();
        let totals = answer.and_then(|(endpoint, body)| Some(Totals { endpoint, ..read(&body)? }));
        let Some(totals) = totals else {
            learner.set_computing(1.0);
            continue;
        };
        if let Some(part) = before.get(&*model.name).and_then(|said| totals.part_since(said.1)) {
            learner.set_computing(part);
        }
        now.insert(model.name.to_string(), (samples, totals));
    }
    *before = now;
}

impl Totals {
    /// Which part of the time since then was computing. `None` where nothing was done, the server has begun anew, or it was
    /// another one.
    fn part_since(self, before: Self) -> Option<f64> {
        if self.endpoint != before.endpoint {
            return None;
        }
        let whole = self.whole.checked_sub(before.whole).filter(|whole| *whole > 0)?;
        let computed = self.computed.checked_sub(before.computed)?;
        Some(computed as f64 / whole as f64)
    }
}

/// Reads an answer: the sum over all versions of the model.
fn read(body: &[u8]) -> Option<Totals> {
    #[derive(Deserialize)]
    struct Answer {
        model_stats: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        inference_stats: Statistics,
    }
    #[derive(Deserialize)]
    struct Statistics {
        success: Time,
        compute_input: Time,
        compute_infer: Time,
        compute_output: Time,
    }
    #[derive(Deserialize)]
    struct Time {
        ns: u64,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let sum = |totals: Totals, version: Version| {
        let Statistics { success, compute_input, compute_infer, compute_output } = version.inference_stats;
        let computed = [compute_input.ns, compute_infer.ns, compute_output.ns].into_iter().fold(0, u64::saturating_add);
        Totals {
            endpoint: 0,
            whole: totals.whole.saturating_add(success.ns),
            computed: totals.computed.saturating_add(computed),
        }
    };
    Some(answer.model_stats.into_iter().fold(Totals::default(), sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(whole: u64, infer: u64) -> Vec<u8> {
        format!(
            r#"{{"model_stats":[{{"name":"m","version":"1","inference_stats":{{
                "success":{{"count":9,"ns":{whole}}},"fail":{{"count":0,"ns":0}},"queue":{{"count":9,"ns":5}},
                "compute_input":{{"count":9,"ns":10}},"compute_infer":{{"count":9,"ns":{infer}}},
                "compute_output":{{"count":9,"ns":10}}}},"batch_stats":[]}}]}}"#
        )
        .into_bytes()
    }

    #[test]
    fn the_part_that_was_computed_is_of_what_happened_since_the_last_look() {
        let (first, then) = (read(&answer(1_000, 300)).expect("totals"), read(&answer(2_000, 1_100)).expect("totals"));
        assert_eq!(then.part_since(first), Some(0.8));
        assert_eq!(then.part_since(then), None, "nothing was done");
        assert_eq!(first.part_since(then), None, "the server began anew");
        for nonsense in ["", "{}", "{\"model_stats\":[{}]}", "[1]"] {
            assert_eq!(read(nonsense.as_bytes()), None, "{nonsense}");
        }
    }
}
