//! Any bytes as a stream of events or of lines, cut anywhere: the first byte says which, the second where.

use bytes::BytesMut;
use tollgate_core::call::Dialect;
use tollgate_layers::protocol::frames::meter::Meter;
use tollgate_layers::protocol::frames::{Frames, Keep, Ndjson, Sse};

/// However a stream is cut, the same frames are seen, the same bytes go on, and the same tokens are counted.
pub(crate) fn run(data: &[u8]) {
    let [kind, step, stream @ ..] = data else { return };
    let dialect = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Ollama][usize::from(kind >> 1) % 3];
    let frames = || -> Box<dyn Frames> { if kind & 1 == 0 { Box::<Sse>::default() } else { Box::<Ndjson>::default() } };
    let whole = passed(frames(), dialect, stream, stream.len().max(1), Meter::new(dialect, true));
    for step in [1, usize::from(*step).max(1)] {
        assert_eq!(passed(frames(), dialect, stream, step, Meter::new(dialect, true)), whole, "cut every {step} bytes");
    }
    let untouched = passed(frames(), dialect, stream, 3, Meter::new(dialect, false));
    assert_eq!(untouched.0, stream, "without a frame to take out, every byte goes on");
}

/// What goes on, the frames that were seen, and what was counted.
fn passed(
    mut frames: Box<dyn Frames>,
    dialect: Dialect,
    stream: &[u8],
    step: usize,
    mut meter: Meter,
) -> (Vec<u8>, Vec<Vec<u8>>, (Option<u64>, u64, bool)) {
    let (mut out, mut seen) = (BytesMut::new(), Vec::new());
    let mut look = |payload: &[u8]| {
        seen.push(payload.to_vec());
        let keep = meter.frame(payload);
        assert!(keep == Keep::Pass || dialect == Dialect::OpenAi, "only OpenAI's usage has a frame of its own");
        keep
    };
    for piece in stream.chunks(step) {
        frames.push(piece, &mut out, &mut look).expect("shorter than the longest frame");
    }
    frames.end(&mut out, &mut look);
    (out.to_vec(), seen, (meter.input_tokens(), meter.output_tokens(), meter.is_done()))
}
