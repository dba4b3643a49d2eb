use super::*;

fn pass(bytes: &[u8]) -> (Passed, Vec<u8>) {
    let mut data = Vec::new();
    let passed = ChunkCheck::default().pass(bytes, |piece| data.extend_from_slice(piece));
    (passed, data)
}

#[test]
fn a_body_ends_with_its_last_line_and_not_before() {
    let body = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    for len in 0..body.len() {
        assert_eq!(pass(&body[..len]).0, Passed { good: len, then: Then::More });
    }
    let (passed, data) = pass(&[&body[..], b"GET / HTTP/1.1\r\n"].concat());
    assert_eq!(passed, Passed { good: body.len(), then: Then::Done });
    assert_eq!(data, b"hello0123456789");
}

#[test]
fn the_first_byte_out_of_place_does_not_pass() {
    for (body, good, flaw) in [
        (&b"5 \r\n"[..], 1, HeadFlaw::CHUNK_SIZE),
        (b"5\n", 1, HeadFlaw::BARE_LF),
        (b"5\rx", 2, HeadFlaw::BARE_CR),
        (b"1\r\nab", 4, HeadFlaw::CHUNK_END),
        (b"1\r\na\n", 4, HeadFlaw::CHUNK_END),
        (b"1;a\n", 3, HeadFlaw::BARE_LF),
        (b"0\r\n\n", 3, HeadFlaw::TRAILER),
        (b"0\r\nHost: x\r\n", 7, HeadFlaw::TRAILER),
        (b"0\r\nX: a\nb", 7, HeadFlaw::BARE_LF),
        (b"0\r\nX: \0", 6, HeadFlaw::CONTROL),
        (b"0\r\n\rx", 4, HeadFlaw::BARE_CR),
    ] {
        assert_eq!(pass(body).0, Passed { good, then: Then::Bad(flaw) }, "{}", body.escape_ascii());
    }
}

#[test]
fn the_largest_size_is_sixteen_digits_and_its_data_may_be_endless() {
    let mut check = ChunkCheck::default();
    assert_eq!(check.pass(b"ffffffffffffffff\r\n", |_| {}).then, Then::More);
    for _ in 0..64 {
        assert_eq!(check.pass(&[b'x'; 4096], |_| {}), Passed { good: 4096, then: Then::More });
    }
}

#[test]
fn a_long_trailer_name_is_not_mistaken_for_a_forbidden_one() {
    let long = "host".repeat(20);
    assert_eq!(pass(format!("0\r\n{long}: x\r\n\r\n").as_bytes()).0.then, Then::Done);
}

#[test]
fn trailers_end_at_their_caps() {
    let many = b"X: y\r\n".repeat(17);
    assert_eq!(pass(&[&b"0\r\n"[..], &many].concat()).0.then, Then::Bad(HeadFlaw::TRAILERS));
    let long = [&b"0\r\nX: "[..], &[b'y'; 9000]].concat();
    assert_eq!(pass(&long).0.then, Then::Bad(HeadFlaw::TRAILERS));
}

#[test]
fn the_sizes_of_an_answer_may_be_padded_and_those_of_a_request_may_not() {
    let body = b"5  \r\nhello\r\n1\t;x=y\r\n!\r\n0             \r\n\r\n";
    let mut data = Vec::new();
    for cut in 0..body.len() {
        let mut check = ChunkCheck::of_answer();
        data.clear();
        assert_eq!(check.pass(&body[..cut], |piece| data.extend_from_slice(piece)).then, Then::More, "{cut}");
        assert_eq!(check.pass(&body[cut..], |piece| data.extend_from_slice(piece)).then, Then::Done, "{cut}");
        assert_eq!(data, b"hello!");
    }
    assert_eq!(pass(body).0.then, Then::Bad(HeadFlaw::CHUNK_SIZE));
    for body in [&b" 5\r\n"[..], b"5 5\r\n", b"5 \n", b"5                 \r\n", b"5 x\r\n"] {
        let then = ChunkCheck::of_answer().pass(body, |_| {}).then;
        assert_eq!(then, Then::Bad(HeadFlaw::CHUNK_SIZE), "{}", body.escape_ascii());
    }
}
