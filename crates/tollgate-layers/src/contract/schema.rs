//! A JSON Schema (draft 2020-12, or the one that its `$schema` names) as a contract.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use tollgate_core::ruling::{Refusal, Spot};

use crate::protocol::refuse;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    source: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema. Patterns run in linear time; nothing is fetched.
    ///
    /// # Errors
    /// Why it is no schema, in words for its author.
    pub(super) fn new(source: &Value) -> Result<Self, String> {
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex()).should_validate_formats(true);
        let validator = options.build(source).map_err(|error| error.to_string())?;
        Ok(Self { source: source.clone(), validator })
    }

    /// As it was written.
    pub(super) const fn source(&self) -> &Value {
        &self.source
    }

    /// Checks a document. The first mistake is told by its place, the schema's own words and the type that stands there;
    /// nothing of the document itself but a number.
    pub(super) fn check(&self, document: &Value) -> Result<(), Refusal> {
        let Err(error) = self.validator.validate(document) else { return Ok(()) };
        let keyword = error.schema_path().to_string();
        let asked = self.source.pointer(&keyword).map(Value::to_string).filter(|asked| asked.len() <= 128);
        let name = keyword.rsplit('/').next().unwrap_or_default();
        let expected = asked.map_or_else(|| format!("`{name}` of the schema"), |asked| format!("`{name}`: {asked}"));
        let found = match error.instance().as_ref() {
            Value::Array(items) => format!("an array of {}", items.len()),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Object(members) => format!("an object of {}", members.len()),
            Value::String(text) => format!("a string of {} characters", text.chars().count()),
        };
        Err(refuse(Spot { pointer: error.instance_path().to_string(), expected, found, index: None }))
    }
}

/// Whether a schema can be held against bodies here: patterns with look-around cannot, nor what would have to be fetched.
///
/// # Errors
/// Why it cannot.
pub fn usable(schema: &Value) -> Result<(), String> {
    Schema::new(schema).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spot(schema: &Value, document: &Value) -> (String, String, String) {
        let refusal = Schema::new(schema).expect("a schema").check(document).expect_err("a mistake");
        let spot = refusal.spot.expect("a spot");
        (spot.pointer, spot.expected, spot.found)
    }

    #[test]
    fn the_first_mistake_is_told_without_the_text_of_the_request() {
        let schema = json!({
            "type": "object",
            "required": ["features"],
            "additionalProperties": false,
            "properties": {
                "features": { "type": "array", "minItems": 2, "items": { "type": "number", "maximum": 1 } },
                "id": { "type": "string", "maxLength": 3, "pattern": "^[a-z]+$" }
            }
        });
        assert!(Schema::new(&schema).expect("a schema").check(&json!({ "features": [0, 1], "id": "abc" })).is_ok());
        let said =
            |pointer: &str, expected: &str, found: &str| (pointer.to_owned(), expected.to_owned(), found.to_owned());
        assert_eq!(spot(&schema, &json!({ "features": [0, 2] })), said("/features/1", "`maximum`: 1", "2"));
        assert_eq!(spot(&schema, &json!({ "features": [0] })), said("/features", "`minItems`: 2", "an array of 1"));
        let secret = json!({ "features": [0, 1], "id": "SECRET" });
        assert!(!format!("{:?}", spot(&schema, &secret)).contains("SECRET"));
        assert_eq!(spot(&schema, &json!({ "features": [0, 1], "SECRET": 1 })).0, "");
        assert!(!format!("{:?}", spot(&schema, &json!({ "features": [0, 1], "SECRET": 1 }))).contains("SECRET"));
    }

    #[test]
    fn what_is_no_schema_is_a_mistake() {
        assert!(Schema::new(&json!({ "type": "nonsense" })).is_err());
        assert!(Schema::new(&json!({ "$ref": "http://example.test/schema" })).is_err(), "nothing is fetched");
        assert!(Schema::new(&json!({ "pattern": "(?=a)" })).is_err(), "patterns are linear");
    }
}
