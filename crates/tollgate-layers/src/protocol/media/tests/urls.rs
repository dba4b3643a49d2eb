//! What names a place, what is base64, and what is neither.

use super::build::png;
use super::{Inline, found, inline};

#[test]
fn whatever_a_server_would_fetch_is_said_to_be_fetched() {
    let rows = [
        "http://example.org/a.png",
        "HTTPS://example.org/a",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "ftp://h/a",
        "gs://bucket/a",
        "s3://bucket/a",
        "blob:https://h/1",
        "javascript:1",
        "//example.org/a.png",
        "/images/a.png",
        "../a",
        r"\\host\share",
        " http://127.0.0.1/",
        "ht\ntp://127.0.0.1/",
        "da\tta:image/png;base64,AAAA",
        " data:image/png;base64,AAAA",
        "http://é.example/",
        "a?b",
    ];
    for text in rows {
        assert_eq!(inline(text, 0..1), Ok(Inline::Fetched), "{text}");
    }
}

#[test]
fn base64_is_strict_as_a_whole() {
    let rows = [
        "AAAA=", "AAA", "A===", "====", "AB==", "AAB=", "AAAA\n", "AA AA===", "iVBO-_==", "AAAA====", "AAAAA===",
        "=AAA", "AA=A", "é===",
    ];
    for text in rows {
        assert_eq!(found(inline(text, 0..1)).as_deref(), Some("another text"), "{text}");
        let url = format!("data:application/x;base64,{text}");
        assert_eq!(found(inline(&url, 0..1)).as_deref(), Some("another text"), "{url}");
    }
    for (text, bytes) in [("", 0), ("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("AAAAAA==", 4), ("+/+/", 3)] {
        let url = format!("DATA:application/x;BASE64,{text}");
        let Ok(Inline::Held(media)) = inline(&url, 0..1) else { panic!("`{url}` is not taken") };
        assert_eq!((media.kind, media.bytes), ("application/octet-stream", bytes));
    }
}

#[test]
fn a_byte_that_is_no_digit_is_found_at_every_place() {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(png(3, 4, b""));
    for place in 0..text.len() {
        for byte in ["-", "_", " ", "\0", "=", "\u{7f}"] {
            let mut text = text.clone();
            text.replace_range(place..=place, byte);
            // Padding at the end may be all the text says.
            let padding = byte == "=" && place + 2 >= text.len();
            assert!(padding || inline(&text, 0..1).is_err(), "`{byte}` at {place}");
        }
    }
}

#[test]
fn urls_without_base64_are_refused() {
    for text in [
        "data:",
        "data:image/png",
        "data:image/png,raw",
        "data:image/png;base65,AAAA",
        "data:base64,AAAA",
        "data:,AAAA",
    ] {
        assert!(found(inline(text, 0..1)).is_some(), "{text}");
    }
}

#[test]
fn a_path_in_the_alphabet_of_base64_is_no_medium() {
    for text in ["/etc/passwd1", "imagesaa", "AAAA", ""] {
        assert!(found(inline(text, 0..1)).is_some(), "{text}");
    }
}
