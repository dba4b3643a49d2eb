use proptest::prelude::*;

use super::*;
use crate::listen::cases::{By, Case};

const GOOD: &[u8] =
    b"POST /good HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

/// What [`walk`] finds in `pieces`, each shown as soon as it arrives, as `StrictIo` does.
fn walk_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Walked> {
    let mut wire = Wire::new(HeadLimits::default(), false);
    let mut held = Vec::new();
    let mut seen: Vec<Walked> = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        while !held.is_empty() {
            let mut data = Vec::new();
            let (taken, over) = match wire.step(&held, |bytes| data.extend_from_slice(bytes)) {
                Step::Partial => break,
                Step::Refused(head) => {
                    seen.push(Walked { head, body: Vec::new(), whole: false, body_flaw: None });
                    (0, true)
                }
                Step::Head(end, head) => {
                    seen.push(Walked { head, body: Vec::new(), whole: false, body_flaw: None });
                    (end, false)
                }
                Step::Body(taken) => (taken, false),
                Step::BodyFlaw(taken, flaw) => {
                    seen.last_mut().expect("a body has a head").body_flaw = Some(flaw);
                    (taken, true)
                }
            };
            if let Some(last) = seen.last_mut() {
                last.body.extend(data);
                last.whole = wire.at_head() && last.head.refused.is_none();
            }
            if over {
                return seen;
            }
            held.drain(..taken);
        }
    }
    seen
}

fn assert_verdict(case: &Case, seen: &[Walked], before: usize) {
    let name = &case.name;
    assert_eq!(seen.len(), before + case.replies, "{name}");
    let last = seen.last().expect("a request");
    let flaw = match case.by {
        Some(By::Body) => last.body_flaw,
        Some(By::Gate) => last.head.refused,
        Some(By::Hygiene) | None => {
            assert_eq!(last.code(), None, "{name}: {:?}", last.head.refused.or(last.body_flaw));
            assert!(last.whole, "{name}");
            return;
        }
    };
    assert_eq!(flaw.map(|flaw| flaw.why), case.why.as_deref(), "{name}");
    assert_eq!(last.code().map(Code::status), Some(case.status), "{name}");
}

#[test]
fn every_framing_case_has_its_verdict() {
    for case in Case::all() {
        assert_verdict(&case, &walk(&case.bytes(), HeadLimits::default()), 0);
    }
}

#[test]
fn every_framing_case_has_its_verdict_behind_a_good_request() {
    for case in Case::all() {
        let seen = walk(&[GOOD, &case.bytes()].concat(), HeadLimits::default());
        assert_eq!((seen[0].body.as_slice(), seen[0].whole), (&b"ok"[..], true));
        assert_verdict(&case, &seen, 1);
    }
}

#[test]
fn every_framing_case_has_its_verdict_wherever_it_is_split() {
    for case in Case::all() {
        let bytes = case.bytes();
        let whole = walk(&bytes, HeadLimits::default());
        for at in case.splits() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(walk_pieces([first, second]), whole, "{} split at {at}", case.name);
        }
        if bytes.len() < 4096 {
            assert_eq!(walk_pieces(bytes.chunks(1)), whole, "{} byte by byte", case.name);
        }
    }
}

#[test]
fn every_flaw_but_lateness_has_a_case() {
    let cases = Case::all();
    for flaw in HeadFlaw::ALL.iter().filter(|flaw| **flaw != HeadFlaw::LATE) {
        assert!(cases.iter().any(|case| case.why.as_deref() == Some(flaw.why)), "`{}`", flaw.why);
    }
}

#[test]
fn a_lenient_listener_lets_a_flawed_head_through_and_notes_the_flaw() {
    for (input, flaw) in [
        (&b"GET / HTTP/1.1\nHost: x\n\n"[..], HeadFlaw::BARE_LF),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", HeadFlaw::LENGTH_AND_CODING),
        (b"GET /\r\nX-A: b\rc\r\n\r\n", HeadFlaw::NO_VERSION),
    ] {
        let mut wire = Wire::new(HeadLimits::default(), true);
        let Step::Head(end, head) = wire.step(input, |_| {}) else { panic!("{flaw:?}") };
        assert_eq!((end, head.refused), (input.len(), Some(flaw)));
    }
}

#[test]
fn a_lenient_listener_still_refuses_a_head_without_end() {
    let mut wire = Wire::new(HeadLimits::default(), true);
    let Step::Refused(head) = wire.step(&[b'x'; 20_000], |_| {}) else { panic!("it was let through") };
    assert_eq!((head.refused, head.bytes.len()), (Some(HeadFlaw::HEAD_TOO_LARGE), 16_384));
}

proptest! {
    #[test]
    fn arbitrary_bytes_mean_the_same_in_one_piece_and_in_any_pieces(
        bytes in prop::collection::vec(prop_oneof![
            Just(&b"GET / HTTP/1.1\r\n"[..]), Just(&b"Transfer-Encoding: chunked\r\n"[..]), Just(&b"Content-Length: 3\r\n"[..]),
            Just(&b"\r\n"[..]), Just(&b"\r"[..]), Just(&b"\n"[..]), Just(&b":"[..]), Just(&b" "[..]), Just(&b"0"[..]),
            Just(&b"3\r\nabc\r\n"[..]), Just(&b"\0"[..]), Just(&b"x"[..]), Just(&b";"[..]), Just(&b"X-A: b\r\n"[..]),
        ], 0..24),
        sizes in prop::collection::vec(1_usize..9, 1..40),
    ) {
        let bytes = bytes.concat();
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        prop_assert_eq!(walk_pieces(pieces), walk(&bytes, HeadLimits::default()));
    }

    #[test]
    fn no_input_makes_the_walk_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _seen = walk(&bytes, HeadLimits { max_head_bytes: 256, max_headers: 3, max_target_bytes: 9 });
    }
}
