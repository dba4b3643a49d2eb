//! Any bytes as a document of the strict reader, beside `serde_json` as a reader of another author.

use serde_json::Value;
use tollgate_layers::protocol::json::{self, Limits};

/// What is taken another reader takes; every value has a pointer by which that reader finds one.
pub(crate) fn run(data: &[u8]) {
    if let Err(malformed) = json::validate(data, Limits::default()) {
        assert!(malformed.at <= data.len(), "a mistake stands in the document, or at its end");
        return;
    }
    let document: Value = serde_json::from_slice(data).expect("another reader takes what is strict");
    for at in 0..data.len() {
        if let Some(pointer) = json::pointer(data, at) {
            assert!(document.pointer(&pointer).is_some(), "`{pointer}` leads to a value");
        }
    }
}
