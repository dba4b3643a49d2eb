//! The answer of the plain dialect: a prediction, how sure the model is, the id echoed.
//!
//! One row gives `{"prediction", "label"?, "confidence"?, "probabilities"?, "model", "request_id"?}`, more rows give
//! `{"predictions": [{…}, …], "model", "request_id"?}`.

use tollgate_core::backend::{Output, Signature};
use tollgate_core::call::{Call, Tensor, Values};
use tollgate_core::ruling::{Fault, Origin};

use crate::protocol::write;

/// The most classes whose probabilities are listed.
const MAX_LISTED: usize = 64;

/// Writes what a model gave.
///
/// - Two or more numbers a row are classes: `prediction` is the place of the largest, `confidence` its probability.
///   Numbers that are no probabilities already (from 0 to 1, with sum 1) are made so by softmax.
/// - One number a row, of a model with two labels, is the probability of the second: `prediction` is 0 or 1.
/// - One number a row otherwise is the prediction itself; from 0 to 1 it has a `confidence`, the larger of it and the
///   rest to 1.
///
/// # Errors
/// The model gave nothing, or something that is neither numbers nor finite.
pub fn reply(model: &str, signature: &Signature, call: &Call, output: &Output) -> Result<String, Fault> {
    let tensor = chosen(output).ok_or_else(|| fault("gave no numbers"))?;
    let rows = Rows::of(tensor)?;
    let mut out = String::from("{");
    if rows.many {
        out.push_str(r#""predictions":"#);
        write::list(&mut out, rows.all(), |out, row| {
            out.push('{');
            judge(out, row, &signature.labels);
            out.push('}');
        });
    } else {
        judge(&mut out, &rows.values, &signature.labels);
    }
    out.push_str(r#","model":"#);
    write::string(&mut out, model);
    if let Some(id) = &call.id {
        out.push_str(r#","request_id":"#);
        write::string(&mut out, id);
    }
    out.push('}');
    Ok(out)
}

/// The first output with several floats a row (the probabilities of a classifier that also gives a label), or else the
/// first of all.
fn chosen(output: &Output) -> Option<&Tensor> {
    let several = |tensor: &&Tensor| {
        let floats = matches!(tensor.values, Values::F32(_) | Values::F64(_));
        floats && tensor.shape.len() >= 2 && tensor.shape.last().is_some_and(|last| *last >= 2)
    };
    output.tensors.iter().find(several).or_else(|| output.tensors.first())
}

/// The numbers of an output, by row.
struct Rows {
    values: Vec<f64>,
    width: usize,
    many: bool,
}

impl Rows {
    fn of(tensor: &Tensor) -> Result<Self, Fault> {
        let values = numbers(&tensor.values).ok_or_else(|| fault("gave strings"))?;
        if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
            return Err(fault("gave nothing, or a number that is not finite"));
        }
        let batch = match tensor.shape.as_slice() {
            [] => 1,
            [first, ..] => usize::try_from(*first).unwrap_or(usize::MAX).clamp(1, values.len()),
        };
        Ok(Self { width: values.len() / batch, values, many: batch > 1 })
    }

    fn all(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an integer output is shown as a number; its place is what matters")]
fn numbers(values: &Values) -> Option<Vec<f64>> {
    match values {
        Values::Bool(values) => Some(values.iter().map(|value| f64::from(u8::from(*value))).collect()),
        Values::Bytes(_) | Values::Raw(..) => None,
        // Through the shortest decimal, so that 0.1 stays 0.1.
        Values::F32(values) => Some(values.iter().map(|value| decimal(*value)).collect()),
        Values::F64(values) => Some(values.clone()),
        Values::Int(values) => Some(values.iter().map(|value| *value as f64).collect()),
        Values::Uint(values) => Some(values.iter().map(|value| *value as f64).collect()),
    }
}

fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// Writes the members of one row.
fn judge(out: &mut String, row: &[f64], labels: &[Box<str>]) {
    if let [score] = row {
        return judge_score(out, *score, labels);
    }
    let probabilities = probabilities(row);
    let best = probabilities.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
    let (place, confidence) = best.map_or((0, 0.0), |(place, confidence)| (place, *confidence));
    write_class(out, place, labels);
    write_confidence(out, confidence);
    if probabilities.len() <= MAX_LISTED {
        out.push_str(r#","probabilities":"#);
        write::list(out, probabilities, |out, value| write::value(out, rounded(value)));
    }
}

fn judge_score(out: &mut String, score: f64, labels: &[Box<str>]) {
    let probability = (0.0..=1.0).contains(&score);
    if probability && labels.len() == 2 {
        write_class(out, usize::from(score >= 0.5), labels);
        write_confidence(out, score.max(1.0 - score));
        out.push_str(r#","probabilities":"#);
        return write::list(out, [1.0 - score, score], |out, value| write::value(out, rounded(value)));
    }
    out.push_str(r#""prediction":"#);
    write::value(out, score);
    if probability {
        write_confidence(out, score.max(1.0 - score));
    }
}

fn write_class(out: &mut String, place: usize, labels: &[Box<str>]) {
    out.push_str(r#""prediction":"#);
    write::value(out, place);
    if let Some(label) = labels.get(place) {
        out.push_str(r#","label":"#);
        write::string(out, label);
    }
}

fn write_confidence(out: &mut String, confidence: f64) {
    out.push_str(r#","confidence":"#);
    write::value(out, rounded(confidence));
}

/// Six decimals: more would be noise of a single.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn probabilities(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().sum();
    if row.iter().all(|value| (0.0..=1.0).contains(value)) && (sum - 1.0).abs() < 1e-3 {
        return row.to_vec();
    }
    let largest = row.iter().copied().fold(f64::MIN, f64::max);
    let powers: Vec<f64> = row.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

fn fault(what: &str) -> Fault {
    Fault::new(Origin::Upstream, format_args!("the model {what}"))
}
