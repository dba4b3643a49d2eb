//! The first half of the tour: real inputs that the models never saw, judged through the TLS socket.

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tollgate_model::catalog;
use tollgate_model::samples::{Sample, samples};

use super::client::{Connection, get, post};
use super::setup::Scene;

/// One input, and what the model said of it.
#[derive(Serialize)]
pub(super) struct Judged {
    pub(super) model: &'static str,
    /// The text, for a text model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// The numbers, for the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) features: Vec<f64>,
    /// The true class.
    pub(super) truth: &'static str,
    /// What the model said.
    pub(super) label: String,
    pub(super) confidence: f64,
    pub(super) took_us: u64,
    pub(super) as_promised: bool,
}

/// The inputs of one model: the first of the held-out samples, not the ones that go well.
struct Stop {
    model: &'static str,
    card: &'static str,
    path: &'static str,
    count: usize,
}

const STOPS: [Stop; 3] = [
    Stop { model: "digits", card: "digits_cnn", path: "/predict", count: 3 },
    Stop { model: "phishing", card: "fraud_mlp", path: "/predict/phishing", count: 2 },
    Stop { model: "sentiment", card: "sentiment", path: "/predict/sentiment", count: 2 },
];

/// Shows every model what it is for.
pub(super) async fn walk(scene: &Scene) -> anyhow::Result<Vec<Judged>> {
    let mut connection = scene.client.connect().await?;
    let health = connection.send(get("/health")).await?.good()?;
    ensure!(health.body == json!({ "status": "ok" }), "`/health` says {}", health.body);
    let mut judged = Vec::new();
    for stop in &STOPS {
        for sample in samples(stop.card).into_iter().take(stop.count) {
            let one = stop.judge(&mut connection, &scene.keys.demo, sample).await;
            judged.push(one.with_context(|| format!("asking model `{}`", stop.model))?);
        }
    }
    Ok(judged)
}

/// The body that asks for a judgement of `sample`.
pub(super) fn question(sample: &Sample) -> Value {
    match &sample.text {
        Some(text) => json!({ "text": text }),
        None => json!({ "features": sample.features }),
    }
}

impl Stop {
    async fn judge(&self, connection: &mut Connection, key: &str, sample: Sample) -> anyhow::Result<Judged> {
        let card = catalog::find(self.card).context("the models are in the binary")?;
        let answer = connection.send(post(self.path, key, question(&sample).to_string())).await?.good()?;
        let label = answer.body.get("label").and_then(Value::as_str).context("an answer has a label")?.to_owned();
        let confidence = answer.body.get("confidence").and_then(Value::as_f64).context("it has a confidence")?;
        let truth = card.labels.get(sample.label).copied().context("every sample has a true class")?;
        Ok(Judged {
            model: self.model,
            features: if sample.text.is_some() { Vec::new() } else { sample.features },
            text: sample.text,
            truth,
            as_promised: label == truth,
            label,
            confidence,
            took_us: super::micros(answer.took),
        })
    }
}
