//! Frames of answers that come in pieces: events of a stream, lines of NDJSON; and messages of gRPC, both ways.
//!
//! A frame goes on as soon as it is complete, byte for byte as it came; only a frame that is cut in two is held until the
//! rest has come. What stands in it is told to the caller, who may take a whole frame out, or let it wait for the next.

pub mod grpc;
pub mod meter;
mod ndjson;
mod sse;
#[cfg(test)]
mod tests;

use bytes::BytesMut;

pub use ndjson::Ndjson;
pub use sse::Sse;

/// The longest frame. A server that sends a longer one is cut off: nobody could look into it.
pub const MAX_FRAME: usize = 1 << 20;

/// What is done with a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Keep {
    /// It is taken out.
    Drop,
    /// It goes on in front of the next one, which may leave something to it.
    Hold,
    /// It is taken out, and these members, each behind a comma, go on at the end of the one that was held.
    Leave(Box<[u8]>),
    /// It goes on.
    Pass,
}

/// A frame outgrew [`MAX_FRAME`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a frame of more than {MAX_FRAME} bytes")]
pub struct TooLong;

/// Cuts a stream into frames.
pub trait Frames: Send {
    /// Takes the next bytes, shows each payload that they complete to `look`, and writes to `out` what may go on.
    ///
    /// # Errors
    /// [`TooLong`]; the stream must end.
    fn push(&mut self, bytes: &[u8], out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) -> Result<(), TooLong>;

    /// The stream has ended: what was held goes on. An event without its blank line is none (WHATWG), and passes unseen.
    fn end(&mut self, out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep);

    /// The stream is cut: whole frames that wait for the next one go on.
    fn let_go(&mut self, out: &mut BytesMut);
}
