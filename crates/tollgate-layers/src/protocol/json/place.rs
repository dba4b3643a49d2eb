//! What is asked of the body of a call that was refused: the JSON Pointer (RFC 6901) of a place for its client, the model
//! that it named for the record. A call that is taken never comes here: it carries places, which cost nothing.

use std::borrow::Cow;

use super::{Kind, Limits, Malformed, Reader};
use crate::protocol::escaped;

/// What was parsed before is not bounded again, but for the one bound that keeps the stack of steps small.
const LIMITS: Limits = Limits { depth: 128, keys: 65_536 };

/// The pointer of the value that begins at byte `at` of `body`; `None` where none does.
#[must_use]
pub fn pointer(body: &[u8], at: usize) -> Option<String> {
    steps(body, at).ok().flatten().map(|steps| steps.iter().map(Step::to_string).collect())
}

/// The text of a member of the root, as far as the document can be read.
#[must_use]
pub fn text_at_root(body: &[u8], member: &str) -> Option<String> {
    let mut reader = Reader::new(body, LIMITS).ok()?;
    reader.enter_object().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        if key == member && reader.peek().ok()? == Kind::String {
            return reader.string().ok().map(Cow::into_owned);
        }
        reader.skip().ok()?;
    }
    None
}

enum Step<'a> {
    Item(u64),
    Key(Cow<'a, str>),
    /// Nothing of it was met.
    Fresh {
        object: bool,
    },
}

impl std::fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Item(index) => write!(f, "/{index}"),
            Self::Key(key) => write!(f, "/{}", escaped(key)),
            Self::Fresh { .. } => Ok(()),
        }
    }
}

/// One walk, front to back, that ends at the value.
fn steps(body: &[u8], at: usize) -> Result<Option<Vec<Step<'_>>>, Malformed> {
    let mut reader = Reader::new(body, LIMITS)?;
    let mut steps = Vec::new();
    loop {
        let kind = reader.peek()?;
        if reader.at() >= at {
            return Ok((reader.at() == at).then_some(steps));
        }
        match kind {
            Kind::Array => {
                reader.enter_array()?;
                steps.push(Step::Fresh { object: false });
            }
            Kind::Object => {
                reader.enter_object()?;
                steps.push(Step::Fresh { object: true });
            }
            _ => reader.skip()?,
        }
        // The next value: of what is open, or of what that stands in.
        loop {
            let next = match steps.last() {
                None => return Ok(None),
                Some(Step::Fresh { object: true } | Step::Key(_)) => reader.next_key()?.map(Step::Key),
                Some(Step::Fresh { object: false }) => reader.next_item()?.then_some(Step::Item(0)),
                Some(Step::Item(index)) => {
                    let next = index.saturating_add(1);
                    reader.next_item()?.then_some(Step::Item(next))
                }
            };
            steps.pop();
            if let Some(next) = next {
                steps.push(next);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_text_at_the_root_is_found_as_far_as_the_document_can_be_read() {
        let of = |body: &str| text_at_root(body.as_bytes(), "model");
        assert_eq!(of(r#"{"a":{"model":"x"},"m\u006fdel":"y","b":"#).as_deref(), Some("y"));
        for body in [r#"{"a":{"model":"x"}}"#, r#"{"model":1}"#, r#"["model"]"#, r#"{"a"#, ""] {
            assert_eq!(of(body), None, "{body}");
        }
    }

    #[test]
    fn a_place_is_told_by_names_and_numbers() {
        let body =
            r#"{"model":"m","messages":[{"role":"user","content":"a"},{"content":[{"text":"b"}, {"a/~b":[1,[],2]}]}]}"#;
        let of = |value: &str| pointer(body.as_bytes(), body.find(value).expect("it stands there"));
        assert_eq!(of(r#""m","#).as_deref(), Some("/model"));
        assert_eq!(of(r#""a"}"#).as_deref(), Some("/messages/0/content"));
        assert_eq!(of(r#""b""#).as_deref(), Some("/messages/1/content/0/text"));
        assert_eq!(of("2]").as_deref(), Some("/messages/1/content/1/a~1~0b/2"));
        assert_eq!(of("{").as_deref(), Some(""));
        for (text, at) in [("{\"a\":1}", 1), ("[1]", 2), ("[1", 9), ("", 0), ("[[]]", 3)] {
            assert_eq!(pointer(text.as_bytes(), at), None, "{text} at {at}");
        }
    }

    proptest! {
        #[test]
        fn every_pointer_leads_to_a_value_that_begins_there(numbers in prop::collection::vec(0_u32..1000, 1..6), at in 0_usize..200) {
            let body = json!({ "a": numbers, "b": [{ "c": numbers, "d": { "~": [[], {}, "x"] } }], "e/f": null }).to_string();
            let document: Value = serde_json::from_str(&body).expect("JSON");
            if let Some(found) = pointer(body.as_bytes(), at) {
                let value = document.pointer(&found).expect("it leads somewhere").to_string();
                prop_assert!(body[at..].starts_with(&value), "{found} {value}");
            }
        }
    }
}
