//! Images and sounds inside bodies, as their headers describe them. Nothing is decoded further, nothing is fetched.

use std::ops::Range;

use tollgate_core::call::Media;

use super::Wrong;

/// How a medium comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inline {
    /// A server would fetch it: a URL of another scheme than `data:`.
    Fetched,
    /// It is here.
    Held(Media),
}

/// Reads a URL or bare base64 that stands at `at` of the body.
///
/// # Errors
/// A `data:` URL without base64, or base64 that is none.
pub fn inline(text: &str, at: Range<usize>) -> Result<Inline, Wrong> {
    let lower = text.get(..16.min(text.len())).unwrap_or(text).to_ascii_lowercase();
    let base64 = if lower.starts_with("data:") {
        let (head, data) = text.split_once(',').ok_or_else(|| Wrong::here("`data:` with base64", "another URL"))?;
        if !head.to_ascii_lowercase().ends_with(";base64") {
            return Err(Wrong::here("`data:` with base64", "another URL"));
        }
        data
    } else if lower.contains("://") || lower.starts_with("file:") {
        return Ok(Inline::Fetched);
    } else {
        text
    };
    let plain = base64.trim_end_matches('=');
    let valid = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if !valid || base64.len() % 4 != 0 || base64.len() - plain.len() > 2 {
        return Err(Wrong::here("base64", "something else"));
    }
    let bytes = plain.len() as u64 * 3 / 4;
    let media = Media { kind: "application/octet-stream", size: [0, 0], frames: 1, duration_ms: None, bytes, at };
    Ok(Inline::Held(media))
}
