//! JSON, under the names that libmodsecurity gives: `json.a.array_0.b`.
//!
//! Strict (RFC 8259), because a body that two parsers read differently hides from one of them. No recursion: a stack of
//! frames, no deeper than the bound.

use std::ops::Range;

use memchr::memchr2;

use super::elements::push_index;
use super::escapes::unescape;
use super::numbers::{Runs, number_end, skip_space};
use super::{Bounds, Kind, Outlet, Piece, Report, Sink, Stop};
use crate::{Knowledge, Known};

/// Reads a document. `known` ranges are sorted and do not overlap: known numbers are reported as a run without being
/// read, whatever is inside a known prompt is reported as such. A range at which no value begins is ignored. A
/// body of no bytes at all is nothing, and no error.
pub fn json(body: &[u8], known: &[Known], bounds: &Bounds, sink: &mut dyn Sink) -> Report {
    if body.is_empty() {
        return Report::default();
    }
    let mut reader = Reader {
        body,
        at: 0,
        known,
        prompt: 0,
        depth: bounds.depth,
        outlet: Outlet::new(body, bounds, sink),
        name: b"json".to_vec(),
        text: Vec::new(),
        stack: Vec::new(),
        runs: Runs::default(),
    };
    Report { error: reader.document().err().and_then(Stop::error), ..Report::default() }
}

struct Reader<'b, 's> {
    body: &'b [u8],
    at: usize,
    /// What is known of the part that was not read yet.
    known: &'b [Known],
    /// End of the last known prompt.
    prompt: usize,
    depth: usize,
    outlet: Outlet<'s>,
    name: Vec<u8>,
    text: Vec<u8>,
    stack: Vec<Frame>,
    runs: Runs,
}

/// An object or an array that is open.
#[derive(Clone, Copy)]
struct Frame {
    kind: Container,
    /// Bytes of its own name.
    name: usize,
    /// Values that were read in it.
    count: usize,
}

#[derive(Clone, Copy)]
enum Container {
    Array,
    Object,
}

const ENDS: Stop = Stop::Error("json: the document ends too early");

impl Reader<'_, '_> {
    fn document(&mut self) -> Result<(), Stop> {
        self.skip_space();
        self.value()?;
        while let Some(frame) = self.stack.last_mut() {
            let Frame { kind, name, count } = *frame;
            frame.count += 1;
            self.name.truncate(name);
            self.skip_space();
            match kind {
                Container::Array => self.element(count)?,
                Container::Object => self.member(count)?,
            }
        }
        self.skip_space();
        if self.peek().is_some() { Err(Stop::Error("json: text behind the document")) } else { Ok(()) }
    }

    /// Reads the next element of an array, or its end.
    fn element(&mut self, index: usize) -> Result<(), Stop> {
        match self.peek().ok_or(ENDS)? {
            b']' => return self.close(),
            b',' if index > 0 => {
                self.at += 1;
                self.skip_space();
            }
            _ if index > 0 => return Err(Stop::Error("json: neither `,` nor `]` behind an element")),
            _ => {}
        }
        push_index(&mut self.name, index);
        self.value()
    }

    /// Reads the next member of an object, or its end.
    fn member(&mut self, index: usize) -> Result<(), Stop> {
        match self.peek().ok_or(ENDS)? {
            b'}' => return self.close(),
            b',' if index > 0 => {
                self.at += 1;
                self.skip_space();
            }
            _ if index > 0 => return Err(Stop::Error("json: neither `,` nor `}` behind a member")),
            _ => {}
        }
        if self.peek().ok_or(ENDS)? != b'"' {
            return Err(Stop::Error("json: a name of a member is not a string"));
        }
        let (raw, escaped) = self.string()?;
        self.name.push(b'.');
        if raw.is_empty() {
            self.name.extend_from_slice(b"empty-key");
        } else if escaped {
            unescape(raw, &mut self.name)?;
        } else {
            self.name.extend_from_slice(raw);
        }
        self.skip_space();
        match self.peek().ok_or(ENDS)? {
            b':' => self.at += 1,
            _ => return Err(Stop::Error("json: no `:` behind the name of a member")),
        }
        self.skip_space();
        self.value()
    }

    fn close(&mut self) -> Result<(), Stop> {
        self.at += 1;
        self.stack.pop();
        Ok(())
    }

    fn value(&mut self) -> Result<(), Stop> {
        if let Some(end) = self.knowledge() {
            let array = self.at..end;
            self.at = end;
            return self.numbers(array);
        }
        match self.peek().ok_or(ENDS)? {
            b'"' => self.text(),
            b'[' => match self.runs.end_of(self.body, self.at, self.depth.saturating_sub(self.stack.len())) {
                Some(end) => {
                    let array = self.at..end;
                    self.at = end;
                    self.numbers(array)
                }
                None => self.open(Container::Array),
            },
            b'{' => self.open(Container::Object),
            b'-' | b'0'..=b'9' => {
                let length = number_end(self.rest()).ok_or(Stop::Error("json: a number is malformed"))?;
                self.plain(length, length)
            }
            b'f' => self.word(b"false", 5),
            b'n' => self.word(b"null", 0),
            b't' => self.word(b"true", 4),
            _ => Err(Stop::Error("json: what should be a value is none")),
        }
    }

    /// Takes up what the caller knows of the value that begins here. If it is numbers: where it ends.
    fn knowledge(&mut self) -> Option<usize> {
        while let Some((known, rest)) = self.known.split_first()
            && known.at.start <= self.at
        {
            self.known = rest;
            if known.at.start == self.at {
                match known.what {
                    Knowledge::Prompt => self.prompt = known.at.end,
                    Knowledge::Numbers => {
                        let array = self.body.get(known.at.clone());
                        return matches!(array, Some([b'[', .., b']'])).then_some(known.at.end);
                    }
                }
            }
        }
        None
    }

    fn numbers(&mut self, array: Range<usize>) -> Result<(), Stop> {
        // Empty arrays alone make no argument, nested or not.
        let text = self.body.get(array.clone()).unwrap_or_default();
        if text.iter().any(u8::is_ascii_digit) { self.outlet.numbers(&self.name, array) } else { Ok(()) }
    }

    fn open(&mut self, kind: Container) -> Result<(), Stop> {
        if self.stack.len() >= self.depth {
            return Err(Stop::Error("json: nested too deep"));
        }
        self.at += 1;
        self.stack.push(Frame { kind, name: self.name.len(), count: 0 });
        Ok(())
    }

    fn word(&mut self, word: &[u8], shown: usize) -> Result<(), Stop> {
        if self.rest().starts_with(word) {
            self.plain(word.len(), shown)
        } else {
            Err(Stop::Error("json: what should be a value is none"))
        }
    }

    /// Reports a value that stands here, of which the first bytes are shown.
    fn plain(&mut self, length: usize, shown: usize) -> Result<(), Stop> {
        let start = self.at;
        self.at += length;
        self.outlet.argument(&self.name, Piece::Span(start..start + shown), self.kind(start))
    }

    fn text(&mut self) -> Result<(), Stop> {
        let start = self.at;
        let (raw, escaped) = self.string()?;
        let kind = self.kind(start);
        if !escaped {
            return self.outlet.argument(&self.name, Piece::Span(start + 1..start + 1 + raw.len()), kind);
        }
        self.text.clear();
        unescape(raw, &mut self.text)?;
        self.outlet.argument(&self.name, Piece::Decoded(&self.text), kind)
    }

    fn kind(&self, start: usize) -> Kind {
        if start < self.prompt { Kind::Prompt } else { Kind::Text }
    }

    fn skip_space(&mut self) {
        self.at = self.body.len() - skip_space(self.rest()).len();
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }
}

impl<'b> Reader<'b, '_> {
    fn rest(&self) -> &'b [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// Reads a string whose opening quote stands here: what is between the quotes, and whether it has escapes.
    fn string(&mut self) -> Result<(&'b [u8], bool), Stop> {
        let text = self.rest().get(1..).ok_or(ENDS)?;
        let mut length = 0;
        let mut escaped = false;
        loop {
            let tail = text.get(length..).ok_or(ENDS)?;
            length += memchr2(b'"', b'\\', tail).ok_or(ENDS)?;
            if text.get(length) == Some(&b'"') {
                break;
            }
            escaped = true;
            length += 2;
        }
        let raw = text.get(..length).ok_or(ENDS)?;
        if raw.iter().fold(false, |found, &byte| found | (byte < 0x20)) {
            return Err(Stop::Error("json: a control character in a string"));
        }
        if std::str::from_utf8(raw).is_err() {
            return Err(Stop::Error("json: a string is not UTF-8"));
        }
        self.at += length + 2;
        Ok((raw, escaped))
    }
}
