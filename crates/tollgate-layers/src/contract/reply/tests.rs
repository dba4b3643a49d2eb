//! Replies and what is found wrong with them.

use std::sync::Arc;

use tollgate_core::call::{Call, Dialect, Dtype, ModelId, Tensor, Values};
use tollgate_core::journal::{Fact, Journal};
use tollgate_core::ruling::{Code, Stop};
use tollgate_core::stage::Stage;

use super::Held;
use crate::contract::Contracts;
use crate::contract::tests::{compile, config};

/// Why a reply to a batch of two is refused, by the contract `yaml`; "" where it passes.
fn broken_reply(yaml: &str, dialect: Dialect, reply: (&str, &[&str], &[u8])) -> String {
    let (contract, problems) = compile(&config(yaml), None);
    assert_eq!(problems, []);
    let contracts = Contracts::new(vec![Arc::new(contract)]);
    let inputs = vec![Tensor {
        name: "x".into(),
        dtype: Dtype::Fp32,
        shape: vec![2],
        values: Values::F32(vec![0.0; 2]),
        at: 0..0,
    }];
    let call = Call { dialect, model: Some(ModelId(0)), inputs, ..Call::default() };
    let awaited = contracts.awaits(&call).expect("replies are held");
    let (content_type, lengths, body) = reply;
    let lengths: Vec<&[u8]> = lengths.iter().map(|length| length.as_bytes()).collect();
    let body = bytes::Bytes::copy_from_slice(body);
    let content_type = (!content_type.is_empty()).then_some(content_type);
    let mut journal = Journal::default();
    let held = Held { content_type, json_length: &lengths, body: Some(&body) };
    let ruling = contracts.judge_reply(&awaited, held, &mut journal.notes(Stage::Contract));
    let noted = journal.fact(Fact::ReplyBroken).is_some();
    let Err(Stop::Refuse(refusal)) = ruling else { return String::new() };
    assert_eq!((refusal.code, &refusal.spot, noted), (Code::UpstreamFailed, &None, true), "the caller learns nothing");
    let why = refusal.evidence().strip_prefix("the reply breaks its contract: ").expect("it begins so");
    why.to_owned()
}

const SCORES: &str = "{ inputs: [{ name: x, dtype: FP32, shape: [batch] }],
    outputs: [{ name: y, dtype: FP32, shape: [batch, 1], range: [0, 1] }, { name: z, dtype: BYTES, shape: [batch], optional: true }], reply: {} }";

#[test]
fn a_reply_is_held_to_names_types_shapes_and_values() {
    let json = |outputs: &str| {
        let body = format!(r#"{{"model_name":"m","parameters":{{"a":1}},"outputs":[{outputs}]}}"#);
        broken_reply(SCORES, Dialect::Oip, ("application/json; charset=utf-8", &[], body.as_bytes()))
    };
    let good = r#"{"name":"y","datatype":"FP32","shape":[2,1],"parameters":{"b":{}},"data":[0,1]}"#;
    assert_eq!(json(good), "");
    assert_eq!(json(&format!(r#"{good},{{"name":"z","datatype":"BYTES","shape":[2],"data":["a","b"]}}"#)), "");
    for (outputs, why) in [
        (
            good.replace("[0,1]", "[0,1.5]"),
            "`/outputs/0/data` element 1: expected numbers from 0.0 to 1.0 in output `y`, found 1.5",
        ),
        (
            good.replace("[2,1]", "[1,2]"),
            "`/outputs/0/shape/0`: expected 2, as before, in dimension 1 of output `y`, found 1",
        ),
        (good.replace("FP32", "FP64"), "`/outputs/0/datatype`: expected FP32 for output `y`, found FP64"),
        (good.replace("\"y\"", "\"q\""), "output `y` is missing"),
        (format!("{good},{}", good.replace("\"y\"", "\"q\"")), "an output that the model does not have"),
        (
            format!("{good},{good}"),
            "`/outputs/1/name`: expected a name that stands once, found a name that stands twice",
        ),
        (
            good.replace("[0,1]", "[0]"),
            "`/outputs/0/data`: expected 2 elements, the product of the shape, found 1 elements",
        ),
        (good.replace("[0,1]", "[0,NaN]"), "json: expected a value, found a bare word at byte 126"),
        (String::new(), "`/outputs`: expected at least one output, found none"),
    ] {
        assert_eq!(json(&outputs), why);
    }
    let unnamed = "{ inputs: [{ name: x, dtype: FP32, shape: [batch] }], reply: {} }";
    let said = |body: &[u8], kind: &str, lengths: &[&str]| broken_reply(unnamed, Dialect::Oip, (kind, lengths, body));
    let any = format!(r#"{{"outputs":[{good}]}}"#);
    assert_eq!(said(any.as_bytes(), "application/json", &[]), "");
    assert_eq!(said(any.as_bytes(), "text/html", &[]), "another type of content");
    assert_eq!(said(any.as_bytes(), "", &[]), "no single type of content");
    assert_eq!(
        said(b"{}", "application/json", &[]),
        "`/outputs`: expected a member `outputs`, found none".replace("`/outputs`", "``")
    );
}

#[test]
fn a_binary_reply_is_cut_as_it_says_and_in_no_other_way() {
    let head = r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2,1],"parameters":{"binary_data_size":8}}]}"#;
    let body = |values: [f32; 2]| [head.as_bytes(), &values.map(f32::to_le_bytes).concat()].concat();
    let length = head.len().to_string();
    let said =
        |body: &[u8], lengths: &[&str]| broken_reply(SCORES, Dialect::Oip, ("application/octet-stream", lengths, body));
    assert_eq!(said(&body([0.0, 1.0]), &[&length]), "");
    assert_eq!(
        said(&body([0.0, f32::NAN]), &[&length]),
        "`/outputs/0/data` element 1: expected numbers from 0.0 to 1.0 in output `y`, found NaN"
    );
    assert_eq!(
        said(&[body([0.0, 1.0]), vec![0]].concat(), &[&length]),
        "``: expected no bytes behind the last tensor, found 1 bytes"
    );
    assert!(said(&body([0.0, 1.0])[..head.len() + 4], &[&length]).contains("binary_data_size"));
    for wrong in [format!("+{length}"), format!("{length}x"), "0".to_owned(), "999".to_owned(), String::new()] {
        assert_eq!(said(&body([0.0, 1.0]), &[&wrong]), "a length of its JSON part that is none", "{wrong}");
    }
    assert_eq!(said(&body([0.0, 1.0]), &[&length, &length]), "a length of its JSON part where one or none is due");
    assert_ne!(said(&body([0.0, 1.0]), &[]), "", "without a length it is no reply");
}

#[test]
fn rows_and_columns_of_a_reply_are_tensors_too() {
    let one = "{ inputs: [{ name: x, dtype: FP32, shape: [batch] }], outputs: [{ name: y, dtype: FP32, shape: [batch, 2], range: [0, 1] }], reply: {} }";
    let said = |body: &str, dialect| broken_reply(one, dialect, ("application/json", &[], body.as_bytes()));
    assert_eq!(said(r#"{"predictions":[[0,1],[1,0]],"model":"m"}"#, Dialect::KserveV1), "");
    assert_eq!(said(r#"{"outputs":[[0,1],[1,0]]}"#, Dialect::TfColumns), "");
    assert_eq!(said(r#"{"predictions":[{"y":[0,1]},{"y":[1,0]}]}"#, Dialect::KserveV1), "");
    assert_ne!(said(r#"{"predictions":[[0,1]]}"#, Dialect::KserveV1), "", "one row for two");
    assert_ne!(said(r#"{"predictions":[[0,2],[1,0]]}"#, Dialect::KserveV1), "");
    assert_ne!(said(r#"{"predictions":[[0,null],[1,0]]}"#, Dialect::KserveV1), "");
    assert_ne!(said(r#"{"error":"boom"}"#, Dialect::KserveV1), "");
}

#[test]
fn any_json_is_held_to_a_schema_and_a_size() {
    let yaml =
        "{ reply: { max_bytes: 40, content_types: [application/vnd.score], schema: { type: object, required: [score],
        properties: { score: { type: number, maximum: 1 } } } } }";
    let said = |body: &str| broken_reply(yaml, Dialect::Json, ("application/vnd.Score", &[], body.as_bytes()));
    assert_eq!(said(r#"{"score":0.5}"#), "");
    assert_eq!(said(r#"{"score":2}"#), "`/score`: expected `maximum`: 1, found 2");
    assert_eq!(
        said(r#"{"score":0.5,"score":0.5}"#),
        "json: expected each key once in an object, found the same key twice at byte 13"
    );
    assert!(said(&format!(r#"{{"score":0.5,"x":"{}"}}"#, "x".repeat(40))).starts_with("more than 40 bytes"));
    let (_, problems) = compile(
        &config(
            "{ inputs: [{ name: x, dtype: FP32, shape: [n] }], outputs: [{ name: y, dtype: FP32, shape: [n], range: [0, 1] }] }",
        ),
        None,
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (_, problems) = compile(
        &config("{ outputs: [{ name: y }], reply: { content_types: ['*/*'], schema: { type: nonsense } } }"),
        None,
    );
    assert_eq!(problems.len(), 4, "{problems:?}");
    let contracts = Contracts::new(vec![Arc::new(compile(&config("{ reply: {} }"), None).0)]);
    let mut call = Call { model: Some(ModelId(0)), ..Call::default() };
    assert!(contracts.awaits(&call).is_some());
    call.knobs.stream = true;
    assert!(contracts.awaits(&call).is_none(), "what streams is not held");
}
