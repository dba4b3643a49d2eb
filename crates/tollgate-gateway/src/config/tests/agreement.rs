//! Our checker against a general JSON Schema validator: on random documents both accept and refuse the same.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};

use super::sample::{GOOD, Sample, load_text};
use crate::config::{Sources, load, schema};

#[test]
fn random_documents_are_refused_by_both_or_by_none() {
    let mut schema = schema::<Sample>();
    // `1.0` is an integer to JSON Schema and none to serde; the loader takes `include` out.
    drop(schema.get_mut("properties").and_then(Value::as_object_mut).and_then(|p| p.remove("include")));
    let socket_address = |text: &str| text.parse::<SocketAddr>().is_ok();
    let options = jsonschema::options().should_validate_formats(true).with_format("socket-address", socket_address);
    let oracle = options.build(&schema).expect("a valid schema");
    let (accepted, refused) = (Cell::new(0_u32), Cell::new(0_u32));
    let good = good_as_json();
    let strategy = (0..200_usize, leaf(), any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 1_500, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |(at, leaf, remove)| {
        let mut document = good.clone();
        mutate(&mut document, &mut { at }, &leaf, remove);
        let text = document.to_string();
        let report = load_text(&text).err();
        let shape_refused = report.as_ref().is_some_and(|report| !format!("{report}").contains("multiple of 13"));
        let counter = if shape_refused { &refused } else { &accepted };
        counter.set(counter.get() + 1);
        if oracle.is_valid(&document) == shape_refused {
            let words = report.map(|report| report.to_string()).unwrap_or_default();
            return Err(TestCaseError::fail(format!("{document}\n{words}\n{:?}", oracle.validate(&document).err())));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (accepted, refused) = (accepted.get(), refused.get());
    assert!(accepted > 50 && refused > 200, "{accepted} accepted, {refused} refused");
}

/// The good file as the loader sees it: JSON is YAML, so it can be written back.
fn good_as_json() -> Value {
    let env = |_: &str| Some("127.0.0.1:1".to_owned());
    let text = GOOD.replace("${NUMBER}", "16").replace("$${x}", "x");
    let read = |_: &Path| Ok(text.clone().into_bytes());
    let list = |_: &Path| Ok(Vec::new());
    let loaded = load::<Sample>(Path::new("x"), &Sources { read: &read, list: &list, env: &env });
    let value = serde_json::to_value(loaded.expect("a good file").value).expect("the sample serialises");
    without_nulls(value)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![
            Just(0_i64),
            Just(1),
            Just(2),
            Just(255),
            Just(256),
            Just(65_535),
            Just(65_536),
            Just(-1),
            any::<i64>()
        ]
        .prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1.5), Just(-0.25)].prop_map(Value::from),
        prop::sample::select(vec![
            "x",
            "",
            "public",
            "strict",
            "http",
            "tcp",
            "hash",
            "round_robin",
            "GET",
            "30s",
            "64KiB",
            "secret://env/X",
            "1.1.1.1:1",
        ])
        .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["x"])),
        Just(json!([1, 2])),
        Just(json!({"x": 1})),
        Just(json!({"kind": "http", "path": "/"})),
        Just(json!({"hash": {"header": "h"}})),
        Just(json!({"from": "a", "to": "b"})),
        Just(json!({"name": "a", "path": "b"})),
    ]
}

/// Replaces, or removes, or joins a stranger to, the value that is met as number `at`.
fn mutate(value: &mut Value, at: &mut usize, leaf: &Value, remove: bool) {
    if *at == 0 {
        match value {
            Value::Object(members) if remove => drop(members.insert("stranger".to_owned(), leaf.clone())),
            Value::Array(items) if remove => items.push(leaf.clone()),
            other => *other = leaf.clone(),
        }
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Value::Object(members) => {
            for key in members.keys().cloned().collect::<Vec<_>>() {
                if *at == 0 && remove {
                    members.remove(&key);
                    *at = usize::MAX;
                    return;
                }
                if let Some(member) = members.get_mut(&key) {
                    mutate(member, at, leaf, remove);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, at, leaf, remove)),
        _ => {}
    }
}
