//! What a fuzz target asserts of bodies that strangers send.

use memchr::memmem;

use super::{Limits, boundary, parts};

/// A line that is the `Content-Type`, then the body.
#[doc(hidden)]
pub fn fuzz_multipart(input: &[u8]) {
    let Some(line) = memchr::memchr(b'\n', input) else { return };
    let Some((head, [_, body @ ..])) = input.split_at_checked(line) else { return };
    let Ok(boundary) = boundary(&String::from_utf8_lossy(head)).map(str::to_owned) else { return };
    let cut = format!("\n--{boundary}");
    let mut end = 0;
    for part in parts(body, &boundary, Limits::default()).unwrap_or_default() {
        assert!(end < part.at.start && part.at.start <= part.at.end && part.at.end < body.len(), "parts come in order");
        let content = body.get(part.at.clone()).unwrap_or_default();
        assert!(memmem::find(content, cut.as_bytes()).is_none(), "a part ends at its boundary");
        assert!(!part.name.is_empty() && !part.name.contains(['"', '\r', '\n', '\0']), "a name has one spelling");
        end = part.at.end;
    }
}
