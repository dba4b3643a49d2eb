//! What a fuzz target asserts of files that strangers send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Inline, inline, of};

/// Types to declare, by the first byte of an input.
const DECLARED: [Option<&str>; 5] =
    [None, Some("application/octet-stream"), Some("image/png"), Some("audio/mpeg"), Some("text/plain")];

/// A byte that picks a declared type, then a file.
#[doc(hidden)]
pub fn fuzz_media(input: &[u8]) {
    let Some((pick, file)) = input.split_first() else { return };
    let declared = DECLARED.get(usize::from(*pick) % DECLARED.len()).copied().flatten();
    let raw = of(file, declared, 0..1);
    let text = STANDARD.encode(file);
    let url = declared.map_or_else(|| text.clone(), |declared| format!("data:{declared};base64,{text}"));
    match (&raw, inline(&url, 0..1)) {
        (Ok(raw), Ok(Inline::Held(held))) => assert_eq!(*raw, held, "base64 says what the bytes say"),
        (Err(raw), Err(held)) => assert_eq!(*raw, held, "base64 says what the bytes say"),
        (raw, held) => panic!("raw {raw:?}, in base64 {held:?}"),
    }
    // Any text is a URL, base64, or refused.
    let _ = inline(&String::from_utf8_lossy(file), 0..1);
    if let Ok(media) = raw {
        assert_eq!(media.bytes, file.len() as u64, "all of it was counted");
        assert!(media.frames > 0, "there is a picture");
        let sides = media.size.iter().all(|side| *side > 0);
        assert!(sides || !media.kind.starts_with("image/"), "a picture has pixels");
    }
}
