//! Bodies as clients send them, and as attackers do.

use proptest::prelude::*;

use super::{Limits, Part, boundary, parts};
use crate::protocol::Wrong;

/// What is found where something else was expected; `None` where it is taken.
fn found<T>(read: Result<T, Wrong>) -> Option<String> {
    match read {
        Ok(_) => None,
        Err(Wrong::Invalid(spot)) => Some(spot.found),
        Err(other) => panic!("{other:?} is no answer of this reader"),
    }
}

fn read(body: &str) -> Result<Vec<Part<'_>>, Wrong> {
    parts(body.as_bytes(), "b", Limits::default())
}

#[test]
fn fields_and_files_are_found_where_they_stand() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm-1\r\n\
        --b\r\ncontent-disposition:form-data;name=file; filename=\"a b;.wav\"\r\nContent-Type: audio/wav\r\nX-Other: 1\r\n\r\n\
        RIFF\r\n--\r\n-b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n--b--\r\n";
    for body in [body, body.trim_end_matches("\r\n")] {
        let parts = read(body).expect("a body as clients send it");
        let seen = parts.iter().map(|part| (part.name, part.filename, part.content_type, &body[part.at.clone()]));
        let wanted = [
            ("model", None, None, "m-1"),
            ("file", Some("a b;.wav"), Some("audio/wav"), "RIFF\r\n--\r\n-b\r\n"),
            ("e", None, None, ""),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn files_and_lists_may_share_a_name() {
    let part = |head: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\nx\r\n");
    let twice = |head: &str| format!("{}{}--b--", part(head), part(head));
    assert_eq!(read(&twice("name=image; filename=a")).map(|parts| parts.len()), Ok(2));
    assert_eq!(read(&twice("name=\"image[]\"")).map(|parts| parts.len()), Ok(2));
    assert_eq!(found(read(&twice("name=model"))).as_deref(), Some("two"));
    let mixed = format!("{}{}--b--", part("name=model; filename=a"), part("name=model"));
    assert_eq!(found(read(&mixed)).as_deref(), Some("two"));
}

#[test]
fn boundaries_are_those_of_rfc_2046() {
    let longest = "b".repeat(70);
    let taken = [
        ("multipart/form-data; boundary=b", "b"),
        ("Multipart/Form-Data;BOUNDARY=\"a b:c\"", "a b:c"),
        ("multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundaryx", "----WebKitFormBoundaryx"),
        (&format!("multipart/form-data; boundary={longest}"), &longest),
    ];
    for (header, wanted) in taken {
        assert_eq!(boundary(header), Ok(wanted), "{header}");
    }
    let refused = [
        "multipart/mixed; boundary=b",
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"b",
        "multipart/form-data; boundary=\"b \"",
        "multipart/form-data; boundary=\"b\\\"c\"",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; boundary=b c",
        "multipart/form-data; boundary*=utf-8''b",
        "multipart/form-data; boundary*0=b; boundary=b",
        "multipart/form-data; boundary=é",
        "multipart/form-data; boundary=\"b\u{0}\"",
        "multipart/form-data boundary=b",
        "multipart/form-data; =b",
        &format!("multipart/form-data; boundary={longest}b"),
    ];
    for header in refused {
        assert!(boundary(header).is_err(), "{header}");
    }
}

#[test]
fn bodies_that_two_readers_cut_differently_are_refused() {
    let head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";
    let rows = [
        (String::new(), "none"),
        ("--b--".to_owned(), "none"),
        ("--c\r\n".to_owned(), "none"),
        (format!("\r\n--b\r\n{head}x\r\n--b--"), "bytes before it"),
        (format!("preamble\r\n--b\r\n{head}x\r\n--b--"), "bytes before it"),
        (format!("--b\r\n{head}x\r\n--b--\r\nepilogue"), "more bytes"),
        (format!("--b\r\n{head}x\r\n--b--\r\n\r\n"), "more bytes"),
        (format!("--b\r\n{head}x\r\n--b--\n"), "more bytes"),
        (format!("--b\r\n{head}x"), "the end of the body"),
        (format!("--b\r\n{head}x\r\n--b\r\n"), "the end of the body"),
        (format!("--b\r\n{head}x\r\n--b"), "more of the line"),
        (format!("--b \r\n{head}x\r\n--b--"), "more of the line"),
        (format!("--b\n{head}x\r\n--b--"), "more of the line"),
        (format!("--b\r\n{head}x\r\n--bb\r\n--b--"), "more of the line"),
        (format!("--b\r\n{head}x\n--b\r\n{head}y\r\n--b--"), "half of it"),
        (format!("--b\r\n{head}x\r--b\r\n{head}y\r\n--b--"), "half of it"),
        (format!("--b\r\n{head}--b--"), "neither"),
    ];
    for (body, flaw) in rows {
        assert_eq!(found(read(&body)).as_deref(), Some(flaw), "{body:?}");
    }
    // In the middle of a line a boundary is content.
    assert_eq!(read(&format!("--b\r\n{head}x--b\r\n--b--")).map(|parts| parts.len()), Ok(1));
}

#[test]
fn headers_that_two_readers_read_differently_are_refused() {
    let rows = [
        ("Content-Type: text/plain", "none"),
        ("", "another line"),
        ("Content-Disposition: form-data", "none"),
        ("Content-Disposition: form-data; name=\"\"", "none"),
        ("Content-Disposition: form-data; name=_charset_", "none"),
        ("Content-Disposition: attachment; name=a", "another"),
        ("Content-Disposition: form-data; name=a; name=b", "the same one twice"),
        ("Content-Disposition: form-data; name=a; filename=a; FILENAME=b", "the same one twice"),
        ("Content-Disposition: form-data; name=a; filename*=utf-8''b", "another parameter"),
        ("Content-Disposition: form-data; name=\"a\\\"; filename=\"b", "no parameter"),
        ("Content-Disposition: form-data; name=\"a", "no parameter"),
        ("Content-Disposition: form-data; name=\"a\"b", "no parameter"),
        ("Content-Disposition: form-data; name=a/b", "no parameter"),
        ("Content-Disposition: form-data; name =a", "no parameter"),
        ("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", "two"),
        ("Content-Disposition: form-data; name=a\r\nContent-Type: a/b\r\nContent-Type: c/d", "two"),
        ("Content-Disposition: form-data; name=a\r\nContent-Type: Multipart/mixed; boundary=c", "one that is"),
        ("Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64", "an encoding of it"),
        ("Content-Disposition: form-data; name=a\r\nContent-Encoding: gzip", "an encoding of it"),
        ("Content-Disposition: form-data;\r\n name=a", "none"),
        ("Content-Disposition: form-data; name=b;\r\n name=a", "another line"),
        ("Content-Disposition: form-data; name=a\r\n folded", "another line"),
        ("Content-Disposition : form-data; name=a", "another line"),
        ("Content-Disposition", "another line"),
        ("Content-Disposition: form-data; name=a\nX: y", "a control character"),
        ("Content-Disposition: form-data; name=\"a\rb\"", "a control character"),
        ("Content-Disposition: form-data; name=\"a\0b\"", "a control character"),
    ];
    for (head, flaw) in rows {
        let body = format!("--b\r\n{head}\r\n\r\nx\r\n--b--");
        assert_eq!(found(read(&body)).as_deref(), Some(flaw), "{head:?}");
    }
    let latin = b"--b\r\nContent-Disposition: form-data; name=\"\xe9\"\r\n\r\nx\r\n--b--";
    assert_eq!(found(parts(latin, "b", Limits::default())).as_deref(), Some("other bytes"));
}

#[test]
fn parts_and_headers_are_bounded() {
    let body = |count: usize, padding: usize| {
        let each = |index| {
            let padding = "p".repeat(padding);
            format!("--b\r\nContent-Disposition: form-data; name=n{index}\r\nX: {padding}\r\n\r\nx\r\n")
        };
        (0..count).map(each).collect::<String>() + "--b--"
    };
    let limits = Limits { parts: 3, header_bytes: 100 };
    assert_eq!(parts(body(3, 50).as_bytes(), "b", limits).map(|parts| parts.len()), Ok(3));
    assert_eq!(found(parts(body(4, 50).as_bytes(), "b", limits)).as_deref(), Some("more"));
    assert_eq!(found(parts(body(3, 80).as_bytes(), "b", limits)).as_deref(), Some("neither"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn parts_come_in_order_and_inside_the_body(pieces in prop::collection::vec(prop::sample::select(vec![
        "--b", "\r\n", "--", "\r", "\n", "Content-Disposition: form-data; name=a", "Content-Disposition: form-data; name=\"l[]\"",
        "\r\n\r\n", "x", ":", "\"", "--b\r\n", "\r\n--b--", "é",
    ]), 0..30)) {
        let body = pieces.concat();
        if let Ok(parts) = read(&body) {
            let mut end = 0;
            for part in parts {
                prop_assert!(end < part.at.start && part.at.start <= part.at.end && part.at.end < body.len());
                prop_assert!(!body.as_bytes()[part.at.clone()].windows(5).any(|five| five == b"\r\n--b"));
                end = part.at.end;
            }
        }
    }

    #[test]
    fn what_is_written_is_read(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8)) {
        let mut body = Vec::new();
        for (index, content) in contents.iter().enumerate() {
            body.extend(format!("--bound\r\nContent-Disposition: form-data; name=n{index}\r\n\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--bound--\r\n");
        let parts = parts(&body, "bound", Limits::default()).expect("a body as clients send it");
        let read = parts.iter().map(|part| body[part.at.clone()].to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(read, contents);
    }
}
