//! Bodies and their verdicts, from `cases/`; and what no list of cases can show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use proptest::prelude::*;
use serde::Deserialize;
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dialect, Dtype, ModelId, Values};
use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Refusal, Stop};

use super::{Given, Parse, ParseConfig, ParseModel, fuzz_oip, fuzz_plain, oip_call};
use crate::contract::{Contract, ContractConfig};
use crate::hygiene::Head;
use crate::protocol::{Wrong, json, oip};
use crate::routes::{self, RouteConfig, RouteNames, Routes};

/// A file of `cases/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    route: String,
    contract: ContractConfig,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    it: String,
    body: Option<String>,
    hex: Option<String>,
    tensor: Option<TensorCase>,
    binary: Option<BinaryCase>,
    headers: Option<Vec<String>>,
    path: Option<String>,
    verdict: Option<String>,
    at: Option<String>,
    index: Option<u64>,
    found: Option<String>,
    unknown: Option<u32>,
    shape: Option<Vec<u64>>,
}

/// An OIP body with one input `x`: what is not said is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorCase {
    shape: Option<String>,
    datatype: Option<String>,
    data: Option<String>,
}

/// A body of JSON and tensors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryCase {
    inputs: Option<String>,
    tail: String,
    /// What the header says, if not the truth; `whole` for the whole body.
    length: Option<String>,
}

impl BinaryCase {
    fn json(&self) -> String {
        let row = r#"{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}"#;
        format!(r#"{{"inputs":[{}]}}"#, self.inputs.as_deref().unwrap_or(row))
    }

    fn bytes(&self) -> Vec<u8> {
        [self.json().into_bytes(), bytes_of(&self.tail)].concat()
    }

    fn length(&self) -> String {
        match self.length.as_deref() {
            None => self.json().len().to_string(),
            Some("whole") => self.bytes().len().to_string(),
            Some(said) => said.to_owned(),
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        if let Some(hex) = &self.hex {
            return bytes_of(hex);
        }
        if let Some(binary) = &self.binary {
            return binary.bytes();
        }
        if let Some(body) = &self.body {
            return body.clone().into_bytes();
        }
        let tensor = self.tensor.as_ref().expect("a body");
        let shape = tensor.shape.as_deref().unwrap_or("[1,4]");
        let dtype = tensor.datatype.as_deref().unwrap_or("FP32");
        let data = tensor.data.as_deref().unwrap_or("[1,2,3,4]");
        format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{dtype}","data":{data}}}]}}"#).into_bytes()
    }

    fn head(&self, route: &str) -> Head {
        let default = if route == "oip" { "/v2/models/m/infer" } else { "/predict" };
        let mut headers = HeaderMap::new();
        let json = ["content-type: application/json".to_owned()];
        for line in self.headers.as_deref().unwrap_or(&json) {
            let (name, value) = line.split_once(": ").expect("a field");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        if let Some(binary) = &self.binary {
            let value = HeaderValue::from_str(&binary.length()).expect("a value");
            headers.append(oip::binary::HEADER, value);
        }
        head(Method::POST, self.path.as_deref().unwrap_or(default), headers)
    }

    /// Whether `ruling` is as promised.
    fn agrees(&self, ruling: Result<Call, Refusal>) -> bool {
        match (ruling, self.verdict.as_deref()) {
            (Ok(call), None) => {
                let shape = call.inputs.first().map(|tensor| tensor.shape.clone());
                call.model == Some(ModelId(0))
                    && call.unknown_members == self.unknown.unwrap_or(0)
                    && self.shape.as_ref().is_none_or(|wanted| Some(wanted) == shape.as_ref())
            }
            (Err(refusal), Some(verdict)) => {
                let spot = refusal.spot.as_deref();
                refusal.code.name() == verdict
                    && self.at.as_deref().is_none_or(|at| spot.is_some_and(|spot| spot.pointer == at))
                    && self.found.as_deref().is_none_or(|found| spot.is_some_and(|spot| spot.found == found))
                    && spot.and_then(|spot| spot.index) == self.index
            }
            _ => false,
        }
    }
}

fn head(method: Method, target: &str, headers: HeaderMap) -> Head {
    let uri = target.parse().expect("a target");
    Head { method, uri, version: Version::HTTP_11, headers, host: "gate.test".into() }
}

/// Routes over the models `m` and `hidden`; the latter is served by none.
fn routes() -> Routes {
    let yaml = "
- { name: oip, path: '/v2/{*rest}', protocol: oip, models: [m] }
- { name: plain, path: /predict, protocol: plain, models: [m] }
- { name: any, path: /any, protocol: none, upstream: u }
";
    let config: Vec<RouteConfig> = serde_saphyr::from_str(yaml).expect("routes");
    let models = BTreeMap::from([("m".to_owned(), ModelId(0)), ("hidden".to_owned(), ModelId(1))]);
    let upstreams = BTreeMap::from([("u".to_owned(), 0)]);
    let mut check = Checker::default();
    let names = RouteNames { models: &models, upstreams: &upstreams, classes: &BTreeSet::new() };
    let routes = routes::compile(&config, &mut check, &names);
    assert_eq!(check.finish().0, []);
    routes
}

fn parse_for(contract: Contract) -> Parse {
    let hidden = ParseModel { name: "hidden".into(), contract: Arc::default() };
    let models = vec![ParseModel { name: "m".into(), contract: Arc::new(contract) }, hidden];
    let mut check = Checker::default();
    let parse = ParseConfig::default().compile(&mut check, models);
    assert_eq!(check.finish().0, []);
    parse
}

fn call(parse: &Parse, head: &Head, body: &[u8]) -> Result<Call, Refusal> {
    let routes = routes();
    let found = routes.find(head).expect("a route");
    parse.call(Given { head, found: &found, body: &Bytes::copy_from_slice(body) }).map_err(|stop| match stop {
        Stop::Refuse(refusal) => *refusal,
        Stop::Fault(fault) => panic!("parsing cannot fail: {fault:?}"),
    })
}

fn run(yaml: &str) -> usize {
    let file: File = serde_saphyr::from_str(yaml).expect("a file of cases");
    let mut check = Checker::default();
    let parse = parse_for(file.contract.compile(&mut check, None));
    assert_eq!(check.finish().0, [], "{}", file.what);
    let mut failed = Vec::new();
    for case in &file.cases {
        let ruling = call(&parse, &case.head(&file.route), &case.bytes());
        let shown = format!("it {}: {ruling:?}", case.it);
        if !case.agrees(ruling) {
            failed.push(shown);
        }
    }
    assert!(failed.is_empty(), "{}:\n{}", file.what, failed.join("\n"));
    file.cases.len()
}

#[test]
fn malformed_json_is_refused() {
    assert!(run(include_str!("cases/json.yaml")) >= 80);
}

#[test]
fn oip_bodies_are_judged_by_their_structure() {
    assert!(run(include_str!("cases/oip.yaml")) >= 80);
}

#[test]
fn binary_tensors_are_cut_as_their_sizes_say() {
    assert!(run(include_str!("cases/binary.yaml")) >= 40);
}

#[test]
fn each_type_takes_its_own_values() {
    assert!(run(include_str!("cases/numbers.yaml")) >= 30);
}

#[test]
fn plain_bodies_are_judged_by_the_signature() {
    run(include_str!("cases/plain.yaml"));
    run(include_str!("cases/plain_members.yaml"));
}

#[test]
fn heads_decide_what_is_read() {
    run(include_str!("cases/heads.yaml"));
}

#[test]
fn the_readme_shows_configuration_that_loads() {
    #[derive(Deserialize)]
    struct Shown {
        parse: ParseConfig,
    }
    let blocks = include_str!("README.md").split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().expect("an end")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let shown: Shown = serde_saphyr::from_str(block).expect("it parses");
        let mut check = Checker::default();
        shown.parse.compile(&mut check, Vec::new());
        assert_eq!(check.finish().0, []);
    }
}

#[test]
fn bounds_beyond_reason_are_mistakes() {
    let mut check = Checker::default();
    ParseConfig { max_depth: 129, max_keys: 3 }.compile(&mut check, Vec::new());
    assert_eq!(check.finish().0.len(), 2);
}

fn oip(body: &[u8]) -> Result<Call, Wrong> {
    oip::request(body, json::Limits::default()).map(oip_call)
}

#[test]
fn nothing_the_client_wrote_but_numbers_reaches_the_spot() {
    let marker = "MARKER";
    let bodies = [
        r#"{"id":"MARKER MARKER"}"#,
        r#"{"MARKER":1}"#,
        r#"{"parameters":{"MARKER":1}}"#,
        r#"{"inputs":[{"name":"x","shape":["MARKER"]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"MARKER"}]}"#,
        r#"{"inputs":[{"name":"MARKER"},{"name":"MARKER"}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":["MARKER"]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[MARKER]}]}"#,
    ];
    for body in bodies {
        let Err(wrong) = oip(body.as_bytes()) else { panic!("taken: {body}") };
        let refusal = wrong.refusal();
        assert!(!format!("{refusal:?}").contains(marker), "{refusal:?}");
    }
}

#[test]
fn fifty_thousand_brackets_are_refused_without_recursion() {
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let body = format!("{{\"inputs\":{}", open.repeat(50_000));
        let Err(Wrong::Malformed(malformed)) = oip(body.as_bytes()) else { panic!("taken") };
        assert_eq!(malformed.what, json::What::Depth);
    }
    let data = format!(
        r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{}{}}}]}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let Err(Wrong::Malformed(malformed)) = oip(data.as_bytes()) else { panic!("taken") };
    assert_eq!(malformed.what, json::What::Depth);
}

#[test]
fn keys_beyond_the_cap_are_refused_and_those_below_cost_little() {
    let object = |keys: usize| {
        let members: Vec<_> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(json::validate(object(1_024).as_bytes(), json::Limits::default()).is_ok());
    let over = json::validate(object(1_025).as_bytes(), json::Limits::default()).expect_err("too many");
    assert_eq!(over.what, json::What::Keys);
    let twice = object(1_000).replace("\"k999\"", "\"\\u006b17\"");
    let twice = json::validate(twice.as_bytes(), json::Limits::default()).expect_err("a duplicate");
    assert_eq!(twice.what, json::What::DuplicateKey);
    // A megabyte of full objects: seconds if each key were compared with each, in a test build.
    let many = format!("[{}]", vec![object(1_024); 100].join(","));
    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    let started = std::time::Instant::now();
    assert!(json::validate(many.as_bytes(), json::Limits::default()).is_ok());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn values_arrive_as_written() {
    let body = br#"{"inputs":[
        {"name":"a","shape":[2],"datatype":"FP32","data":[0.1,-2e3]},
        {"name":"b","shape":[1,2],"datatype":"INT64","data":[[-1,9007199254740993]]},
        {"name":"c","shape":[1],"datatype":"BYTES","data":["\u00e9\n"]},
        {"name":"d","shape":[2],"datatype":"BOOL","data":[true,false]},
        {"name":"e","shape":[1],"datatype":"UINT64","data":[18446744073709551615]},
        {"name":"f","shape":[1],"datatype":"FP64","data":[0.30000000000000004]}
    ],"outputs":[{"name":"y"}],"id":"i"}"#;
    let call = oip(body).expect("it is taken");
    let values: Vec<_> = call.inputs.iter().map(|tensor| tensor.values.clone()).collect();
    let expected = [
        Values::F32(vec![0.1, -2e3]),
        Values::Int(vec![-1, 9_007_199_254_740_993]),
        Values::Bytes(vec!["é\n".as_bytes().into()]),
        Values::Bool(vec![true, false]),
        Values::Uint(vec![u64::MAX]),
        Values::F64(vec![0.300_000_000_000_000_04]),
    ];
    assert_eq!(values, expected);
    assert_eq!(&body[call.inputs[1].at.clone()], b"[[-1,9007199254740993]]");
    assert_eq!(call.inputs[1].shape, [1, 2]);
    assert_eq!((call.dialect, call.id.as_deref(), call.outputs.len()), (Dialect::Oip, Some("i"), 1));
}

#[test]
fn data_before_its_shape_gives_the_same_call() {
    let late = br#"{"inputs":[{"data":[[1,2],[3,4]],"name":"x","datatype":"FP32","shape":[2,2]}]}"#;
    let early = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4]]}]}"#;
    let (late_call, early_call) = (oip(late).expect("taken"), oip(early).expect("taken"));
    assert_eq!(late_call.inputs[0].values, early_call.inputs[0].values);
    assert_eq!(&late[late_call.inputs[0].at.clone()], b"[[1,2],[3,4]]");
}

#[test]
fn reading_verbs_give_a_call_about_a_model() {
    let parse = parse_for(Contract::default());
    let about = |target: &str, body: &[u8]| {
        let head = head(Method::GET, target, HeaderMap::new());
        call(&parse, &head, body).map(|call| (call.model, call.dialect)).map_err(|refusal| refusal.code)
    };
    assert_eq!(about("/v2/models/m", b""), Ok((Some(ModelId(0)), Dialect::Other)));
    assert_eq!(about("/v2/models/m/ready", b""), Ok((Some(ModelId(0)), Dialect::Other)));
    assert_eq!(about("/v2/models/hidden", b""), Err(Code::NotFound));
    assert_eq!(about("/v2", b""), Ok((None, Dialect::Other)));
    assert_eq!(about("/v2/health/ready", b"{}"), Err(Code::BadRequest));
    let head = head(Method::POST, "/any", HeaderMap::new());
    let proxied = call(&parse, &head, b"\xff anything").expect("a proxy does not look");
    assert_eq!((proxied.dialect, proxied.body_bytes), (Dialect::Other, 10));
}

#[test]
fn a_plain_body_needs_a_content_type() {
    let parse = parse_for(images());
    let head = head(Method::POST, "/predict", HeaderMap::new());
    let refusal = call(&parse, &head, b"{}").expect_err("it has none");
    assert_eq!(refusal.code, Code::Unsupported);
}

#[test]
fn a_text_model_takes_a_text() {
    let signature = Signature { text: true, ..text_signature() };
    let contract = ContractConfig::default().compile(&mut Checker::default(), Some(&signature));
    let parse = parse_for(contract);
    let json = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let head = head(Method::POST, "/predict", json);
    let taken = call(&parse, &head, br#"{"text":"caf\u00e9","request_id":"r"}"#).expect("a text");
    assert_eq!(taken.inputs[0].values, Values::Bytes(vec!["café".as_bytes().into()]));
    assert_eq!((&*taken.inputs[0].name, taken.inputs[0].shape.as_slice()), ("text", [1].as_slice()));
    let refusal = call(&parse, &head, br#"{"text":["a"]}"#).expect_err("a list");
    assert_eq!(refusal.spot.expect("a spot").pointer, "/text");
}

fn text_signature() -> Signature {
    let dims = vec![Dim::Symbolic("batch".into()), Dim::Fixed(128)];
    Signature { inputs: vec![Port { name: "token_ids".into(), dtype: Dtype::Int64, dims }], ..Signature::default() }
}

/// The contract of an image model: a flat list of 64 numbers is one picture of 8 × 8.
fn images() -> Contract {
    let dims = vec![Dim::Symbolic("batch".into()), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)];
    let port = Port { name: "image".into(), dtype: Dtype::Fp32, dims };
    let signature = Signature { inputs: vec![port], ..Signature::default() };
    ContractConfig::default().compile(&mut Checker::default(), Some(&signature))
}

#[test]
fn a_flat_picture_is_reshaped() {
    let list = vec!["1"; 64].join(",");
    let request = |body: String| {
        crate::protocol::plain::request(body.as_bytes(), json::Limits::default(), images().signature())
            .map(|request| request.inputs[0].shape.clone())
    };
    assert_eq!(request(format!(r#"{{"features":[{list}]}}"#)), Ok(vec![1, 1, 8, 8]));
    let rows = vec![format!("[{}]", ["1"; 8].join(",")); 8].join(",");
    assert_eq!(request(format!(r#"{{"image":[[{rows}]]}}"#)), Ok(vec![1, 1, 8, 8]));
    assert_eq!(request(format!(r#"{{"image":[[[{rows}]],[[{rows}]]]}}"#)), Ok(vec![2, 1, 8, 8]));
    assert!(request(format!(r#"{{"features":[{list},1]}}"#)).is_err());
}

/// Documents that look like calls, some of them well-formed.
fn call_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\"inputs\""),
        Just("\"data\""),
        Just("\"shape\""),
        Just("\"datatype\""),
        Just("\"FP32\""),
        Just("\"INT64\""),
        Just("\"BYTES\""),
        Just("\"name\""),
        Just("\"x\""),
        Just("1"),
        Just("-1.5e3"),
        Just("true"),
        Just("null"),
        Just("\\u0061"),
        Just("\"features\""),
        Just("\"text\""),
        Just("\"request_id\""),
        Just(" "),
        Just("[1,2]"),
        Just("[[1],[2]]"),
        Just("{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":"),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A well-formed body of every type, then changed in a few places.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let bodies = prop_oneof![
        Just(r#"{"id":"i","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[0.5,-1e3],[2,3]]}]}"#),
        Just(r#"{"inputs":[{"data":[9007199254740993,-1,0,7],"datatype":"INT64","shape":[4],"name":"x"}]}"#),
        Just(
            r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"BOOL","data":[true,false]}],"outputs":[{"name":"y"}]}"#
        ),
        Just(
            r#"{"inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data":["a\\u00e9","\\ud83d\\ude00"]}],"more":{"a":[]}}"#
        ),
        Just(
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"UINT8","data":[255]},{"name":"b","shape":[1],"datatype":"FP64","data":[1e308]}]}"#
        ),
    ];
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (bodies, proptest::collection::vec(change, 0..4)).prop_map(|(body, changes)| {
        let mut body = body.as_bytes().to_vec();
        let alphabet = br#"{}[]",:\u0123456789eE+-. truefalsn"#;
        for (place, byte, how) in changes {
            if body.is_empty() {
                break;
            }
            let (at, letter) = (place.index(body.len()), alphabet[usize::from(byte) % alphabet.len()]);
            match how {
                0 => body[at] = letter,
                1 => body.insert(at, letter),
                2 => drop(body.remove(at)),
                _ => body[at] = byte,
            }
        }
        body
    })
}

/// The values of a tensor, as `serde_json` would show them.
fn shown(values: &Values) -> Vec<serde_json::Value> {
    match values {
        Values::Bool(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::Bytes(values) => {
            values.iter().map(|value| serde_json::json!(std::str::from_utf8(value).expect("UTF-8"))).collect()
        }
        Values::F32(values) => values.iter().map(|value| serde_json::json!(f64::from(*value))).collect(),
        Values::F64(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::Int(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::Raw(..) => panic!("JSON has no raw values"),
        Values::Uint(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
    }
}

/// What `serde_json` reads at `data`, flattened, each number in the tensor's type.
fn flattened(data: &serde_json::Value, dtype: Dtype) -> Vec<serde_json::Value> {
    match data {
        serde_json::Value::Array(items) => items.iter().flat_map(|item| flattened(item, dtype)).collect(),
        #[expect(clippy::cast_possible_truncation, reason = "the rounding under test")]
        serde_json::Value::Number(number) if dtype == Dtype::Fp32 => {
            vec![serde_json::json!(f64::from(number.as_f64().expect("a double") as f32))]
        }
        serde_json::Value::Number(number) if dtype == Dtype::Fp64 => vec![serde_json::json!(number.as_f64())],
        // `serde_json` reads -0 as a float.
        serde_json::Value::Number(number) if number.as_f64() == Some(0.0) => vec![serde_json::json!(0)],
        other => vec![other.clone()],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000), ..ProptestConfig::default() })]

    #[test]
    fn a_changed_body_that_is_taken_has_the_values_that_serde_json_reads(body in mutated()) {
        fuzz_oip(&body);
        fuzz_plain(&body);
        if let Ok(call) = oip(&body) {
            let read: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            prop_assert_eq!(read["id"].as_str(), call.id.as_deref());
            for (place, tensor) in call.inputs.iter().enumerate() {
                let input = &read["inputs"][place];
                prop_assert_eq!(input["name"].as_str(), Some(&*tensor.name));
                prop_assert_eq!(input["datatype"].as_str(), Some(tensor.dtype.name()));
                prop_assert_eq!(&input["shape"], &serde_json::json!(tensor.shape));
                prop_assert_eq!(flattened(&input["data"], tensor.dtype), shown(&tensor.values));
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_oip(&body);
        fuzz_plain(&body);
    }

    #[test]
    fn no_call_like_text_makes_it_panic(body in call_like()) {
        fuzz_oip(body.as_bytes());
        fuzz_plain(body.as_bytes());
    }

    #[test]
    fn what_is_taken_has_the_values_that_serde_json_reads(
        rows in proptest::collection::vec(proptest::collection::vec(-1e30_f64..1e30, 3), 1..20),
        nested in any::<bool>(),
    ) {
        let flat: Vec<f64> = rows.iter().flatten().copied().collect();
        let data = if nested { serde_json::json!(rows) } else { serde_json::json!(flat) };
        let body = serde_json::json!({"inputs": [
            {"name": "x", "shape": [rows.len(), 3], "datatype": "FP64", "data": data},
            {"name": "y", "shape": [rows.len(), 3], "datatype": "FP32", "data": data},
        ]});
        let call = oip(body.to_string().as_bytes()).expect("it is well-formed");
        #[expect(clippy::cast_possible_truncation, reason = "the rounding under test")]
        let singles: Vec<f32> = flat.iter().map(|value| *value as f32).collect();
        prop_assert_eq!(&call.inputs[0].values, &Values::F64(flat));
        prop_assert_eq!(&call.inputs[1].values, &Values::F32(singles));
    }
}
