//! Where a value stands, as a JSON Pointer, and what model a body names: found again in the document when a refusal needs
//! it, so that no request that passes pays for it.

use std::borrow::Cow;
use std::ops::Range;

use super::{Kind, Limits, Reader};

/// Whatever the bounds were, the document was within them.
const ANY: Limits = Limits { depth: usize::MAX, keys: usize::MAX };

/// A step from the root to a value.
enum Step<'a> {
    Item(Option<u64>),
    Key(Cow<'a, str>),
}

/// The JSON Pointer (RFC 6901) of the value whose first byte is at `at`; `None` where none begins there. One pass, as
/// far as that byte.
#[must_use]
pub fn pointer(body: &[u8], at: usize) -> Option<String> {
    let mut reader = Reader::new(body, ANY).ok()?;
    let mut path: Vec<Step<'_>> = Vec::new();
    loop {
        let kind = reader.peek().ok()?;
        if reader.at() >= at {
            return (reader.at() == at).then(|| written(&path));
        }
        match kind {
            Kind::Array => {
                reader.enter_array().ok()?;
                path.push(Step::Item(None));
            }
            Kind::Object => {
                reader.enter_object().ok()?;
                path.push(Step::Key(Cow::Borrowed("")));
            }
            _ => reader.skip().ok()?,
        }
        while !next(&mut reader, path.last_mut()?)? {
            path.pop();
        }
    }
}

/// The text of a member of the root, as far as the document can be read.
#[must_use]
pub fn text_at_root(body: &[u8], member: &str) -> Option<String> {
    let mut reader = Reader::new(body, ANY).ok()?;
    reader.enter_object().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        if key == member && reader.peek().ok()? == Kind::String {
            return reader.string().ok().map(Cow::into_owned);
        }
        reader.skip().ok()?;
    }
    None
}

/// Where the text of a member of the root stands, its quotes included.
#[must_use]
pub fn place_at_root(body: &[u8], member: &str) -> Option<Range<usize>> {
    let mut reader = Reader::new(body, ANY).ok()?;
    reader.enter_object().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        let kind = reader.peek().ok()?;
        let start = reader.at();
        reader.skip().ok()?;
        if key == member && kind == Kind::String {
            return Some(start..reader.at());
        }
    }
    None
}

/// Goes on to the next value of the innermost array or object; false at its end.
fn next<'a>(reader: &mut Reader<'a>, step: &mut Step<'a>) -> Option<bool> {
    match step {
        Step::Item(item) => {
            *item = Some(item.map_or(0, |item| item + 1));
            reader.next_item().ok()
        }
        Step::Key(key) => {
            let found = reader.next_key().ok()?;
            let more = found.is_some();
            *key = found.unwrap_or_default();
            Some(more)
        }
    }
}

fn written(path: &[Step<'_>]) -> String {
    let step = |step: &Step<'_>| match step {
        Step::Item(item) => format!("/{}", item.unwrap_or_default()),
        Step::Key(key) => format!("/{}", crate::protocol::escaped(key)),
    };
    path.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::{pointer, text_at_root};

    #[test]
    fn a_text_at_the_root_is_found_as_far_as_the_document_can_be_read() {
        let of = |body: &str| text_at_root(body.as_bytes(), "model");
        assert_eq!(of(r#"{"a":{"model":"x"},"m\u006fdel":"y","b":"#).as_deref(), Some("y"));
        for body in [r#"{"a":{"model":"x"}}"#, r#"{"model":1}"#, r#"["model"]"#, r#"{"a"#, ""] {
            assert_eq!(of(body), None, "{body}");
        }
    }

    #[test]
    fn every_value_has_the_pointer_by_which_it_is_found() {
        let body = r#" { "a" : [1, {"b/c~":"x"}, []], "": {"d":null} , "e":[[2,3]]} "#;
        let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
        for (value, wanted) in
            [("1", "/a/0"), ("\"x\"", "/a/1/b~1c~0"), ("[]", "/a/2"), ("null", "//d"), ("3]", "/e/0/1"), ("{ ", "")]
        {
            let at = body.find(value).expect("it is there");
            let found = pointer(body.as_bytes(), at).expect("a value begins there");
            assert_eq!(found, wanted);
            assert!(document.pointer(&found).is_some());
        }
        assert_eq!(pointer(body.as_bytes(), 3), None, "a key is no value");
        assert_eq!(pointer(body.as_bytes(), 9_000), None);
        assert_eq!(pointer(b"[1,", 9), None);
    }
}
