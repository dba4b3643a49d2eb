//! Predictions: classes, scores, plain numbers, rows.

use serde_json::{Value, json};
use tollgate_core::backend::{Output, Signature};
use tollgate_core::call::{Call, Dtype, Tensor, Values};

use super::reply;

fn output(shape: Vec<u64>, values: Values) -> Output {
    let tensor = Tensor { name: "y".into(), dtype: Dtype::Fp32, shape, values, at: 0..0 };
    Output { tensors: vec![tensor], compute_us: 0 }
}

fn labels(labels: &[&str]) -> Signature {
    Signature { labels: labels.iter().map(|label| (*label).into()).collect(), ..Signature::default() }
}

fn answer(signature: &Signature, output: &Output) -> Value {
    let call = Call { id: Some("r-7".into()), ..Call::default() };
    let text = reply("m", signature, &call, output).expect("it is written");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn probabilities_give_the_largest_class() {
    let given = output(vec![1, 3], Values::F32(vec![0.1, 0.7, 0.2]));
    assert_eq!(
        answer(&labels(&["a", "b", "c"]), &given),
        json!({"prediction": 1, "label": "b", "confidence": 0.7, "probabilities": [0.1, 0.7, 0.2],
               "model": "m", "request_id": "r-7"})
    );
}

#[test]
fn scores_of_any_size_become_probabilities() {
    let given = output(vec![1, 2], Values::F32(vec![1_000.0, 1_000.0]));
    let answer = answer(&labels(&[]), &given);
    assert_eq!(answer["probabilities"], json!([0.5, 0.5]));
    assert_eq!(answer["label"], Value::Null);
}

#[test]
fn one_number_of_two_labels_is_the_probability_of_the_second() {
    let signature = labels(&["fine", "fraud"]);
    let fraud = answer(&signature, &output(vec![1, 1], Values::F32(vec![0.9])));
    assert_eq!(
        (&fraud["prediction"], &fraud["label"], &fraud["confidence"]),
        (&json!(1), &json!("fraud"), &json!(0.9))
    );
    let fine = answer(&signature, &output(vec![1], Values::F32(vec![0.25])));
    assert_eq!((&fine["prediction"], &fine["label"], &fine["confidence"]), (&json!(0), &json!("fine"), &json!(0.75)));
}

#[test]
fn one_number_without_labels_is_the_prediction() {
    let price = answer(&labels(&[]), &output(vec![1, 1], Values::F32(vec![250_000.5])));
    assert_eq!(price, json!({"prediction": 250_000.5, "model": "m", "request_id": "r-7"}));
    let score = answer(&labels(&[]), &output(vec![1, 1], Values::F32(vec![0.1])));
    assert_eq!((&score["prediction"], &score["confidence"]), (&json!(0.1), &json!(0.9)));
}

#[test]
fn several_rows_give_a_list() {
    let given = output(vec![2, 2], Values::F64(vec![0.9, 0.1, 0.2, 0.8]));
    let answer = answer(&labels(&["no", "yes"]), &given);
    let rows: Vec<_> = answer["predictions"].as_array().expect("a list").iter().map(|row| &row["label"]).collect();
    assert_eq!(rows, ["no", "yes"]);
    assert_eq!(answer["model"], "m");
}

#[test]
fn the_probabilities_of_a_classifier_are_preferred_to_its_label() {
    let mut given = output(vec![1], Values::Int(vec![1]));
    given.tensors.extend(output(vec![1, 2], Values::F32(vec![0.25, 0.75])).tensors);
    assert_eq!(answer(&labels(&["no", "yes"]), &given)["confidence"], json!(0.75));
}

#[test]
fn what_is_no_prediction_is_a_fault() {
    let bad = [
        Output::default(),
        output(vec![1], Values::F32(vec![f32::NAN])),
        output(vec![0], Values::F32(Vec::new())),
        output(vec![1], Values::Bytes(vec![b"x".as_slice().into()])),
    ];
    for given in bad {
        assert!(reply("m", &Signature::default(), &Call::default(), &given).is_err());
    }
}
