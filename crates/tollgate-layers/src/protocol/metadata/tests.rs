//! Documents of servers, and what is made of them.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::Dtype;

use super::{Listed, Told, body_schema, differences, pbtxt, read};

/// JSON that is shaped somewhat like such documents.
fn any_document() -> impl Strategy<Value = Value> {
    let words = [
        "openapi",
        "paths",
        "post",
        "requestBody",
        "content",
        "application/json",
        "schema",
        "$ref",
        "responses",
        "200",
        "inputs",
        "input",
    ];
    let more =
        ["name", "datatype", "shape", "dims", "data_type", "data", "models", "id", "properties", "items", "nullable"];
    let key = proptest::sample::select([words.as_slice(), more.as_slice()].concat());
    let text = prop_oneof![Just("3.1.0"), Just("FP32"), Just("TYPE_INT8"), Just("#/components/schemas/A"), Just("x")];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
        Just(json!(-1)),
        Just(json!(1.5))
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(mut document in any_document(), version in proptest::sample::select(vec!["3.0.0", "3.1.0"])) {
        drop(read(&document));
        if let Some(members) = document.as_object_mut() {
            members.insert("openapi".to_owned(), version.into());
            drop(read(&document));
            drop(body_schema(&document, "/p"));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z{}<>\\[\\]:;,\"'#\\\\ \n0-9.-]{0,80}") {
        drop(pbtxt(&text));
    }
}

fn batch() -> Dim {
    Dim::Symbolic("batch".into())
}

fn model(document: &Value) -> super::Ports {
    match read(document) {
        Ok(Told::Model(ports)) => ports,
        other => panic!("{other:?}"),
    }
}

#[test]
fn metadata_of_the_open_inference_protocol_is_read() {
    let told = model(&json!({
        "name": "linear", "platform": "python", "versions": ["1"],
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 4] }],
        "outputs": [{ "name": "y", "datatype": "BYTES", "shape": [-1, -1] }],
    }));
    assert_eq!(told.name.as_deref(), Some("linear"));
    assert_eq!(told.inputs, [Port { name: "x".into(), dtype: Dtype::Fp32, dims: vec![batch(), Dim::Fixed(4)] }]);
    assert_eq!(told.outputs[0].dims, [batch(), Dim::Symbolic("y_1".into())]);
}

#[test]
fn a_configuration_of_triton_says_the_batch_apart() {
    let text = r#"
        name: "resnet" # a comment
        platform: "onnxruntime_onnx"
        max_batch_size: 16
        input [ { name: "image", data_type: TYPE_FP32, format: FORMAT_NCHW, dims: [ 3, 224, -1 ] } ]
        output { name: 'prob' data_type: TYPE_STRING dims: 1000 label_filename: "labels.txt" }
        instance_group [ { count: 2 kind: KIND_CPU } ]
        parameters: { key: "a", value: { string_value: "b" } }
        dynamic_batching < max_queue_delay_microseconds: 100 >
    "#;
    let json = pbtxt(text).expect("a configuration");
    let told = model(&json);
    assert_eq!((told.name.as_deref(), told.max_batch), (Some("resnet"), Some(16)));
    assert_eq!(told.inputs[0].dims, [batch(), Dim::Fixed(3), Dim::Fixed(224), Dim::Symbolic("image_3".into())]);
    assert_eq!((told.outputs[0].dtype, &told.outputs[0].dims[1]), (Dtype::Bytes, &Dim::Fixed(1000)));
    // As the server tells it: 64 bits as texts.
    let json = json!({ "max_batch_size": 0, "input": [{ "name": "x", "data_type": "TYPE_INT64", "dims": ["4"] }] });
    assert_eq!((model(&json).inputs[0].dims.as_slice(), model(&json).max_batch), (&[Dim::Fixed(4)][..], None));
}

#[test]
fn metadata_of_tensorflow_serving_is_read() {
    let dims = json!({ "dim": [{ "size": "-1", "name": "" }, { "size": "3" }], "unknown_rank": false });
    let port = json!({ "dtype": "DT_FLOAT", "tensor_shape": dims, "name": "x:0" });
    let signature = json!({ "serving_default": { "inputs": { "x": port }, "outputs": {} } });
    let told = model(
        &json!({ "model_spec": { "name": "m" }, "metadata": { "signature_def": { "signature_def": signature } } }),
    );
    assert_eq!(told.inputs, [Port { name: "x".into(), dtype: Dtype::Fp32, dims: vec![batch(), Dim::Fixed(3)] }]);
}

#[test]
fn lists_of_models_are_read() {
    let listed = |name: &str, max_tokens| Listed { name: name.to_owned(), max_tokens };
    let openai = json!({ "object": "list", "data": [{ "id": "a/b", "max_model_len": 512 }, { "object": "model" }] });
    assert_eq!(read(&openai), Ok(Told::List(vec![listed("a/b", Some(512))])));
    assert_eq!(read(&json!({ "models": ["doubler"] })), Ok(Told::List(vec![listed("doubler", None)])));
    assert_eq!(read(&json!({ "models": [{ "name": "x:8b" }] })), Ok(Told::List(vec![listed("x:8b", None)])));
}

#[test]
fn what_is_no_such_document_is_an_error_and_never_a_panic() {
    for document in [
        json!(null),
        json!([]),
        json!({ "openapi": 3 }),
        json!({ "openapi": "2.0", "paths": {} }),
        json!({ "openapi": "3.1.0" }),
        json!({ "inputs": [{ "name": "x", "datatype": "FP33", "shape": [1] }] }),
        json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1.5] }] }),
        json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1] }] }),
        json!({ "inputs": [{}] }),
        json!({ "input": [{ "name": "x", "data_type": "FP32", "dims": [1] }] }),
    ] {
        assert!(read(&document).is_err(), "{document}");
    }
    for text in ["input [", "name", "a: \"", "}", "a { b { ", &"a {".repeat(10_000), &"a: [".repeat(10_000)] {
        assert!(pbtxt(text).is_err(), "{}", &text[..text.len().min(20)]);
    }
}

#[test]
fn a_difference_is_told_and_a_narrower_contract_is_none() {
    let port = |name: &str, dtype, dims: &[Dim]| Port { name: name.into(), dtype, dims: dims.to_vec() };
    let contract =
        Signature { inputs: vec![port("x", Dtype::Fp32, &[batch(), Dim::Fixed(4)])], ..Signature::default() };
    let told = |shape: Value, datatype: &str| {
        model(&json!({ "inputs": [{ "name": "x", "datatype": datatype, "shape": shape }] }))
    };
    assert_eq!(differences(&contract, &told(json!([-1, 4]), "FP32")), Vec::<String>::new());
    assert_eq!(differences(&contract, &told(json!([-1, -1]), "FP32")), Vec::<String>::new());
    assert_eq!(differences(&contract, &model(&json!({ "inputs": [] }))), Vec::<String>::new());
    assert_eq!(
        differences(&contract, &told(json!([-1, 5]), "FP32")),
        ["input `x` is [batch, 5] at the server, [batch, 4] in the contract"]
    );
    assert_eq!(
        differences(&contract, &told(json!([-1, 4]), "FP64")),
        ["input `x` is FP64 at the server, FP32 in the contract"]
    );
    let other = model(&json!({ "inputs": [{ "name": "z", "datatype": "FP32", "shape": [-1, 4] }] }));
    assert_eq!(differences(&contract, &other), ["the server has an input `z` more", "the server has no input `x`"]);
}

fn document(version: &str, schema: &Value) -> Value {
    json!({
        "openapi": version,
        "paths": { "/p": { "post": { "requestBody": { "content": { "application/json": { "schema": schema } } } } } },
        "components": { "schemas": {
            "Item": { "title": "Item", "type": "object", "properties": {
                "title": { "type": "string", "maxLength": 3, "title": "Title", "example": "x" },
                "next": { "$ref": "#/components/schemas/Item" },
            }, "required": ["title"] },
            "Unused": { "type": "string" },
        } },
    })
}

#[test]
fn references_come_inside_and_words_for_people_stay_outside() {
    let schema = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Item" }, "maxItems": 2, "x-y": 1 });
    let found = body_schema(&document("3.1.0", &schema), "/p").expect("a schema");
    let item = json!({
        "type": "object", "required": ["title"],
        "properties": { "title": { "type": "string", "maxLength": 3 }, "next": { "$ref": "#/$defs/Item" } },
    });
    let expected =
        json!({ "type": "array", "items": { "$ref": "#/$defs/Item" }, "maxItems": 2, "$defs": { "Item": item } });
    assert_eq!(found, expected);
    let schema = jsonschema::validator_for(&found).expect("it is one");
    assert!(schema.is_valid(&json!([{ "title": "abc", "next": { "title": "a" } }])));
    assert!(!schema.is_valid(&json!([{ "title": "abc", "next": { "title": "abcd" } }])));
}

#[test]
fn schemas_of_the_old_version_are_translated() {
    let schema = json!({ "type": "object", "required": ["id", "n"], "properties": {
        "id": { "type": "integer", "readOnly": true },
        "n": { "type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false },
        "s": { "type": "string", "nullable": true, "enum": ["a"] },
        "i": { "$ref": "#/components/schemas/Item", "nullable": true },
        "nullable": { "type": "string" },
    } });
    let found = body_schema(&document("3.0.3", &schema), "/p").expect("a schema");
    let schema = jsonschema::validator_for(&found).expect("it is one");
    for (body, valid) in [
        (json!({ "n": 1 }), true),
        (json!({ "n": 0 }), false),
        (json!({ "n": 9 }), true),
        (json!({ "n": 10 }), false),
        (json!({}), false),
        (json!({ "n": 1, "s": null }), true),
        (json!({ "n": 1, "s": "a" }), true),
        (json!({ "n": 1, "s": "b" }), false),
        (json!({ "n": 1, "nullable": null }), false),
    ] {
        assert_eq!(schema.is_valid(&body), valid, "{body} by {found}");
    }
}

#[test]
fn the_only_good_answer_in_json_is_told_as_the_server_writes_it() {
    let schema = json!({ "type": "object", "required": ["id", "secret", "at"], "properties": {
        "id": { "type": "integer", "readOnly": true },
        "secret": { "type": "string", "writeOnly": true },
        "at": { "type": "string", "format": "date-time" },
        "item": { "$ref": "#/components/schemas/Item" },
    } });
    let told = |answers: &Value| {
        let mut document = document("3.1.0", &json!({}));
        document["paths"]["/p"]["post"]["responses"] = answers.clone();
        document["components"]["responses"] =
            json!({ "Good": { "content": { "application/json": { "schema": schema } } } });
        let Ok(Told::OpenApi(mut told)) = read(&document) else { panic!("a document") };
        told.operations.pop().expect("a path").reply
    };
    let good = json!({ "content": { "application/json; charset=utf-8": { "schema": schema } } });
    let found = told(&json!({ "201": good, "422": { "content": {} } })).expect("a schema");
    assert_eq!(told(&json!({ "200": { "$ref": "#/components/responses/Good" } })), Some(found.clone()));
    let schema = jsonschema::validator_for(&found).expect("it is one");
    assert!(schema.is_valid(&json!({ "id": 1, "at": "just now", "item": { "title": "abc" } })));
    assert!(!schema.is_valid(&json!({ "at": "just now" })) && !schema.is_valid(&json!({ "id": 1, "at": 5 })));
    for nothing in [
        json!({}),
        json!({ "200": good, "202": good }),
        json!({ "204": { "description": "nothing" } }),
        json!({ "200": { "content": { "application/json": { "schema": {} } } } }),
        json!({ "200": { "content": { "text/event-stream": { "schema": { "type": "string" } } } } }),
        json!({ "200": { "content": { "application/json": { "schema": { "type": "string" } }, "text/plain": {} } } }),
        json!({ "200": { "content": { "application/json": { "schema": { "$ref": "https://evil.test/x.json" } } } } }),
        json!({ "200": { "$ref": "#/paths/~1p" } }),
        json!({ "200": 5 }),
    ] {
        assert_eq!(told(&nothing), None, "{nothing}");
    }
}

#[test]
fn a_document_says_what_stays_closed_and_why() {
    let mut document = document("3.1.0", &json!({ "$ref": "https://evil.test/x.json" }));
    let form = json!({ "requestBody": { "content": { "multipart/form-data": { "schema": {} } } } });
    document["paths"]["/upload"] = json!({ "get": {}, "post": form });
    document["paths"]["/ok"] =
        json!({ "post": { "requestBody": { "content": { "application/json; x=y": { "schema": true } } } } });
    let Ok(Told::OpenApi(told)) = read(&document) else { panic!("a document") };
    assert_eq!(told.operations.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["/ok"]);
    assert_eq!(
        told.closed,
        [
            "POST /p: `https://evil.test/x.json` leads out of `components`",
            "GET /upload",
            "POST /upload: its body is multipart/form-data",
        ]
    );
}

#[test]
fn endless_schemas_end() {
    let mut deep = json!(true);
    for _ in 0..200 {
        deep = json!({ "not": deep });
    }
    assert!(body_schema(&document("3.1.0", &deep), "/p").is_err());
    let wide = json!({ "anyOf": vec![json!({}); 30_000] });
    assert!(body_schema(&document("3.1.0", &wide), "/p").is_err());
    let mut doubling = document("3.1.0", &json!({ "$ref": "#/components/schemas/S0" }));
    for at in 0..60 {
        let next = json!({ "$ref": format!("#/components/schemas/S{}", at + 1) });
        doubling["components"]["schemas"][format!("S{at}")] = json!({ "allOf": [next, next] });
    }
    doubling["components"]["schemas"]["S60"] = json!({});
    // Each is brought in once: 2 to the power of 60 would not end.
    let found = body_schema(&doubling, "/p").expect("a schema");
    assert_eq!(found["$defs"].as_object().map(serde_json::Map::len), Some(60));
}
