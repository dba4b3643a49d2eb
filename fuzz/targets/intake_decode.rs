//! Any bytes as a coded body: the first says how it is coded, the next two how much may come of it.

use bytes::Bytes;
use tollgate_layers::intake::{Coding, Limits, RATIO_FLOOR, decode};

/// However it ends, no more was held than was agreed to; what comes out is within every cap.
pub(crate) fn run(data: &[u8]) {
    let Some(([coding, size, budget], coded)) = data.split_first_chunk::<3>() else { return };
    let coding = match coding % 4 {
        0 => Coding::Brotli,
        1 => Coding::Deflate,
        2 => Coding::Gzip,
        _ => Coding::Identity,
    };
    let limits = Limits { max_decoded: u64::from(*size) << 10, max_ratio: 100 };
    let most = usize::from(*budget) << 14;
    let mut held = 0_usize;
    let mut grow = |more: usize| {
        let grown = held.saturating_add(more);
        let room = grown <= most;
        if room {
            held = grown;
        }
        room
    };
    let input = Bytes::copy_from_slice(coded);
    let Ok(decoded) = decode(coding, &input, limits, &mut grow) else { return };
    let length = decoded.body.len() as u64;
    assert!(length <= limits.max_decoded, "the cap on output holds");
    assert!(decoded.held <= held, "what the body occupies was agreed to");
    if coding == Coding::Identity {
        assert_eq!((&decoded.body, decoded.held), (&input, 0), "a plain body is passed on as it is");
    } else {
        assert!(decoded.body.len() <= decoded.held, "what the body occupies is counted");
        let steepest = (coded.len() as u64).saturating_mul(u64::from(limits.max_ratio));
        assert!(length <= steepest.max(RATIO_FLOOR), "the ratio holds");
    }
}
