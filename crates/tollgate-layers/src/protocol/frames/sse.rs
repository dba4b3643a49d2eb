//! Server-sent events (WHATWG HTML, event stream): lines end in LF, CRLF or CR, a blank line ends an event, its `data`
//! lines are joined by LF.

use bytes::{Buf, BytesMut};

use super::{Frames, Keep, MAX_FRAME, TooLong};

/// An event stream while it passes.
#[derive(Debug, Default)]
pub struct Sse {
    /// The event that is not complete, as it came.
    held: BytesMut,
    /// Where its current line begins, and how far that was searched.
    line: usize,
    searched: usize,
    /// The payload so far.
    data: Vec<u8>,
    data_lines: usize,
    /// Where the last of its lines ends.
    data_end: usize,
    /// The event that waits for the next one, and where the line of its payload ends if that is one.
    waiting: BytesMut,
    waiting_end: Option<usize>,
    /// The last line ended in CR: an LF right behind it belongs to it.
    after_cr: bool,
    /// Anything came: a byte order mark stands only at the very front.
    begun: bool,
}

impl Frames for Sse {
    fn push(&mut self, bytes: &[u8], out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) -> Result<(), TooLong> {
        self.held.extend_from_slice(bytes);
        while let Some((end, next)) = self.line_end() {
            let event_ended = self.take_line(end);
            self.line = next;
            self.searched = next;
            if event_ended {
                self.release(next, out, look);
            }
        }
        self.searched = self.held.len();
        if self.held.len() > MAX_FRAME { Err(TooLong) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut BytesMut, _: &mut dyn FnMut(&[u8]) -> Keep) {
        self.let_go(out);
        out.extend_from_slice(&self.held);
        self.held.clear();
    }

    fn let_go(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.waiting);
        self.waiting.clear();
    }
}

impl Sse {
    /// End of the current line, and where the next one begins.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        let held: &[u8] = &self.held;
        if self.after_cr && self.searched == self.line {
            let first = *held.get(self.line)?;
            self.after_cr = false;
            if first == b'\n' {
                self.line += 1;
                self.searched = self.line;
            }
        }
        let at = self.searched + memchr::memchr2(b'\n', b'\r', held.get(self.searched..)?)?;
        self.after_cr = held.get(at) == Some(&b'\r');
        Some((at, at + 1))
    }

    /// Reads the line that ends at `end`; whether it is the blank one.
    fn take_line(&mut self, end: usize) -> bool {
        let line = self.held.get(self.line..end).unwrap_or_default();
        let mark: &[u8] = if self.begun { b"" } else { b"\xEF\xBB\xBF" };
        self.begun = true;
        let line = line.strip_prefix(mark).unwrap_or(line);
        if line.is_empty() {
            return true;
        }
        let value = if line == b"data" { Some(&b""[..]) } else { line.strip_prefix(b"data:") };
        if let Some(value) = value {
            if self.data_lines > 0 {
                self.data.push(b'\n');
            }
            self.data_lines += 1;
            self.data_end = end;
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
        false
    }

    /// Lets the event that ends at `end` go on, or not.
    fn release(&mut self, end: usize, out: &mut BytesMut, look: &mut dyn FnMut(&[u8]) -> Keep) {
        let keep = if self.data_lines > 0 { look(&self.data) } else { Keep::Pass };
        let event = self.held.get(..end).unwrap_or_default();
        if let Keep::Leave(members) = &keep {
            inherit(&mut self.waiting, self.waiting_end, members);
        }
        out.extend_from_slice(&self.waiting);
        self.waiting.clear();
        match keep {
            Keep::Drop | Keep::Leave(_) => {}
            Keep::Hold => {
                self.waiting.extend_from_slice(event);
                self.waiting_end = (self.data_lines == 1).then_some(self.data_end);
            }
            Keep::Pass => out.extend_from_slice(event),
        }
        self.held.advance(end.min(self.held.len()));
        self.data.clear();
        (self.data_lines, self.data_end) = (0, 0);
        (self.line, self.searched) = (0, 0);
    }
}

/// Puts members at the end of the object in which the line up to `end` ends. Where it ends in none, they are lost.
fn inherit(event: &mut BytesMut, end: Option<usize>, members: &[u8]) {
    let Some((line, rest)) = end.and_then(|end| event.split_at_checked(end)) else { return };
    let Some(object) = line.trim_ascii_end().strip_suffix(b"}") else { return };
    let whole = [object, members, b"}".as_slice(), rest].concat();
    event.clear();
    event.extend_from_slice(&whole);
}
