//! What the generated schema promises to editors.

use serde_json::{Value, json};

use super::sample::Sample;
use crate::config::schema;

#[test]
fn the_schema_is_valid_titled_described_and_the_same_each_time() {
    let first = schema::<Sample>();
    assert_eq!(jsonschema::draft202012::meta::validate(&first).map_err(|error| error.to_string()), Ok(()));
    assert_eq!(first["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(first["title"], "Sample");
    assert_eq!(first.get("$id"), None);
    assert_eq!(first["properties"]["upstreams"]["description"], "Model servers by name.");
    assert_eq!(first["properties"]["include"]["type"], "array");
    assert_eq!(first.to_string(), schema::<Sample>().to_string());
}

#[test]
fn every_struct_is_closed_and_every_map_of_named_things_is_open() {
    fn objects(value: &Value, closed: &mut usize, open: &mut usize) {
        let kind = value.get("type");
        if kind == Some(&json!("object")) || kind == Some(&json!(["object", "null"])) {
            match value.get("additionalProperties") {
                Some(Value::Bool(false)) => *closed += 1,
                Some(Value::Object(_)) if value.get("properties").is_none() => *open += 1,
                other => panic!("{other:?} in {value}"),
            }
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| objects(item, closed, open)),
            Value::Object(members) => members.values().for_each(|member| objects(member, closed, open)),
            _ => {}
        }
    }
    let (mut closed, mut open) = (0, 0);
    objects(&schema::<Sample>(), &mut closed, &mut open);
    // The open ones: four named sections, `labels`, `pepper`.
    assert!(closed >= 14, "{closed}");
    assert_eq!(open, 6);
}

#[test]
fn flattened_parts_are_written_out_where_they_stand() {
    let schema = schema::<Sample>();
    let route = &schema["$defs"]["Route"];
    assert!(route["properties"].get("log").is_some(), "{route}");
    assert_eq!(route.get("unevaluatedProperties"), None);
}

#[test]
fn a_flattened_enum_becomes_alternatives_that_each_hold_the_whole() {
    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Outer {
        name: String,
        #[serde(flatten)]
        kind: Kind,
    }
    #[derive(schemars::JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Kind {
        A { a: u8 },
        B { b: u8 },
    }
    let schema = schema::<Outer>();
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    assert!(validator.is_valid(&json!({"name": "n", "kind": "a", "a": 1})), "{schema}");
    assert!(!validator.is_valid(&json!({"name": "n", "kind": "a", "b": 1})));
    assert!(!validator.is_valid(&json!({"kind": "a", "a": 1})));
    assert!(!validator.is_valid(&json!({"name": "n", "kind": "a", "a": 1, "x": 1})));
}
