//! Headers as other programs write them, and every way of breaking them.

use proptest::prelude::*;

use super::{FIXED, MOST_EXTENSIONS, Said, Unfit, crc32c, parse, read, rest_of};

fn header(kind: u8, family: u8, rest: &[u8]) -> ([u8; FIXED], Vec<u8>) {
    let mut fixed = *b"\r\n\r\n\0\r\nQUIT\n\0\0\0\0";
    fixed[12] = kind;
    fixed[13] = family;
    fixed[14..].copy_from_slice(&u16::try_from(rest.len()).expect("short").to_be_bytes());
    (fixed, rest.to_vec())
}

fn v4(extensions: &[u8]) -> ([u8; FIXED], Vec<u8>) {
    let ends = [192, 0, 2, 7, 10, 0, 0, 1, 0xC3, 0x50, 0x01, 0xBB];
    header(0x21, 0x11, &[&ends, extensions].concat())
}

fn said((fixed, rest): &([u8; FIXED], Vec<u8>)) -> Result<Said, Unfit> {
    parse(fixed, rest)
}

/// The extension of the checksum with the right sum in it, and `more` behind it.
fn summed(more: &[u8]) -> ([u8; FIXED], Vec<u8>) {
    let (fixed, rest) = v4(&[&[3, 0, 4, 0, 0, 0, 0], more].concat());
    let sum = crc32c(fixed.iter().chain(&rest).copied());
    v4(&[&[3, 0, 4], &sum.to_be_bytes()[..], more].concat())
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xE306_9283);
}

#[test]
fn ends_of_ipv4_and_ipv6_are_read() {
    let (from, to) = ("192.0.2.7:50000".parse().expect("an end"), "10.0.0.1:443".parse().expect("an end"));
    assert_eq!(said(&v4(&[])), Ok(Said::Proxied { from, to }));
    let mut rest = vec![0; 36];
    rest[..4].copy_from_slice(&[0x20, 1, 0x0D, 0xB8]);
    rest[15] = 9;
    rest[31] = 1;
    rest[32..].copy_from_slice(&[0x30, 0x39, 0, 80]);
    let (from, to) = ("[2001:db8::9]:12345".parse().expect("an end"), "[::1]:80".parse().expect("an end"));
    assert_eq!(said(&header(0x21, 0x21, &rest)), Ok(Said::Proxied { from, to }));
}

#[test]
fn ipv4_in_ipv6_clothes_is_ipv4() {
    let mut rest = vec![0; 36];
    rest[10..16].copy_from_slice(&[0xFF, 0xFF, 192, 0, 2, 7]);
    let Ok(Said::Proxied { from, .. }) = said(&header(0x21, 0x21, &rest)) else { panic!("it is good") };
    assert_eq!(from.ip().to_string(), "192.0.2.7");
}

#[test]
fn a_proxy_that_speaks_for_itself_may_write_what_it_likes() {
    assert_eq!(said(&header(0x20, 0x00, &[])), Ok(Said::Local));
    assert_eq!(said(&header(0x20, 0x31, &[7; 216])), Ok(Said::Local));
}

#[test]
fn other_versions_families_and_transports_are_refused() {
    let ends = [0; 36];
    for family in [0x00, 0x12, 0x22, 0x31, 0x32, 0x10, 0x41, 0xFF] {
        assert_eq!(said(&header(0x21, family, &ends)), Err(Unfit::Family), "{family:02x}");
    }
    for kind in [0x00, 0x10, 0x11, 0x22, 0x2F, 0x31, 0xFF] {
        assert_eq!(said(&header(kind, 0x11, &ends)), Err(Unfit::NoHeader), "{kind:02x}");
    }
    assert_eq!(rest_of(b"PROXY TCP4 192.0"), Err(Unfit::NoHeader), "version 1");
}

#[test]
fn extensions_fill_the_header_and_are_bounded() {
    assert!(said(&v4(&[1, 0, 2, b'h', b'2', 4, 0, 0])).is_ok());
    for bad in [&[1][..], &[1, 0], &[1, 0, 3, b'h', b'2'], &[4, 0, 0, 9], &[1, 0xFF, 0xFF]] {
        assert_eq!(said(&v4(bad)), Err(Unfit::Extension), "{bad:?}");
    }
    let filled = |length: u16| [&[4][..], &length.to_be_bytes(), &vec![0; usize::from(length)]].concat();
    let most = u16::try_from(MOST_EXTENSIONS - 3).expect("short");
    assert!(said(&v4(&filled(most))).is_ok());
    assert_eq!(said(&v4(&filled(most + 1))), Err(Unfit::Length));
}

#[test]
fn a_checksum_that_is_there_is_right_and_alone() {
    assert!(said(&summed(&[])).is_ok());
    assert!(said(&summed(&[1, 0, 1, b'x'])).is_ok());
    assert_eq!(said(&summed(&[3, 0, 4, 0, 0, 0, 0])), Err(Unfit::Checksum), "two of them");
    assert_eq!(said(&v4(&[3, 0, 3, 0, 0, 0])), Err(Unfit::Extension), "a short one");
}

#[tokio::test]
async fn nothing_behind_a_header_is_read() {
    let (fixed, rest) = v4(&[]);
    let bytes = [&fixed[..], &rest, b"GET /"].concat();
    let mut stream = &bytes[..];
    assert!(read(&mut stream).await.is_ok());
    assert_eq!(stream, b"GET /");
}

#[tokio::test]
async fn a_header_that_breaks_off_is_an_error() {
    let (fixed, rest) = summed(&[]);
    let bytes = [&fixed[..], &rest].concat();
    for end in 0..bytes.len() {
        assert!(read(&mut &bytes[..end]).await.is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(fixed: [u8; FIXED], rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&fixed, &rest);
    }

    #[test]
    fn any_bytes_behind_a_good_beginning_are_answered(family: u8, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let whole = header(0x21, family, &rest);
        if let Ok(Said::Proxied { from, to }) = said(&whole) {
            prop_assert!(rest.len() >= 12 && (family == 0x11 || family == 0x21));
            prop_assert_eq!(from.ip(), from.ip().to_canonical());
            prop_assert_eq!(to.ip(), to.ip().to_canonical());
        }
    }

    #[test]
    fn a_summed_header_with_one_bit_turned_is_refused(bit in 0_usize..(FIXED + 19) * 8) {
        let (mut fixed, mut rest) = summed(&[]);
        let (byte, bit) = (bit / 8, bit % 8);
        match byte.checked_sub(FIXED) {
            None => fixed[byte] ^= 1 << bit,
            Some(byte) => rest[byte] ^= 1 << bit,
        }
        // What makes it `LOCAL` makes all of it mean nothing; the kind of the sum's extension makes that another one.
        let verdict = parse(&fixed, &rest);
        prop_assert!(verdict.is_err() || verdict == Ok(Said::Local) || byte == FIXED + 12, "{verdict:?}");
    }
}
