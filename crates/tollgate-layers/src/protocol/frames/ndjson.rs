//! Newline-delimited JSON: one document a line.

use bytes::{Buf, BytesMut};

use super::{Frames, Keep, MAX_FRAME, TooLong};

/// Lines while they pass.
#[derive(Debug, Default)]
pub struct Ndjson {
    held: BytesMut,
    searched: usize,
}

impl Frames for Ndjson {
    fn push(&mut self, bytes: &[u8], out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) -> Result<(), TooLong> {
        self.held.extend_from_slice(bytes);
        while let Some(at) = memchr::memchr(b'\n', self.held.get(self.searched..).unwrap_or_default()) {
            let end = self.searched + at + 1;
            self.release(end, out, look);
        }
        self.searched = self.held.len();
        if self.held.len() > MAX_FRAME { Err(TooLong) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) {
        self.release(self.held.len(), out, look);
    }

    fn let_go(&mut self, _: &mut BytesMut) {}
}

impl Ndjson {
    fn release(&mut self, end: usize, out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) {
        let line = self.held.get(..end).unwrap_or_default();
        let text = line.trim_ascii();
        // Nobody adds lines to this form, so that none is held for another.
        if text.is_empty() || matches!(look(text), Keep::Hold | Keep::Pass) {
            out.extend_from_slice(line);
        }
        self.held.advance(end.min(self.held.len()));
        self.searched = 0;
    }
}
