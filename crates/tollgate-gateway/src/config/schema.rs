//! The JSON Schema (draft 2020-12) of a configuration type: for the shape check, for `tollgate schema`, for editors.
//!
//! Made plainer than schemars leaves it, so that checker and editors see the same: every struct is closed
//! (`additionalProperties: false`), and flattened or referenced parts are written out where they stand. A field of a
//! number or boolean type does not mention that `${NAME}` may stand there; only the loader knows.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::secret_ref::SecretRef;

/// References nested deeper than this are left alone; no type of ours comes near.
const DEEPEST: usize = 16;

/// The schema of `T`, with descriptions from doc comments, and with the `include` key that the loader adds.
#[must_use]
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let mut root = settings.into_generator().into_root_schema_for::<T>().to_value();
    // What stands at a reference may be a secret by mistake: its format keeps the checks from repeating it.
    if let Some(reference) = root.pointer_mut("/$defs/SecretRef").and_then(Value::as_object_mut) {
        reference.entry("format").or_insert_with(|| SecretRef::FORMAT.into());
    }
    let defs = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    plain(&mut root, &defs);
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("include".to_owned(), include());
    }
    root
}

fn include() -> Value {
    json!({
        "description": "Further files, relative to this one; `*` matches within a file name. Their named entries are \
            merged; a name that is defined twice is an error.",
        "type": "array",
        "items": { "type": "string" },
    })
}

/// Writes composed objects out and closes them, here and below.
fn plain(schema: &mut Value, defs: &Map<String, Value>) {
    let Some(object) = schema.as_object_mut() else { return };
    if composed(object) {
        let annotations = std::mem::take(object);
        *object = merged(Map::new(), &annotations, defs, 0);
    }
    for (keyword, value) in object.iter_mut() {
        match (keyword.as_str(), value) {
            ("$defs" | "patternProperties" | "properties", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| plain(schema, defs));
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| plain(schema, defs));
            }
            ("additionalProperties" | "items", schema) => plain(schema, defs),
            _ => {}
        }
    }
    // schemars states the limits of 8 and 16 bits; those of 64 bits are the parser's.
    let limits = match object.get("format").and_then(Value::as_str) {
        Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Some("uint32") => Some((0, i64::from(u32::MAX))),
        _ => None,
    };
    if let Some((least, most)) = limits {
        object.entry("minimum").or_insert_with(|| Value::from(least));
        object.entry("maximum").or_insert_with(|| Value::from(most));
    }
    let is_object = match object.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
        None => false,
    };
    if is_object && !object.contains_key("patternProperties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    object.remove("unevaluatedProperties");
}

/// Whether an object is spread over several schemas that stand side by side.
fn composed(object: &Map<String, Value>) -> bool {
    let own = object.contains_key("properties");
    let spread = ["$ref", "allOf", "anyOf", "oneOf"].into_iter().any(|keyword| object.contains_key(keyword));
    own && spread
}

/// One object schema out of `base` and `part`; alternatives in `part` are each joined with the rest.
fn merged(
    mut base: Map<String, Value>,
    part: &Map<String, Value>,
    defs: &Map<String, Value>,
    depth: usize,
) -> Map<String, Value> {
    let mut alternatives: Vec<&Value> = Vec::new();
    for (keyword, value) in part {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(more)) => {
                if let Some(Value::Object(have)) = base.get_mut(keyword) {
                    more.iter().for_each(|(name, schema)| drop(have.insert(name.clone(), schema.clone())));
                } else {
                    base.insert(keyword.clone(), value.clone());
                }
            }
            ("required", Value::Array(more)) => {
                if let Some(Value::Array(have)) = base.get_mut(keyword) {
                    have.extend(more.iter().cloned());
                } else {
                    base.insert(keyword.clone(), value.clone());
                }
            }
            ("anyOf" | "oneOf", Value::Array(branches)) => alternatives.extend(branches),
            ("$ref" | "allOf", _) => {}
            _ => {
                base.entry(keyword.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if depth >= DEEPEST {
        return base;
    }
    if let Some(target) = part.get("$ref").and_then(|target| resolve(target, defs)) {
        base = merged(base, target, defs, depth + 1);
    }
    for part in part.get("allOf").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        base = merged(base, part, defs, depth + 1);
    }
    if alternatives.is_empty() {
        return base;
    }
    let joined = |branch: &Value| match branch.as_object() {
        Some(branch) => Value::Object(merged(without_annotations(&base), branch, defs, depth + 1)),
        None => branch.clone(),
    };
    let branches: Vec<Value> = alternatives.into_iter().map(joined).collect();
    let mut out: Map<String, Value> =
        base.into_iter().filter(|(keyword, _)| ANNOTATIONS.contains(&keyword.as_str())).collect();
    out.insert("anyOf".to_owned(), Value::Array(branches));
    out
}

const ANNOTATIONS: &[&str] = &["$defs", "$schema", "default", "description", "title"];

fn without_annotations(base: &Map<String, Value>) -> Map<String, Value> {
    let kept = base.iter().filter(|(keyword, _)| !ANNOTATIONS.contains(&keyword.as_str()));
    kept.map(|(keyword, value)| (keyword.clone(), value.clone())).collect()
}

fn resolve<'d>(target: &Value, defs: &'d Map<String, Value>) -> Option<&'d Map<String, Value>> {
    defs.get(target.as_str()?.strip_prefix("#/$defs/")?)?.as_object()
}
