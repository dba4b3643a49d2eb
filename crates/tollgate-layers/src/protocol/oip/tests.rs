//! Answers are JSON that says what the model gave.

use serde_json::{Value, json};
use tollgate_core::backend::{Dim, Output, Port, Signature};
use tollgate_core::call::{Call, Dtype, Tensor, Values};

use super::{model_metadata, model_ready, reply, request, server_live, server_metadata};
use crate::protocol::json::Limits;

fn tensor(name: &str, dtype: Dtype, shape: Vec<u64>, values: Values) -> Tensor {
    Tensor { name: name.into(), dtype, shape, values, at: 0..0 }
}

fn output(tensors: Vec<Tensor>) -> Output {
    Output { tensors, compute_us: 5 }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn an_answer_carries_every_type() {
    let given = output(vec![
        tensor("f", Dtype::Fp32, vec![1, 3], Values::F32(vec![0.1, -1e-30, 3e38])),
        tensor("d", Dtype::Fp64, vec![2], Values::F64(vec![0.1, 1e300])),
        tensor("i", Dtype::Int64, vec![2], Values::Int(vec![i64::MIN, 7])),
        tensor("u", Dtype::Uint8, vec![1], Values::Uint(vec![255])),
        tensor("b", Dtype::Bool, vec![2], Values::Bool(vec![true, false])),
        tensor("s", Dtype::Bytes, vec![1], Values::Bytes(vec!["é\"\\\n\u{1}</script>".as_bytes().into()])),
    ]);
    let call = Call { id: Some("a-1".into()), ..Call::default() };
    let text = reply("my \"model\"", &call, &given).expect("it is written");
    let answer = parsed(&text);
    assert_eq!(answer["model_name"], "my \"model\"");
    assert_eq!(answer["id"], "a-1");
    assert_eq!(answer["outputs"][0]["name"], "f");
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 3]));
    assert_eq!(answer["outputs"][0]["datatype"], "FP32");
    assert_eq!(answer["outputs"][1]["data"], json!([0.1, 1e300]));
    assert_eq!(answer["outputs"][2]["data"], json!([i64::MIN, 7]));
    assert_eq!(answer["outputs"][3]["data"], json!([255]));
    assert_eq!(answer["outputs"][4]["data"], json!([true, false]));
    assert_eq!(answer["outputs"][5]["data"], json!(["é\"\\\n\u{1}</script>"]));
    assert!(!text.contains('<'), "no markup in an answer");
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let values = vec![0.1_f32, 1.0, -0.0, f32::MIN_POSITIVE, f32::MAX, 1e-45, 16_777_217.0];
    let shape = vec![values.len() as u64];
    let given = output(vec![tensor("x", Dtype::Fp32, shape, Values::F32(values.clone()))]);
    let text = reply("m", &Call::default(), &given).expect("it is written");
    let body = text.replace(r#""outputs""#, r#""inputs""#);
    let read = request(body.as_bytes(), Limits::default()).expect("our own JSON is strict");
    assert_eq!(read.inputs[0].values, Values::F32(values));
}

#[test]
fn only_the_outputs_that_were_asked_for_are_written() {
    let one = |name| tensor(name, Dtype::Fp32, vec![1], Values::F32(vec![1.0]));
    let given = output(vec![one("a"), one("b"), one("c")]);
    let call = Call { outputs: vec!["c".into(), "a".into()], ..Call::default() };
    let answer = parsed(&reply("m", &call, &given).expect("it is written"));
    let names: Vec<_> = answer["outputs"].as_array().expect("a list").iter().map(|output| &output["name"]).collect();
    assert_eq!(names, ["c", "a"]);
    let call = Call { outputs: vec!["d".into()], ..Call::default() };
    assert!(reply("m", &call, &given).is_err());
}

#[test]
fn what_json_cannot_carry_is_a_fault() {
    let bad = [
        tensor("x", Dtype::Fp32, vec![1], Values::F32(vec![f32::NAN])),
        tensor("x", Dtype::Fp64, vec![1], Values::F64(vec![f64::INFINITY])),
        tensor("x", Dtype::Fp16, vec![1], Values::F32(vec![1.0])),
        tensor("x", Dtype::Bytes, vec![1], Values::Bytes(vec![b"\xff".as_slice().into()])),
    ];
    for tensor in bad {
        assert!(reply("m", &Call::default(), &output(vec![tensor])).is_err());
    }
}

#[test]
fn reading_verbs_are_answered_from_the_signature() {
    let dims = vec![Dim::Symbolic("batch".into()), Dim::Fixed(8)];
    let port = |name: &str| Port { name: name.into(), dtype: Dtype::Fp32, dims: dims.clone() };
    let signature = Signature { inputs: vec![port("x")], outputs: vec![port("y")], ..Signature::default() };
    let expected = json!({
        "name": "digits", "versions": [], "platform": "onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 8]}],
    });
    assert_eq!(parsed(&model_metadata("digits", "onnx", &signature)), expected);
    assert_eq!(parsed(&model_ready("digits", false)), json!({"name": "digits", "ready": false}));
    assert_eq!(parsed(&server_live(true)), json!({"live": true}));
    assert_eq!(parsed(&server_metadata("0.1.0")), json!({"name": "tollgate", "version": "0.1.0", "extensions": []}));
}
