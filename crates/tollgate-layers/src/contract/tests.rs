//! Calls and their verdicts from `cases/`, configuration mistakes, and what JSON cannot bring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use tollgate_core::backend::{Dim, Port, PortRange, Signature};
use tollgate_core::call::{Ask, Call, Dialect, Dtype, ModelId, Tensor, Values};
use tollgate_core::check::{Checker, Problem};
use tollgate_core::journal::{Fact, Journal};
use tollgate_core::ruling::{Code, Refusal, Stop};
use tollgate_core::stage::Stage;

use super::{Contract, ContractConfig, Contracts, Seen, Span};
use crate::protocol::openai::{self, Endpoint};
use crate::protocol::{json, oip, plain};
use crate::routes::{self, Route, RouteConfig, RouteNames};

/// A file of `cases/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    contract: ContractConfig,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    it: String,
    tensors: Vec<TensorCase>,
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(default)]
    unknown: u32,
    at: Option<String>,
    index: Option<u64>,
    found: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorCase {
    name: String,
    dtype: Option<Dtype>,
    shape: Vec<u64>,
    data: Option<String>,
    zeros: Option<usize>,
}

impl Case {
    fn call(&self) -> Call {
        let inputs: Vec<_> = self.tensors.iter().map(TensorCase::json).collect();
        let body = format!(r#"{{"inputs":[{}]}}"#, inputs.join(","));
        let request = oip::request(body.as_bytes(), json::Limits::default()).expect("the structure is right");
        let outputs = self.outputs.iter().map(|name| name.as_str().into()).collect();
        let (dialect, model) = (Dialect::Oip, Some(ModelId(0)));
        Call { dialect, model, inputs: request.inputs, outputs, unknown_members: self.unknown, ..Call::default() }
    }

    fn agrees(&self, verdict: Result<(), Refusal>) -> bool {
        match (verdict, &self.at) {
            (Ok(()), None) => true,
            (Err(refusal), Some(at)) => {
                let spot = refusal.spot.expect("a refused call has a spot");
                refusal.code == Code::InvalidCall
                    && spot.pointer == *at
                    && spot.index == self.index
                    && self.found.as_ref().is_none_or(|found| spot.found == *found)
            }
            _ => false,
        }
    }
}

impl TensorCase {
    fn json(&self) -> String {
        let zeros = || format!("{:?}", vec![0; self.zeros.expect("data or zeros")]);
        let data = self.data.clone().unwrap_or_else(zeros);
        let (dtype, shape) = (self.dtype.unwrap_or(Dtype::Fp32), &self.shape);
        format!(r#"{{"name":"{}","datatype":"{dtype}","shape":{shape:?},"data":{data}}}"#, self.name)
    }
}

fn compile(config: &ContractConfig, embedded: Option<&Signature>) -> (Contract, Vec<Problem>) {
    let mut check = Checker::default();
    let contract = config.compile(&mut check, embedded);
    (contract, check.finish().0)
}

fn config(yaml: &str) -> ContractConfig {
    // As the loader reads files: only `true` and `false` are booleans, so that `N` is a name.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(yaml, options).expect("a contract")
}

fn route() -> Arc<Route> {
    let yaml = "[{ name: oip, path: '/v2/{*rest}', protocol: oip, models: [m] }]";
    let config: Vec<RouteConfig> = serde_saphyr::from_str(yaml).expect("routes");
    let models = BTreeMap::from([("m".to_owned(), ModelId(0))]);
    let names = RouteNames { models: &models, upstreams: &BTreeMap::new(), classes: &BTreeSet::new() };
    Arc::clone(&routes::compile(&config, &mut Checker::default(), &names).all()[0])
}

fn run(yaml: &str) {
    let file: File = serde_saphyr::from_str(yaml).expect("a file of cases");
    let (contract, problems) = compile(&file.contract, None);
    assert_eq!(problems, [], "{}", file.what);
    let contracts = Contracts::new(vec![Arc::new(contract)]);
    let mut failed = Vec::new();
    for case in &file.cases {
        let mut journal = Journal::default();
        let ruling = contracts.check(&route(), &case.call(), &[], &mut journal.notes(Stage::Contract));
        let verdict = ruling.map_err(|stop| match stop {
            Stop::Refuse(refusal) => *refusal,
            Stop::Fault(fault) => panic!("a contract cannot fail: {fault:?}"),
        });
        assert_eq!(journal.fact(Fact::UnknownMembers), (case.unknown > 0).then_some(case.unknown));
        let shown = format!("it {}: {verdict:?}", case.it);
        if !case.agrees(verdict) {
            failed.push(shown);
        }
    }
    assert!(failed.is_empty(), "{}:\n{}", file.what, failed.join("\n"));
}

#[test]
fn a_table_is_checked() {
    run(include_str!("cases/tabular.yaml"));
}

#[test]
fn several_inputs_are_checked_together() {
    run(include_str!("cases/several.yaml"));
}

#[test]
fn the_readme_shows_contracts_that_load() {
    #[derive(Deserialize)]
    struct Shown {
        models: BTreeMap<String, Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        contract: ContractConfig,
    }
    let blocks = include_str!("README.md").split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().expect("an end")).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let shown: Shown = serde_saphyr::from_str(block).expect("it parses");
        for (name, model) in shown.models {
            let embedded = digits();
            let (_, problems) = compile(&model.contract, (name == "digits").then_some(&embedded));
            assert_eq!(problems, [], "{name}");
        }
    }
}

fn digits() -> Signature {
    let dims = vec![Dim::Symbolic("N".into()), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)];
    let out = vec![Dim::Symbolic("N".into()), Dim::Fixed(10)];
    Signature {
        inputs: vec![Port { name: "image".into(), dtype: Dtype::Fp32, dims }],
        outputs: vec![Port { name: "scores".into(), dtype: Dtype::Fp32, dims: out }],
        labels: vec!["zero".into(), "one".into()],
        ..Signature::default()
    }
}

#[test]
fn the_range_that_a_model_was_made_for_holds_unless_it_is_narrowed() {
    let made_for = PortRange { input: "image".into(), low: 0.0, high: 16.0 };
    let signature = Signature { ranges: vec![made_for], ..digits() };
    let verdict = |config: &ContractConfig, pixel: f32| {
        let mut check = Checker::default();
        let contract = config.compile(&mut check, Some(&signature));
        let mut values = vec![0.0; 64];
        values[5] = pixel;
        let verdict = contract.check(&image(vec![1, 1, 8, 8], values)).err().map(|refusal| refusal.code);
        (check.finish().0.into_iter().map(|problem| problem.message).collect::<Vec<_>>(), verdict)
    };
    let silent = ContractConfig::default();
    assert_eq!(verdict(&silent, 16.0), (vec![], None));
    assert_eq!(verdict(&silent, 17.0), (vec![], Some(Code::InvalidCall)));
    let ranged = |range: &str| -> ContractConfig {
        serde_saphyr::from_str(&format!("inputs: [{{ name: image, range: {range} }}]")).expect("a contract")
    };
    assert_eq!(verdict(&ranged("[0, 8]"), 9.0), (vec![], Some(Code::InvalidCall)));
    let wider = "wider than what the model was made for: 0.0 to 16.0".to_owned();
    assert_eq!(verdict(&ranged("[0, 99]"), 1.0).0, [wider]);
}

fn image(shape: Vec<u64>, values: Vec<f32>) -> Call {
    let tensor = Tensor { name: "image".into(), dtype: Dtype::Fp32, shape, values: Values::F32(values), at: 0..0 };
    Call { dialect: Dialect::Oip, model: Some(ModelId(0)), inputs: vec![tensor], ..Call::default() }
}

#[test]
fn numbers_that_are_not_finite_are_refused_without_any_range() {
    let (contract, problems) = compile(&ContractConfig::default(), Some(&digits()));
    assert_eq!(problems, []);
    assert!(contract.check(&image(vec![1, 1, 8, 8], vec![f32::MAX; 64])).is_ok());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.0; 64];
        values[63] = bad;
        let spot = contract.check(&image(vec![1, 1, 8, 8], values)).expect_err("not finite").spot.expect("a spot");
        assert_eq!(spot.index, Some(63));
    }
}

#[test]
fn an_embedded_model_brings_its_contract() {
    let (contract, _) = compile(&ContractConfig::default(), Some(&digits()));
    assert_eq!(contract.signature(), &digits());
    assert!(contract.check(&image(vec![1_024, 1, 8, 8], vec![0.0; 65_536])).is_ok());
    let refusal = contract.check(&image(vec![1_025, 1, 8, 8], vec![0.0; 65_600])).expect_err("more than 1024 rows");
    assert_eq!(refusal.spot.expect("a spot").pointer, "/inputs/0/shape/0");
    let mut call = image(vec![1, 1, 8, 8], vec![0.0; 64]);
    call.outputs = vec!["scores".into()];
    assert!(contract.check(&call).is_ok());
    call.outputs = vec!["weights".into()];
    assert!(contract.check(&call).is_err());
}

#[test]
fn a_contract_narrows_an_embedded_model() {
    let narrow = config(
        "{ inputs: [{ name: image, shape: [N, 1, 8, 8], range: [0, 16] }], batch: { max: 1 }, unknown_members: deny }",
    );
    let (contract, problems) = compile(&narrow, Some(&digits()));
    assert_eq!(problems, []);
    assert!(contract.check(&image(vec![1, 1, 8, 8], vec![16.0; 64])).is_ok());
    assert!(contract.check(&image(vec![1, 1, 8, 8], vec![16.5; 64])).is_err());
    assert!(contract.check(&image(vec![2, 1, 8, 8], vec![16.0; 128])).is_err());
    let (contract, problems) = compile(&config("{ inputs: [{ name: image, shape: [4, 1, 8, 8] }] }"), Some(&digits()));
    assert_eq!(problems, []);
    assert!(contract.check(&image(vec![1, 1, 8, 8], vec![0.0; 64])).is_err());
}

#[test]
fn bounds_are_rounded_as_values_are() {
    let yaml = "{ inputs: [{ name: image, dtype: FP32, shape: [n], range: [0.1, 0.3], columns: [] }] }";
    let (contract, problems) = compile(&config(yaml), None);
    assert_eq!(problems, []);
    assert!(contract.check(&image(vec![2], vec![0.1, 0.3])).is_ok());
    assert!(contract.check(&image(vec![1], vec![0.099_999])).is_err());
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let yaml = "
inputs:
  - { name: a, dtype: FP32, shape: [batch, 3], range: [1, 0] }
  - { name: a, dtype: INT8, shape: [0], range: [-200, 5] }
  - { name: c }
  - { name: d, dtype: BYTES, shape: [1], nan: allow, range: [0, 1], columns: [{ at: 1, one_of: [1] }] }
  - { name: e, dtype: INT64, shape: [batch, 3], max_length: 3, columns: [{ at: '0..2', one_of: [0.5] }, { at: x, range: [0, 1] }, { at: 1 }] }
  - { name: f, dtype: UINT8, shape: [3, '1x'], columns: [{ at: 1, one_of: [-1] }] }
  - { name: g, dtype: FP32, shape: [1, 1, 1, 1, 1, 1, 1, 1, 1] }
outputs: [{ name: y }, { name: y }]
batch: { max: 0 }
raw_body: true
";
    let (_, problems) = compile(&config(yaml), None);
    let shown: Vec<_> = problems
        .iter()
        .map(|problem| {
            let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
            format!("{}: {}", path.join("."), problem.message)
        })
        .collect();
    let expected = [
        "raw_body: only for one input, not `BYTES`, of whose dimensions at most the first is a name",
        "inputs.3.nan: `BYTES` has no such numbers",
        "batch.max: a batch of `0` refuses every call",
        "inputs.1.name: `a` names two inputs",
        "inputs.1.shape.0: a dimension of `0` refuses every call",
        "inputs.2.dtype: input `c` has no `dtype`",
        "inputs.2.shape: input `c` has no `shape`",
        "inputs.5.shape.1: `1x` is not a name such as `batch`",
        "inputs.6.shape: more than 8 dimensions",
        "inputs.0.range: not two numbers of `FP32`, the lesser first",
        "inputs.3.range: `BYTES` has no range",
        "inputs.3.columns: `BYTES` has no columns",
        "inputs.4.max_length: only `BYTES` have a length",
        "inputs.4.columns.0.at: columns are counted from 1 to 3, the lesser first",
        "inputs.4.columns.0.one_of: a value that `INT64` does not have",
        "inputs.4.columns.1.at: not a place such as `3` or a run such as `1..7`",
        "inputs.4.columns.2: a column rule has either `one_of` or `range`",
        "inputs.5.columns.0.at: columns need a last dimension of fixed size",
        "inputs.5.columns.0.one_of: a value that `UINT8` does not have",
        "outputs.1.name: `y` names two outputs",
    ];
    for message in expected {
        assert!(shown.iter().any(|shown| shown == message), "`{message}` is not among\n{}", shown.join("\n"));
    }
}

#[test]
fn a_model_without_a_file_needs_inputs() {
    let mut check = Checker::default();
    ContractConfig::default().check_tensors(&mut check);
    let (problems, _) = check.finish();
    assert_eq!(problems[0].message, "a model that is not embedded says its `inputs`");
}

#[test]
fn widening_an_embedded_model_is_a_mistake() {
    let yaml = "
inputs:
  - { name: image, dtype: FP64, shape: [batch, 1, 9, any], optional: true }
  - { name: picture }
outputs: [{ name: scores }]
";
    let (_, problems) = compile(&config(yaml), Some(&digits()));
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "an embedded model needs all its inputs",
            "the model file says `FP32`",
            "the model file says `8`; a contract may narrow it, never widen it",
            "the model file says `8`; a contract may narrow it, never widen it",
            "`picture` is not an input of the model",
            "the outputs of an embedded model are known",
        ]
    );
}

#[test]
fn too_many_names_of_dimensions_are_a_mistake() {
    let inputs: Vec<_> = (0..17).map(|i| format!("{{ name: i{i}, dtype: FP32, shape: [d{i}] }}")).collect();
    let (_, problems) = compile(&config(&format!("{{ inputs: [{}] }}", inputs.join(", "))), None);
    assert_eq!(problems[0].message, "more than 16 names of dimensions");
}

#[test]
fn a_text_has_a_longest() {
    let dims = vec![Dim::Symbolic("batch".into()), Dim::Fixed(4)];
    let ids = Port { name: "token_ids".into(), dtype: Dtype::Int64, dims };
    let signature = Signature { inputs: vec![ids], text: true, ..Signature::default() };
    let (contract, problems) = compile(&config("{ text: { max_bytes: 4 } }"), Some(&signature));
    assert_eq!(problems, []);
    let check = |body: &str| {
        let request = plain::request(body.as_bytes(), json::Limits::default(), contract.signature()).expect("a body");
        let (dialect, model) = (Dialect::Plain, Some(ModelId(0)));
        let refused = contract.check(&Call { dialect, model, inputs: request.inputs, ..Call::default() });
        refused.map_err(|refusal| refusal.spot.expect("a spot").pointer)
    };
    assert_eq!(check(r#"{"text":"abcd"}"#), Ok(()));
    assert_eq!(check(r#"{"text":"abcde"}"#), Err("/text".to_owned()));
    assert_eq!(check(r#"{"text":"ééé"}"#), Err("/text".to_owned()));
    assert_eq!(check(r#"{"token_ids":[1,2,3,4]}"#), Ok(()));
    assert_eq!(check(r#"{"text":"a","token_ids":[1,2,3,4]}"#), Err("/text".to_owned()));
    assert_eq!(check("{}"), Err(String::new()));
}

#[test]
fn a_plain_spot_names_the_member() {
    let two =
        "{ inputs: [{ name: 'a/b', dtype: FP32, shape: [n], range: [0, 1] }, { name: c, dtype: FP32, shape: [n] }] }";
    let one = "{ inputs: [{ name: a, dtype: FP32, shape: [n], range: [0, 1] }] }";
    let spot = |yaml: &str, body: &str| {
        let (contract, _) = compile(&config(yaml), None);
        let request = plain::request(body.as_bytes(), json::Limits::default(), contract.signature()).expect("a body");
        let call = Call { dialect: Dialect::Plain, inputs: request.inputs, ..Call::default() };
        *contract.check(&call).expect_err("it is refused").spot.expect("a spot")
    };
    assert_eq!(spot(two, r#"{"a/b":[2],"c":[1]}"#).pointer, "/a~1b");
    assert_eq!(spot(two, r#"{"a/b":[1],"c":[1,2]}"#).pointer, "/c");
    assert_eq!(spot(two, r#"{"c":[1]}"#).expected, "input `a/b`");
    assert_eq!(spot(one, r#"{"features":[2]}"#).pointer, "/features");
}

#[test]
fn a_call_that_was_not_looked_into_passes_and_one_for_no_model_does_not() {
    let contracts = Contracts::default();
    let mut journal = Journal::default();
    assert!(contracts.check(&route(), &Call::default(), &[], &mut journal.notes(Stage::Contract)).is_ok());
    let call = image(vec![1], vec![1.0]);
    assert!(contracts.check(&route(), &call, &[], &mut journal.notes(Stage::Contract)).is_err());
}

/// The verdict on little-endian values of an input `x`: the index of the value that is refused.
fn raw(input: &str, dtype: Dtype, raw: &[u8]) -> Option<u64> {
    let (contract, problems) =
        compile(&config(&format!("inputs: [{{ name: x, dtype: {dtype}, shape: [n], {input} }}]")), None);
    assert_eq!(problems, []);
    let count = match dtype.width() {
        Some(width) => raw.len() / usize::try_from(width).expect("small"),
        None => crate::protocol::tensor::strings(raw).count(),
    };
    let values = Values::Raw(bytes::Bytes::copy_from_slice(raw), count);
    let inputs = vec![Tensor { name: "x".into(), dtype, shape: vec![count as u64], values, at: 0..0 }];
    let call = Call { dialect: Dialect::Oip, model: Some(ModelId(0)), inputs, ..Call::default() };
    contract.check(&call).err().map(|refusal| refusal.spot.expect("a spot").index.expect("an index"))
}

#[test]
fn raw_values_are_held_to_range_and_finiteness_in_every_type() {
    let f32s = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let f64s = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let subnormal = f32::MIN_POSITIVE / 2.0;
    assert_eq!(raw("", Dtype::Fp32, &f32s(&[0.0, f32::MAX, subnormal])), None);
    assert_eq!(raw("", Dtype::Fp32, &f32s(&[0.0, f32::NAN])), Some(1));
    assert_eq!(raw("", Dtype::Fp32, &f32s(&[f32::NEG_INFINITY])), Some(0));
    assert_eq!(raw("nan: allow", Dtype::Fp32, &f32s(&[f32::NAN, f32::INFINITY])), Some(1));
    assert_eq!(raw("infinity: allow, range: [0, 1]", Dtype::Fp32, &f32s(&[f32::INFINITY, 2.0])), Some(1));
    assert_eq!(raw("subnormal: deny", Dtype::Fp32, &f32s(&[0.0, 1.0, subnormal])), Some(2));
    assert_eq!(raw("range: [-1, 1]", Dtype::Fp32, &f32s(&[1.0, -1.0, 1.000_001])), Some(2));
    assert_eq!(raw("", Dtype::Fp64, &f64s(&[f64::MAX, f64::NAN])), Some(1));
    // Half: 1.0, 65504, the infinity, a NaN; the least subnormal is 2^-24.
    assert_eq!(raw("", Dtype::Fp16, &[0x00, 0x3C, 0xFF, 0x7B]), None);
    assert_eq!(raw("", Dtype::Fp16, &[0x00, 0x3C, 0x00, 0x7C]), Some(1));
    assert_eq!(raw("", Dtype::Fp16, &[0x01, 0x7E]), Some(0));
    assert_eq!(raw("range: [0, 1]", Dtype::Fp16, &[0x01, 0x00, 0x01, 0x80]), Some(1));
    assert_eq!(raw("range: [0, 1]", Dtype::Fp16, &[0x00, 0x3C, 0x01, 0x3C]), Some(1));
    assert_eq!(raw("", Dtype::Bf16, &[0x80, 0x3F, 0x80, 0x7F]), Some(1));
    assert_eq!(raw("range: [0, 1]", Dtype::Bf16, &[0x80, 0x3F, 0x81, 0x3F]), Some(1));
    assert_eq!(raw("range: [-3, 3]", Dtype::Int8, &[0xFD, 0xFC]), Some(1));
    assert_eq!(raw("range: [0, 300]", Dtype::Int16, &[0x2C, 0x01, 0x2D, 0x01]), Some(1));
    assert_eq!(raw("range: [0, 3]", Dtype::Int32, &[3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]), Some(1));
    assert_eq!(raw("range: [0, 3]", Dtype::Int64, &[3, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(raw("range: [0, 3]", Dtype::Uint8, &[3, 4]), Some(1));
    assert_eq!(raw("range: [0, 300]", Dtype::Uint16, &[0x2D, 0x01]), Some(0));
    assert_eq!(raw("range: [0, 3]", Dtype::Uint32, &[3, 0, 0, 0]), None);
    assert_eq!(raw("range: [0, 3]", Dtype::Uint64, &[0, 0, 0, 0, 0, 0, 0, 1]), Some(0));
    assert_eq!(raw("max_length: 2", Dtype::Bytes, &[2, 0, 0, 0, b'a', b'b', 3, 0, 0, 0, b'a', b'b', b'c']), Some(1));
}

#[test]
fn columns_are_refused_where_a_model_reads_rows_alone() {
    let rows = "inputs: [{ name: x, dtype: FP32, shape: [batch, 2] }]";
    let call = |columns| {
        let values = Values::F32(vec![1.0, 2.0]);
        let tensor = Tensor { name: "x".into(), dtype: Dtype::Fp32, shape: vec![1, 2], values, at: 0..0 };
        Call { dialect: Dialect::KserveV1, inputs: vec![tensor], columns, ..Call::default() }
    };
    let (contract, _) = compile(&config(rows), None);
    assert!(contract.check(&call(true)).is_ok() && contract.check(&call(false)).is_ok());
    let (contract, _) = compile(&config(&format!("{{ {rows}, columns: deny }}")), None);
    assert!(contract.check(&call(false)).is_ok());
    let refusal = contract.check(&call(true)).expect_err("columns");
    assert_eq!(refusal.spot.map(|spot| spot.pointer), Some("/inputs".to_owned()));
}

#[test]
fn a_preset_bounds_wishes_and_splices_nothing_in() {
    let call = |wish| {
        let asked =
            vec![tollgate_core::call::Asked { what: Ask::OutputTokens, value: wish, pointer: "/max_tokens".into() }];
        let knobs = tollgate_core::call::Knobs { asked, ..tollgate_core::call::Knobs::default() };
        Call { dialect: Dialect::OpenAi, knobs, ..Call::default() }
    };
    let contract = |yaml: &str| compile(&ContractConfig { wished_output_tokens: Some(100), ..config(yaml) }, None).0;
    assert!(contract("{}").check(&call(100)).is_ok());
    assert!(contract("{}").check(&call(101)).is_err());
    assert!(contract("max_output_tokens: 200").check(&call(200)).is_ok(), "what is written counts");
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let request = openai::request(Endpoint::Chat, body, json::Limits::default()).expect("a chat");
    assert!(contract("{}").edits(Endpoint::Chat, &request).is_empty());
}

#[test]
fn what_calls_were_like_is_told_in_numbers_alone() {
    let (contract, _) = compile(&config("inputs: [{ name: x, dtype: FP32, shape: [batch, 2] }]"), None);
    let tensor = |name: &str, values: Values, rows| Tensor {
        name: name.into(),
        dtype: Dtype::Fp32,
        shape: vec![rows, 2],
        values,
        at: 0..0,
    };
    let call = |inputs| Call { dialect: Dialect::Oip, inputs, ..Call::default() };
    let mut seen = contract.seen(&call(vec![tensor("x", Values::F32(vec![1.0, -2.0, 3.0, 0.5]), 2)]));
    let raw = [f32::NAN, 7.5].map(f32::to_le_bytes).concat();
    seen.add(contract.seen(&call(vec![tensor("x", Values::Raw(raw.into(), 2), 1)])));
    seen.add(contract.seen(&call(vec![tensor("SECRET", Values::F32(vec![9.0, 9.0]), 1)])));
    let span = |requests, least, greatest| Span { requests, least, greatest };
    let expected = Seen {
        requests: 3,
        batch: span(2, 1.0, 2.0),
        inputs: BTreeMap::from([("x".to_owned(), span(2, -2.0, 7.5))]),
        ..Seen::default()
    };
    assert_eq!(seen, expected);
}

#[test]
fn documents_are_followed_along_their_schema_and_no_further() {
    let schema = "
schema:
  type: object
  properties:
    rows: { type: array, items: { $ref: '#/$defs/Row' } }
    note: { type: string }
  $defs: { Row: { type: object, properties: { n: { type: number } } } }
";
    let (contract, problems) = compile(&config(schema), None);
    assert_eq!(problems, []);
    let document = serde_json::json!({
        "rows": [{ "n": 4, "SECRET": 9 }, { "n": -1.5 }], "note": "h\u{e9}llo", "SECRET": "x",
    });
    let seen = contract.seen(&Call { dialect: Dialect::Json, document: Some(document.into()), ..Call::default() });
    let span = |least, greatest| Span { requests: 1, least, greatest };
    let expected = [("/note", span(5.0, 5.0)), ("/rows", span(2.0, 2.0)), ("/rows/*/n", span(-1.5, 4.0))];
    assert_eq!(seen.places, expected.map(|(at, span)| (at.to_owned(), span)).into_iter().collect());
    let wide: serde_json::Value = {
        let mut rows = vec![serde_json::json!({ "n": 1 }); 100_000];
        rows[99_999] = serde_json::json!({ "n": 2 });
        serde_json::json!({ "rows": rows })
    };
    let seen = contract.seen(&Call { dialect: Dialect::Json, document: Some(wide.into()), ..Call::default() });
    assert_eq!(seen.places["/rows"].greatest, 100_000.0);
    assert_eq!(seen.places["/rows/*/n"].greatest, 1.0, "only the first of so many are looked at");
}

#[test]
fn wishes_of_chats_are_told_by_the_words_of_the_contract() {
    let body = br#"{"model":"m","messages":[{"role":"system","content":"be"},{"role":"user","content":"hello"}],"max_tokens":7}"#;
    let request = openai::request(Endpoint::Chat, body, json::Limits::default()).expect("a chat");
    let openai::Request { prompts, knobs, .. } = request;
    let (contract, _) = compile(&config("{}"), None);
    let seen = contract.seen(&Call { dialect: Dialect::OpenAi, prompts, knobs, ..Call::default() });
    let greatest = |name: &str| seen.texts.get(name).map(|span| span.greatest);
    assert_eq!(
        ["max_chars", "max_message_chars", "max_messages", "max_output_tokens", "max_system_chars"].map(greatest),
        [Some(7.0), Some(5.0), Some(2.0), Some(7.0), Some(2.0)]
    );
}
