//! Any bytes as the input of an HTTP/1 connection: the first says in which pieces they come.

use tollgate_gateway::listen::head::{Framing, HeadLimits};
use tollgate_gateway::listen::wire::{Step, Walked, Wire, walk};

/// Small enough that inputs reach every cap.
const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 512, max_headers: 8, max_target_bytes: 128 };

/// What is seen does not depend on where the input was cut; a served head has a body of the length that it told.
pub(crate) fn run(data: &[u8]) {
    let Some((piece, input)) = data.split_first() else { return };
    let whole = walk(input, LIMITS);
    assert_eq!(in_pieces(input, usize::from(*piece).max(1)), whole, "cuts change nothing");
    let bytes: usize = whole.iter().map(|seen| seen.head.bytes.len() + seen.body.len()).sum();
    assert!(bytes <= input.len(), "nothing is seen twice");
    for (place, seen) in whole.iter().enumerate() {
        let last = place + 1 == whole.len();
        assert!(last || (seen.whole && seen.code().is_none()), "nothing is served behind a flaw or a cut body");
        if let (true, Framing::Length(length)) = (seen.whole, seen.head.framing) {
            assert_eq!(seen.body.len() as u64, length, "a whole body is as long as its head says");
        }
    }
}

/// The same walk, shown the input bit by bit.
fn in_pieces(input: &[u8], piece: usize) -> Vec<Walked> {
    let mut wire = Wire::new(LIMITS, false);
    let mut seen: Vec<Walked> = Vec::new();
    let (mut passed, mut shown) = (0, piece.min(input.len()));
    loop {
        if passed == shown {
            if shown == input.len() {
                return seen;
            }
            shown = shown.saturating_add(piece).min(input.len());
        }
        let mut data = Vec::new();
        match wire.step(&input[passed..shown], |bytes| data.extend_from_slice(bytes)) {
            Step::Partial if shown == input.len() => return seen,
            Step::Partial => shown = shown.saturating_add(piece).min(input.len()),
            Step::Refused(head) => {
                seen.push(Walked { head, body: data, whole: false, body_flaw: None });
                return seen;
            }
            Step::Head(end, head) => {
                seen.push(Walked { head, body: data, whole: wire.at_head(), body_flaw: None });
                passed += end;
            }
            Step::Body(taken) => {
                let last = seen.last_mut().expect("a body has a head");
                last.body.extend_from_slice(&data);
                last.whole = wire.at_head();
                passed += taken;
            }
            Step::BodyFlaw(_, flaw) => {
                let last = seen.last_mut().expect("a body has a head");
                last.body.extend_from_slice(&data);
                last.body_flaw = Some(flaw);
                return seen;
            }
        }
    }
}
