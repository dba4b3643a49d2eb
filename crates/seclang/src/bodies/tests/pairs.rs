//! Urlencoded bodies and cookies. The rows marked `*` are what Debian's libmodsecurity 3.0.9 reports.

use super::super::{Bounds, cookies, urlencoded};
use super::{Recorder, shown};

fn read(body: &[u8]) -> (String, bool) {
    let mut sink = Recorder::new(body);
    let report = urlencoded(body, b'&', &Bounds::default(), &mut sink);
    assert_eq!(report.error, None);
    (sink.lines.join(" "), report.bad_escape)
}

#[test]
fn pairs_are_split_and_decoded() {
    let rows: [(&[u8], &str, bool); 25] = [
        (b"a=1&b=2", "a=1 b=2", false), // *
        (b"a=1&a=2", "a=1 a=2", false), // *
        (b"", "", false),               // *
        (b"a", "a=", false),            // *
        (b"a&&b", "a= = b=", false),    // *
        (b"&a=1&", "= a=1", false),     // *
        (b"&", "=", false),
        (b"=", "=", false),                // *
        (b"=x", "=x", false),              // *
        (b"a==b=", "a==b=", false),        // *
        (b" ", " =", false),               // *
        (b"a+b=c+d", "a b=c d", false),    // *
        (b"%61=%00x", "a=\\x00x", false),  // *
        (b"a;b=1;c", "a;b=1;c", false),    // *
        (b"a=%41%zz%4", "a=A%zz%4", true), // *
        (b"a%", "a%=", true),              // *
        (b"a=%", "a=%", true),
        (b"a=%%41", "a=%A", true),
        (b"a=%4%31", "a=%41", true),
        (b"a=%u0041", "a=%u0041", true),
        (b"a=%26b=%3d", "a=&b==", false),
        (b"a%3d=1", "a==1", false),
        (b"a=%aF%Af", "a=\\xaf\\xaf", false),
        (b"a=\xff", "a=\\xff", false),
        (b"%2", "%2=", true),
    ];
    for (body, expected, bad) in rows {
        assert_eq!(read(body), (expected.to_owned(), bad), "{}", shown(body));
    }
}

#[test]
fn the_separator_is_the_callers() {
    let mut sink = Recorder::new(b"a=1;b=2&c");
    urlencoded(b"a=1;b=2&c", b';', &Bounds::default(), &mut sink);
    assert_eq!(sink.lines, ["a=1", "b=2&c"]);
}

#[test]
fn too_many_pairs_end_the_reading_with_an_error() {
    let bounds = Bounds { arguments: 2, ..Bounds::default() };
    let mut sink = Recorder::new(b"a&b&c&d");
    let report = urlencoded(b"a&b&c&d", b'&', &bounds, &mut sink);
    assert_eq!((sink.lines.join(" "), report.error), ("a= b=".to_owned(), Some("too many arguments")));
}

#[test]
fn a_long_name_cannot_be_multiplied() {
    // Names are not repeated in this format: all of them together are no longer than the body.
    let body = [vec![b'n'; 1 << 16], b"=1".to_vec()].concat();
    assert!(read(&body).0.ends_with("nn=1"));
}

#[test]
fn cookies_are_split_and_trimmed_and_not_decoded() {
    let rows: [(&[u8], &str); 21] = [
        (b"a=1; b=2", "a=1 b=2"), // *
        (b"a", "a="),             // *
        (b"a=", "a="),
        (b"", ""),                          // *
        (b"a=b=c", "a=b=c"),                // *
        (b"a=%41+b", "a=%41+b"),            // *
        (b"a=\"q;r\"; b", "a=\"q r\"= b="), // *
        (b" a = 1 ;b= 2 ", "a=1 b=2"),
        (b"=x", "=x"),
        (b"=", "="),
        (b";;", ""), // *
        (b"; ;\t;", ""),
        (b"a=1;", "a=1"),
        (b";a=1", "a=1"),
        (b"a=1;a=2", "a=1 a=2"),
        (b"a=1,b=2", "a=1,b=2"),
        (b"a=\xff", "a=\\xff"),
        (b"a b=c d", "a b=c d"),
        (b"$Version=1; a=1", "$Version=1 a=1"),
        (b"   ", ""),
        (b"a = ", "a="),
    ];
    for (header, expected) in rows {
        let mut found = Vec::new();
        cookies(header, &mut |name, value| {
            let text = |at| shown(header.get(at).expect("a span lies within the header"));
            found.push(format!("{}={}", text(name), text(value)));
        });
        assert_eq!(found.join(" "), expected, "{}", shown(header));
    }
}
