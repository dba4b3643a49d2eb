//! Names of models and routes for the paths of an OpenAPI document, and bounds for their schemas from what was seen.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tollgate_layers::contract::{Seen, Span};

use super::watched::{above, range, support};
use super::yaml::comment;

/// A model's name for a path: `/v1/chat/completions` is `v1_chat_completions`.
pub(super) fn name_of(path: &str, taken: &mut BTreeSet<String>) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let words: String = path.chars().take(100).map(letter).collect();
    let words: Vec<_> = words.split('_').filter(|word| !word.is_empty()).collect();
    let word = if words.is_empty() { "root".to_owned() } else { words.join("_") };
    let mut name = word.clone();
    for more in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{word}_{more}");
    }
    name
}

/// The pattern of a route for a path, or why there is none. A placeholder stands for one segment; `{model}` would be taken
/// for the name of a model here.
pub(super) fn pattern_of(path: &str) -> Result<String, String> {
    let piece = |piece: &str| {
        let Some(inner) = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}')) else {
            return if piece.contains(['{', '}', '?', '#', '%', ' ']) {
                Err(piece.to_owned())
            } else {
                Ok(piece.to_owned())
            };
        };
        let letter = |letter: char| if letter.is_ascii_alphabetic() { letter.to_ascii_lowercase() } else { '_' };
        let name: String = inner.chars().map(letter).collect();
        Ok(if name == "model" { "{model_}".to_owned() } else { format!("{{{name}}}") })
    };
    let pieces: Result<Vec<_>, _> = path.split('/').map(piece).collect();
    pieces.map(|pieces| pieces.join("/")).map_err(|piece| format!("`{piece}` can be no segment of a route"))
}

/// Bounds a schema by what was seen where it has no bounds of its own. What was changed, and what was only seen, in words.
pub(super) fn bound(schema: &mut Value, seen: &Seen) -> Vec<String> {
    let mut told = Vec::new();
    for (place, span) in &seen.places {
        let words = format!("{}: {}", comment(place), support(span));
        let proposed = find(schema, place).is_some_and(|node| narrow(node, span));
        told.push(if proposed { format!("{words}, bounded") } else { words });
    }
    told
}

/// The schema of a place, unless it is one that other places share.
fn find<'a>(schema: &'a mut Value, place: &str) -> Option<&'a mut Map<String, Value>> {
    let mut node = schema;
    for step in place.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        node = if step == "*" { node.get_mut("items")? } else { node.get_mut("properties")?.get_mut(&name)? };
    }
    node.as_object_mut().filter(|node| !node.contains_key("$ref"))
}

fn narrow(node: &mut Map<String, Value>, span: &Span) -> bool {
    let [low, high] = range(span);
    let has = |keys: &[&str]| keys.iter().any(|key| node.contains_key(*key));
    let (lower, upper) = (has(&["minimum", "exclusiveMinimum"]), has(&["maximum", "exclusiveMaximum"]));
    let bounds = match node.get("type").and_then(Value::as_str) {
        Some("number" | "integer") => {
            [(!lower).then(|| ("minimum", whole(low))), (!upper).then(|| ("maximum", whole(high)))]
        }
        Some("string") => [(!has(&["maxLength"])).then(|| ("maxLength", whole(above(span.greatest)))), None],
        Some("array") => [(!has(&["maxItems"])).then(|| ("maxItems", whole(above(span.greatest)))), None],
        _ => [None, None],
    };
    // A value of a closed list has bounds enough.
    let fixed = has(&["enum", "const"]);
    let mut changed = false;
    for (key, value) in bounds.into_iter().flatten().filter(|_| !fixed) {
        node.insert(key.to_owned(), value);
        changed = true;
    }
    changed
}

/// A number, without a fraction where it has none.
fn whole(value: f64) -> Value {
    format!("{}", value + 0.0).parse::<i64>().map_or_else(|_| json!(value), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names_and_patterns() {
        let mut taken = BTreeSet::new();
        assert_eq!(name_of("/predict", &mut taken), "predict");
        assert_eq!(name_of("/predict/", &mut taken), "predict_2");
        assert_eq!(name_of("/v1/items/{item-id}", &mut taken), "v1_items_item_id");
        assert_eq!(name_of("/", &mut taken), "root");
        assert_eq!(pattern_of("/items/{itemId}/x").as_deref(), Ok("/items/{itemid}/x"));
        assert_eq!(pattern_of("/models/{model}").as_deref(), Ok("/models/{model_}"));
        assert!(pattern_of("/files/{name}.json").is_err() && pattern_of("/a b").is_err());
    }

    #[test]
    fn only_open_places_are_bounded() {
        let mut schema = json!({ "type": "object", "properties": {
            "features": { "type": "array", "items": { "type": "number", "maximum": 100 } },
            "shared": { "$ref": "#/$defs/Item" },
            "role": { "type": "string", "enum": ["user"] },
        }, "$defs": { "Item": { "type": "string" } } });
        let span = |least, greatest| Span { requests: 7, least, greatest };
        let places = [("/features", 10.0), ("/features/*", 4.2), ("/role", 4.0), ("/shared", 3.0)];
        let places = places.map(|(at, greatest)| (at.to_owned(), span(-1.5, greatest))).into_iter().collect();
        let told = bound(&mut schema, &Seen { requests: 7, places, ..Seen::default() });
        assert_eq!(
            schema["properties"]["features"],
            json!({ "type": "array", "maxItems": 10, "items": { "type": "number", "minimum": -2, "maximum": 100 } })
        );
        assert_eq!(schema["properties"]["role"], json!({ "type": "string", "enum": ["user"] }));
        assert_eq!(schema["$defs"]["Item"], json!({ "type": "string" }));
        assert_eq!(told[1], "/features/*: -1.5 to 4.2 in 7 requests, bounded");
        assert_eq!(told[3], "/shared: -1.5 to 3 in 7 requests");
    }
}
