use super::*;

fn complete(input: &[u8], limits: HeadLimits) -> (usize, RawHead) {
    match HeadCheck::new(limits).scan(input) {
        Progress::Complete { end, head } => (end, head),
        Progress::Incomplete => panic!("the head is over"),
    }
}

#[test]
fn a_head_keeps_the_order_and_case_of_its_fields() {
    let input =
        b"\r\nPOST /a?b HTTP/1.1\r\nHOST: x\r\nx-b:  two words \t\r\nX-Empty:\r\nContent-length: 7\r\n\r\nbodybod";
    let (end, head) = complete(input, HeadLimits::default());
    assert_eq!((end, &input[2..end]), (input.len() - 7, &head.bytes[..]));
    assert_eq!((head.method(), head.target()), (&b"POST"[..], &b"/a?b"[..]));
    assert_eq!(head.line(), b"POST /a?b HTTP/1.1");
    let fields: Vec<(&[u8], &[u8])> = head.fields().collect();
    assert_eq!(
        fields,
        [(&b"HOST"[..], &b"x"[..]), (b"x-b", b"two words"), (b"X-Empty", b""), (b"Content-length", b"7"),]
    );
    assert_eq!((head.framing, head.refused), (Framing::Length(7), None));
}

#[test]
fn a_refused_head_ends_with_its_flawed_line() {
    let (end, head) = complete(b"GET / HTTP/1.1\r\nX-A\r\nX-B: c\r\n\r\n", HeadLimits::default());
    assert_eq!((end, &head.bytes[..]), (21, &b"GET / HTTP/1.1\r\nX-A\r\n"[..]));
    assert_eq!(head.refused, Some(HeadFlaw::NO_COLON));
    assert_eq!(head.fields().count(), 0);
}

#[test]
fn a_head_may_be_as_large_as_its_limit_and_not_larger() {
    let head = b"GET / HTTP/1.1\r\nX: y\r\n\r\n";
    let limit = |max_head_bytes| HeadLimits { max_head_bytes, ..HeadLimits::default() };
    assert_eq!(complete(head, limit(head.len())).1.refused, None);
    assert_eq!(complete(head, limit(head.len() - 1)).1.refused, Some(HeadFlaw::HEAD_TOO_LARGE));
    let target = |max_target_bytes| HeadLimits { max_target_bytes, ..HeadLimits::default() };
    let input = b"GET /abc HTTP/1.1\r\n\r\n";
    assert_eq!(complete(input, target(4)).1.refused, None);
    assert_eq!(complete(input, target(3)).1.refused, Some(HeadFlaw::TARGET_TOO_LONG));
}

#[test]
fn targets_that_no_uri_parser_takes_are_refused_here() {
    for (target, good) in [
        ("/{a}|b", true),
        ("/a?b=%zz", true),
        ("http://x/y", true),
        ("HTTPS://x", true),
        ("http://", false),
        ("http:x", false),
        ("/a?<b>", false),
    ] {
        let (_, head) = complete(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes(), HeadLimits::default());
        assert_eq!(head.refused.is_none(), good, "`{target}`: {:?}", head.refused);
    }
}

#[test]
fn a_star_belongs_to_options_and_an_authority_to_connect() {
    for (line, good) in [
        ("OPTIONS * HTTP/1.1", true),
        ("GET * HTTP/1.1", false),
        ("CONNECT x:443 HTTP/1.1", true),
        ("GET x:443 HTTP/1.1", false),
    ] {
        let (_, head) = complete(format!("{line}\r\n\r\n").as_bytes(), HeadLimits::default());
        assert_eq!(head.refused.is_none(), good, "`{line}`");
    }
}

#[test]
fn a_length_is_digits_up_to_what_the_codec_can_count() {
    assert_eq!(decimal(b"18446744073709551613"), Some(u64::MAX - 2));
    assert_eq!(decimal(b"18446744073709551614"), None);
    assert_eq!(decimal(b"00012"), Some(12));
    for wrong in [&b""[..], b"1 ", b"-1", b"+1", b"1a", b"\xb2"] {
        assert_eq!(decimal(wrong), None);
    }
}

#[test]
fn scanning_byte_by_byte_looks_at_each_byte_once() {
    // Ten times the bytes may not take more than ten times the lines found; a quadratic scan would find them again.
    let mut check = HeadCheck::new(HeadLimits::default());
    let input = [&b"GET / HTTP/1.1\r\n"[..], &b"X: y\r\n".repeat(90), b"\r\n"].concat();
    for len in 1..input.len() {
        assert_eq!(check.scan(&input[..len]), Progress::Incomplete);
        assert!(check.seen + 1 >= len, "it will not look at the first {len} bytes again");
    }
    assert!(matches!(check.scan(&input), Progress::Complete { .. }));
}
