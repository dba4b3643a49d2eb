//! The head checker: what an HTTP/1 request line and its fields must look like before anything else sees them.
//!
//! Pure and resumable: it is shown the bytes received so far, looks at each of them once, and says where the head
//! ends, how its body is framed and what is wrong with it. Whether Host, path and method make sense together is the
//! business of layer `hygiene`; what a body holds is nobody's here.

use bytes::Bytes;
use memchr::{memchr, memchr2};

use crate::listen::flaw::HeadFlaw;
use crate::listen::kinds::{CONTROL, HIGH, NO_TOKEN, kinds};
use crate::listen::line::check_request_line;

/// How large a head may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadLimits {
    /// Bytes of the whole head, with the request line and the last empty line.
    pub max_head_bytes: usize,
    /// Field lines.
    pub max_headers: usize,
    /// Bytes of the target in the request line.
    pub max_target_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head_bytes: 16_384, max_headers: 100, max_target_bytes: 8_192 }
    }
}

/// How the body behind a head is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// In chunks.
    Chunked,
    /// By `Content-Length`.
    Length(u64),
    /// There is none.
    None,
}

/// A head as it was received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawHead {
    /// Request line and fields, up to the flaw if it was refused.
    pub bytes: Bytes,
    /// What follows it. Of a refused head only a guess.
    pub framing: Framing,
    /// Why it must not be served.
    pub refused: Option<HeadFlaw>,
}

impl RawHead {
    /// The request line, without its line end.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        lines(&self.bytes).next().unwrap_or_default()
    }

    /// The method, as sent.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.line().split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The target, as sent: from the first space to the last.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        let line = self.line();
        let first = memchr(b' ', line).map_or(line.len(), |at| at + 1);
        let last = memchr::memrchr(b' ', line).unwrap_or(line.len());
        line.get(first..last).or_else(|| line.get(first..)).unwrap_or_default()
    }

    /// What stands behind the last space of the request line; a line without it is that of HTTP/0.9.
    #[must_use]
    pub fn protocol(&self) -> &[u8] {
        let line = self.line();
        let (first, last) = (memchr(b' ', line), memchr::memrchr(b' ', line));
        let version = last.filter(|_| first != last).and_then(|at| line.get(at + 1..));
        version.filter(|version| !version.is_empty()).unwrap_or(b"HTTP/0.9")
    }

    /// Names and values in the order and case received, values without outer white space. Lines that are no fields
    /// are left out.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines(&self.bytes).skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
            let colon = memchr(b':', line)?;
            Some((line.get(..colon)?, trim(line.get(colon + 1..)?)))
        })
    }
}

/// What a scan found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The head is over, or refused for what has been received of it.
    Complete {
        /// Where it ends in the scanned bytes.
        end: usize,
        /// The head.
        head: RawHead,
    },
    /// More bytes are needed.
    Incomplete,
}

/// The state of a scan of one head.
#[derive(Debug)]
pub struct HeadCheck {
    limits: HeadLimits,
    lenient: bool,
    /// Where the line being read begins.
    line: usize,
    /// Up to here no line end was found.
    seen: usize,
    /// Where the request line begins.
    start: usize,
    place: Place,
    fields: usize,
    facts: Facts,
    flaw: Option<HeadFlaw>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Before the request line, and before the one empty line that may precede it.
    Start,
    AfterEmpty,
    Fields,
}

/// What the lines say about the body.
#[derive(Debug, Default)]
struct Facts {
    old: bool,
    lengths: u32,
    length: Option<u64>,
    codings: u32,
    chunked: bool,
}

impl HeadCheck {
    /// The checker of a listener that refuses.
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self::with(limits, false)
    }

    /// The checker of a listener for conformance runs: it notes a flaw and looks for the end of the head, taking
    /// bare line feeds for line ends. Only a head that is too large is refused.
    #[must_use]
    pub const fn lenient(limits: HeadLimits) -> Self {
        Self::with(limits, true)
    }

    const fn with(limits: HeadLimits, lenient: bool) -> Self {
        Self {
            limits,
            lenient,
            line: 0,
            seen: 0,
            start: 0,
            place: Place::Start,
            fields: 0,
            facts: Facts { old: false, lengths: 0, length: None, codings: 0, chunked: false },
            flaw: None,
        }
    }

    /// Whether more has arrived than the one empty line that may stand before a request line.
    #[must_use]
    pub const fn begun(&self, received: usize) -> bool {
        received > self.start
    }

    /// Looks at what has arrived since the last call. `received` always begins with the first byte of the head.
    pub fn scan(&mut self, received: &[u8]) -> Progress {
        let max = self.limits.max_head_bytes;
        let view = received.get(..max).unwrap_or(received);
        while let Some(end) = self.find_line(view) {
            let begin = self.line;
            let line = view.get(begin..end.text).unwrap_or_default();
            self.line = end.next;
            self.seen = end.next;
            let over = self.read_line(line, end.next);
            if over {
                self.settle();
            }
            if over || (self.flaw.is_some() && !self.lenient) {
                return self.complete(view, end.next);
            }
        }
        if self.flaw.is_some() && !self.lenient {
            return self.complete(view, self.seen);
        }
        if view.len() >= max {
            self.flaw = Some(HeadFlaw::HEAD_TOO_LARGE);
            return self.complete(view, view.len());
        }
        Progress::Incomplete
    }

    /// The end of the line being read, if it has arrived.
    fn find_line(&mut self, view: &[u8]) -> Option<LineEnd> {
        loop {
            let Some(at) = view.get(self.seen..).and_then(|rest| memchr2(b'\r', b'\n', rest)).map(|at| at + self.seen)
            else {
                self.seen = view.len();
                return None;
            };
            if view.get(at) == Some(&b'\n') {
                self.note(HeadFlaw::BARE_LF);
                return Some(LineEnd { text: at, next: at + 1 });
            }
            match view.get(at + 1) {
                Some(b'\n') => return Some(LineEnd { text: at, next: at + 2 }),
                Some(_) => {
                    self.note(HeadFlaw::BARE_CR);
                    self.seen = at + 1;
                    if !self.lenient {
                        return None;
                    }
                }
                None => {
                    self.seen = at;
                    return None;
                }
            }
        }
    }

    /// Takes one line; true if it was the last one of the head.
    fn read_line(&mut self, line: &[u8], next: usize) -> bool {
        match (self.place, line.is_empty()) {
            (Place::Start, true) => {
                self.place = Place::AfterEmpty;
                self.start = next;
            }
            (Place::AfterEmpty, true) => {
                self.note(HeadFlaw::EMPTY_LINES);
                self.start = next;
            }
            (Place::Start | Place::AfterEmpty, false) => {
                self.place = Place::Fields;
                self.facts.old = line.ends_with(b"HTTP/1.0");
                if let Err(flaw) = check_request_line(line, self.limits.max_target_bytes) {
                    self.note(flaw);
                }
            }
            (Place::Fields, true) => return true,
            (Place::Fields, false) => {
                self.fields += 1;
                if self.fields > self.limits.max_headers {
                    self.note(HeadFlaw::TOO_MANY);
                } else if let Err(flaw) = self.facts.read_field(line) {
                    self.note(flaw);
                }
            }
        }
        false
    }

    /// What can be said only once all fields are known.
    fn settle(&mut self) {
        let facts = &self.facts;
        if facts.codings > 0 && facts.lengths > 0 {
            self.note(HeadFlaw::LENGTH_AND_CODING);
        } else if facts.codings > 0 && facts.old {
            self.note(HeadFlaw::CODING_ON_1_0);
        }
    }

    /// The first flaw stays.
    const fn note(&mut self, flaw: HeadFlaw) {
        if self.flaw.is_none() {
            self.flaw = Some(flaw);
        }
    }

    fn complete(&self, view: &[u8], end: usize) -> Progress {
        let framing = match self.facts {
            Facts { chunked: true, old: false, .. } => Framing::Chunked,
            Facts { length: Some(length @ 1..), codings: 0, .. } => Framing::Length(length),
            _ => Framing::None,
        };
        let bytes = Bytes::copy_from_slice(view.get(self.start..end).unwrap_or_default());
        Progress::Complete { end, head: RawHead { bytes, framing, refused: self.flaw } }
    }
}

struct LineEnd {
    /// Where its text ends.
    text: usize,
    /// Where the next line begins.
    next: usize,
}

impl Facts {
    fn read_field(&mut self, line: &[u8]) -> Result<(), HeadFlaw> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadFlaw::OBS_FOLD);
        }
        let colon = memchr(b':', line).ok_or(HeadFlaw::NO_COLON)?;
        let (name, rest) = line.split_at_checked(colon).unwrap_or_default();
        let value = trim(rest.get(1..).unwrap_or_default());
        match name.last() {
            None => return Err(HeadFlaw::EMPTY_NAME),
            Some(b' ' | b'\t') => return Err(HeadFlaw::SPACE_BEFORE_COLON),
            Some(_) if kinds(name) & NO_TOKEN != 0 => return Err(HeadFlaw::NAME),
            Some(_) => {}
        }
        let found = kinds(value);
        if found & CONTROL != 0 {
            return Err(if memchr(0, value).is_some() { HeadFlaw::NUL } else { HeadFlaw::CONTROL });
        }
        if found & HIGH != 0 && ASCII_ONLY.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Err(HeadFlaw::OBS_TEXT);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            return self.read_length(value);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return self.read_coding(value);
        }
        Ok(())
    }

    fn read_length(&mut self, value: &[u8]) -> Result<(), HeadFlaw> {
        self.lengths += 1;
        if self.lengths > 1 {
            return Err(HeadFlaw::LENGTH_TWICE);
        }
        self.length = decimal(value);
        if self.length.is_none() {
            let list = memchr(b',', value).is_some();
            return Err(if list { HeadFlaw::LENGTH_TWICE } else { HeadFlaw::LENGTH });
        }
        Ok(())
    }

    fn read_coding(&mut self, value: &[u8]) -> Result<(), HeadFlaw> {
        self.codings += 1;
        // What a lax parser goes by: the last coding of the last line.
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        self.chunked = trim(last).eq_ignore_ascii_case(b"chunked");
        if self.codings > 1 {
            return Err(HeadFlaw::CODING_TWICE);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        Err(if memchr(b',', value).is_some() { HeadFlaw::CODING_TWICE } else { HeadFlaw::CODING })
    }
}

/// Fields whose values are compared byte by byte, by us or by a server behind us.
const ASCII_ONLY: &[&[u8]] = &[b"host", b"authorization", b"x-api-key", b"api-key"];

/// Digits alone, and no more than a codec can count to.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let number = value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    // hyper keeps the two largest numbers for its own use.
    (number <= u64::MAX - 2).then_some(number)
}

/// Without white space at either end.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests;
