//! Paths of an OpenAPI document that are written in OpenAI's words, or in those of the Open Inference Protocol: a schema says
//! less of them than the gateway knows.

use serde_json::Value;
use tollgate_layers::protocol::openai::Endpoint;

/// A model of texts, as its schema bounds it.
#[derive(Debug, PartialEq)]
pub(super) struct Texts {
    /// The only name that the schema lets pass.
    pub(super) model: String,
    /// Words of the contract, and their values.
    pub(super) bounds: Vec<(&'static str, u64)>,
}

/// Why a path belongs to a preset: its schema alone would let pass what a contract for tensors would not, and what commands
/// the server stands beside it.
pub(super) fn of_preset(path: &str) -> Option<&'static str> {
    let is = path == "/v2" || path.starts_with("/v2/") || path.starts_with("/v1/models/");
    is.then_some(
        "a path of the Open Inference Protocol: a preset opens what is safe of them, `--model` learns the model",
    )
}

/// The model of an endpoint of OpenAI's API whose schema names it.
pub(super) fn of_openai(path: &str, schema: &Value) -> Option<Texts> {
    let endpoint = Endpoint::of_openai(path).filter(|_| path.starts_with("/v1/"))?;
    let property = |name: &str| meant(schema, schema.get("properties")?.get(name)?);
    let model = property("model")?;
    let model = match (model.get("const"), model.get("enum").and_then(Value::as_array).map(Vec::as_slice)) {
        (Some(only), _) | (None, Some([only])) => only.as_str()?.to_owned(),
        _ => return None,
    };
    let mut bounds = Vec::new();
    let mut add = |word, value: Option<u64>| bounds.extend(value.map(|value| (word, value)));
    if endpoint == Endpoint::Chat {
        let messages = property("messages");
        let message = messages.and_then(|messages| meant(schema, messages.get("items")?));
        let content = message.and_then(|message| meant(schema, message.get("properties")?.get("content")?));
        add("max_messages", messages.and_then(|messages| whole(messages.get("maxItems")?)));
        add("max_message_chars", content.and_then(|content| whole(content.get("maxLength")?)));
    }
    let tokens = ["max_tokens", "max_completion_tokens", "max_output_tokens"].into_iter().find_map(property);
    let most = tokens.and_then(|tokens| whole(tokens.get("maximum")?));
    add("max_output_tokens", most);
    let default = tokens.and_then(|tokens| whole(tokens.get("default")?));
    // Where a client says nothing, the gateway does: no more than the service itself would.
    add("default_output_tokens", default.filter(|default| most.is_some_and(|most| *default <= most)));
    Some(Texts { model, bounds })
}

/// The schema itself, or the one of `$defs` that it refers to.
fn meant<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(name) => root.get("$defs")?.get(name.strip_prefix("#/$defs/")?),
        None => Some(schema),
    }
}

/// A whole number, also where it is written with a fraction of zero.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| format!("{}", value.as_f64()?).parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chat_is_told_in_the_words_of_the_contract() {
        let schema = json!({
            "properties": {
                "model": { "const": "talker" },
                "messages": { "type": "array", "maxItems": 50, "items": { "$ref": "#/$defs/M" } },
                "max_tokens": { "type": "integer", "maximum": 4096.0, "default": 256 },
            },
            "$defs": { "M": { "properties": { "content": { "maxLength": 10_000 } } } },
        });
        let bounds = vec![
            ("max_messages", 50),
            ("max_message_chars", 10_000),
            ("max_output_tokens", 4096),
            ("default_output_tokens", 256),
        ];
        let texts = Texts { model: "talker".to_owned(), bounds };
        assert_eq!(of_openai("/v1/chat/completions", &schema), Some(texts));
        assert_eq!(of_openai("/chat", &schema), None);
        assert_eq!(
            of_openai("/v1/chat/completions", &json!({ "properties": { "model": { "type": "string" } } })),
            None
        );
        assert!(of_preset("/v2/repository/index").is_some() && of_preset("/v1/predict").is_none());
    }
}
