//! Held-out samples of the demo models: real inputs with their true answer, for the tour and for tests.
//!
//! The models never saw them in training. They are the first hundred of a random split, not the ones that go well.

use serde_json::Value;

use crate::catalog;

/// One real input.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The text, for a text model.
    pub text: Option<String>,
    /// The input of the model, flat: pixels, features or token ids.
    pub features: Vec<f64>,
    /// The true class.
    pub label: usize,
    /// What ONNX Runtime answers: one probability per class.
    pub reference: Vec<f64>,
}

/// The samples of the demo model `name`; none if there is no such model.
#[must_use]
pub fn samples(name: &str) -> Vec<Sample> {
    let Some(card) = catalog::find(name) else { return Vec::new() };
    let case: Value = serde_json::from_str(card.case).expect("a test reads every committed case file");
    let samples = case.get("samples").and_then(Value::as_array);
    samples.map_or(&[][..], Vec::as_slice).iter().filter_map(sample).collect()
}

fn sample(value: &Value) -> Option<Sample> {
    Some(Sample {
        text: value.get("text").and_then(Value::as_str).map(str::to_owned),
        features: numbers(value.get("input")?)?,
        label: usize::try_from(value.get("label")?.as_u64()?).ok()?,
        reference: numbers(value.get("output")?)?,
    })
}

fn numbers(list: &Value) -> Option<Vec<f64>> {
    list.as_array()?.iter().map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_hundred_complete_samples() {
        for card in catalog::CARDS {
            let samples = samples(card.name);
            assert_eq!(samples.len(), 100, "{}", card.name);
            for sample in samples {
                assert!(sample.label < card.labels.len());
                assert_eq!(sample.reference.len(), card.labels.len());
                assert_eq!(sample.text.is_some(), card.text);
            }
        }
        assert!(samples("no_such_model").is_empty());
    }
}
