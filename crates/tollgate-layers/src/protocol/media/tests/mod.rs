//! Files made byte by byte. That headers of real encoders read the same was checked against Pillow and FFmpeg.

mod build;
mod held;
mod hostile;
mod urls;

use tollgate_core::call::Media;

use super::{Inline, inline, of};
use crate::protocol::Wrong;

/// What is found where something else was expected; `None` where it is taken.
fn found<T>(read: Result<T, Wrong>) -> Option<String> {
    match read {
        Ok(_) => None,
        Err(Wrong::Invalid(spot)) => Some(spot.found),
        Err(other) => panic!("{other:?} is no answer of this reader"),
    }
}

/// Raw and as base64, which have to say the same.
fn both(bytes: &[u8], declared: Option<&str>) -> Result<Media, Wrong> {
    use base64::Engine as _;
    let raw = of(bytes, declared, 3..9);
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let text = declared.map_or_else(|| text.clone(), |declared| format!("data:{declared};base64,{text}"));
    let held = inline(&text, 3..9).map(|inline| match inline {
        Inline::Held(media) => media,
        Inline::Fetched => panic!("a file in a text is fetched from nowhere"),
    });
    assert_eq!(raw, held, "{bytes:?} reads differently as base64");
    raw
}
