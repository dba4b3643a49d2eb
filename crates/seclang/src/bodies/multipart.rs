//! `multipart/form-data`, with the flags by which ModSecurity's reader says what others may read differently.
//!
//! A part that is wrong does not end the reading: it sets the error, and what follows stays visible to the rules.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::boundary::boundary;
use super::disposition::{Disposition, disposition, skip_blanks};
use super::{Bounds, Kind, MultipartFlags, Outlet, Part, Piece, Report, Sink, Stop};

/// Reads a body of the given content type.
pub fn multipart(content_type: &[u8], body: &[u8], bounds: &Bounds, sink: &mut dyn Sink) -> Report {
    let mut flags = MultipartFlags::default();
    let delimiter = match boundary(content_type, &mut flags) {
        Ok(boundary) => [b"--", boundary].concat(),
        Err(message) => {
            flags.strict_error = true;
            return Report { error: Some(message), multipart: flags, ..Report::default() };
        }
    };
    let mut reader = Reader {
        body,
        finder: memmem::Finder::new(&delimiter),
        bounds,
        outlet: Outlet::new(body, bounds, sink),
        flags,
        error: None,
        crlf: false,
        boundaries: 0,
        part: None,
    };
    if let Err(stop) = reader.read()
        && reader.error.is_none()
    {
        reader.error = stop.error();
    }
    let Reader { error, mut flags, crlf, .. } = reader;
    flags.crlf_lf_lines = flags.lf_line && crlf;
    flags.strict_error = error.is_some() || is_strict_error(&flags);
    Report { error, multipart: flags, ..Report::default() }
}

/// Longest header line, folds included.
const HEADER_BYTES: usize = 4096;

struct Reader<'b, 's> {
    body: &'b [u8],
    /// Looks for `--` and the boundary.
    finder: memmem::Finder<'b>,
    bounds: &'b Bounds,
    outlet: Outlet<'s>,
    flags: MultipartFlags,
    error: Option<&'static str>,
    /// A line ended with CRLF.
    crlf: bool,
    boundaries: usize,
    part: Option<Open>,
}

/// The part that is being read.
#[derive(Default)]
struct Open {
    /// Header lines without their ends, folds joined.
    headers: Vec<Vec<u8>>,
    disposition: Disposition,
    /// Where the content begins, behind the headers.
    content: Option<usize>,
}

impl<'b> Reader<'b, '_> {
    fn read(&mut self) -> Result<(), Stop> {
        let body = self.body;
        if body.is_empty() {
            return Ok(());
        }
        let mut at = 0;
        while let Some(end) = body.get(at..).and_then(|rest| memchr(b'\n', rest)).map(|length| at + length + 1) {
            match self.line(at..end) {
                Ok(false) => at = end,
                Ok(true) => {
                    self.flags.data_after = end < body.len();
                    return Ok(());
                }
                Err(Stop::Error(message)) => {
                    self.fail(message);
                    return self.finish(at);
                }
                Err(Stop::Sink) => return Err(Stop::Sink),
            }
        }
        self.unended(at)
    }

    /// Reads the last line, which has no end.
    fn unended(&mut self, at: usize) -> Result<(), Stop> {
        let line = self.body.get(at..).unwrap_or_default();
        let last = line.strip_prefix(self.finder.needle()) == Some(b"--");
        if last && self.boundaries > 0 {
            self.line_end_before(at);
            return self.finish(at);
        }
        self.fail(if self.boundaries > 0 {
            "multipart: the final boundary is missing"
        } else {
            "multipart: no boundary in the body"
        });
        // Some servers accept a last part without its end.
        self.finish(self.body.len())
    }

    /// Reads one line. `true`: it was the final boundary.
    fn line(&mut self, at: Range<usize>) -> Result<bool, Stop> {
        let line = self.body.get(at.clone()).unwrap_or_default();
        if let Some(tail) = line.strip_prefix(self.finder.needle()) {
            return self.boundary(at.start, tail);
        }
        match line {
            [b'-', b'-', _, _, ..] => self.lookalike(line)?,
            _ if self.finder.find(line).is_some() => self.unmatched(),
            _ => {}
        }
        match &self.part {
            None => self.flags.data_before = true,
            Some(part) if part.content.is_none() => self.header(at.end, line)?,
            Some(_) => {}
        }
        Ok(false)
    }

    fn boundary(&mut self, at: usize, tail: &[u8]) -> Result<bool, Stop> {
        self.line_end_before(at);
        let (last, tail) = tail.strip_prefix(b"--").map_or((false, tail), |tail| (true, tail));
        match tail {
            b"\r\n" => self.crlf = true,
            b"\n" => self.flags.lf_line = true,
            _ => return Err(Stop::Error("multipart: something behind a boundary")),
        }
        self.boundaries += 1;
        self.flags.matched_later |= self.flags.unmatched_boundary;
        self.finish(at)?;
        if !last {
            if self.boundaries > self.bounds.parts {
                return Err(Stop::Error("multipart: too many parts"));
            }
            self.part = Some(Open::default());
        }
        Ok(last)
    }

    /// Notes how the line before a boundary ends: that line end belongs to the boundary.
    fn line_end_before(&mut self, at: usize) {
        match self.body.get(..at).unwrap_or_default() {
            [.., b'\r', b'\n'] => self.crlf = true,
            [.., _] => self.flags.lf_line = true,
            [] => {}
        }
    }

    /// Looks at a line that begins like a boundary and is none.
    fn lookalike(&mut self, line: &[u8]) -> Result<(), Stop> {
        let name = self.finder.needle().get(2..).unwrap_or_default();
        let tail = line.get(2..).unwrap_or_default();
        if self.flags.boundary_quoted && tail.strip_prefix(b"\"").is_some_and(|tail| tail.starts_with(name)) {
            return Err(Stop::Error("multipart: quotes at a boundary"));
        }
        if tail.trim_ascii_start().starts_with(name) {
            return Err(Stop::Error("multipart: white space before a boundary"));
        }
        self.unmatched();
        Ok(())
    }

    const fn unmatched(&mut self) {
        self.flags.unmatched_boundary = true;
        self.flags.matched_later = false;
    }

    /// Reports the part that ends before `end`.
    fn finish(&mut self, end: usize) -> Result<(), Stop> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let start = part.content.unwrap_or(end);
        if start == end {
            // No blank line, or one whose end belongs to the boundary: some read on in the headers.
            self.flags.invalid_part = true;
            self.fail("multipart: the headers of a part do not end");
        }
        if part.content.is_none() {
            return Ok(());
        }
        let length = match self.body.get(start..end).unwrap_or_default() {
            [before @ .., b'\r', b'\n'] | [before @ .., b'\n'] | before => before.len(),
        };
        let content = start..start + length;
        let Disposition { name, filename } = &part.disposition;
        if name.is_empty() {
            self.flags.invalid_part = true;
            self.fail("multipart: a part without a name");
        }
        let headers: Vec<&[u8]> = part.headers.iter().map(Vec::as_slice).collect();
        let filename = (!filename.is_empty()).then_some(filename.as_slice());
        self.outlet.part(Part { name, filename, headers: &headers, content: content.clone() })?;
        match filename {
            None => self.outlet.argument(name, Piece::Span(content), Kind::Text),
            Some(_) => Ok(()),
        }
    }

    fn header(&mut self, end: usize, line: &'b [u8]) -> Result<(), Stop> {
        let line = match line {
            [line @ .., b'\r', b'\n'] => {
                self.crlf = true;
                line
            }
            [line @ .., b'\n'] | line => {
                self.flags.lf_line = true;
                line
            }
        };
        if line.contains(&0) {
            self.fail("multipart: a NUL in the headers of a part");
        }
        let Some(&first) = line.first() else { return self.content(end) };
        if first.is_ascii_whitespace() || first == 0x0b { self.fold(line) } else { self.field(line) }
    }

    /// Ends the headers.
    fn content(&mut self, end: usize) -> Result<(), Stop> {
        let Some(part) = &mut self.part else { return Ok(()) };
        part.content = Some(end);
        let result = part
            .headers
            .iter()
            .find_map(|line| split(line).filter(|(name, _)| name.eq_ignore_ascii_case(b"content-disposition")))
            .ok_or("multipart: a part without a disposition")
            .and_then(|(_, value)| disposition(value, &mut part.disposition, &mut self.flags));
        if let Err(message) = result {
            self.flags.invalid_part = true;
            self.fail(message);
        }
        Ok(())
    }

    fn fold(&mut self, line: &[u8]) -> Result<(), Stop> {
        self.flags.header_folding = true;
        let length = line.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
        let (space, text) = line.split_at_checked(length).unwrap_or((line, &[]));
        self.flags.invalid_header_folding |= space.iter().any(|byte| !matches!(byte, b' ' | b'\t'));
        let Some(part) = &mut self.part else { return Ok(()) };
        let Some(last) = part.headers.last_mut() else {
            self.fail("multipart: a folded line without a header");
            return Ok(());
        };
        last.push(b' ');
        last.extend_from_slice(text);
        if last.len() > HEADER_BYTES { Err(LONG) } else { Ok(()) }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Stop> {
        if line.len() > HEADER_BYTES {
            return Err(LONG);
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        let wrong = match split(line) {
            None => Some("multipart: a header without a colon"),
            Some((b"", _)) => Some("multipart: a header without a name"),
            Some((name, _)) => {
                let again = |line: &Vec<u8>| split(line).is_some_and(|(other, _)| other.eq_ignore_ascii_case(name));
                part.headers.iter().any(again).then_some("multipart: a header twice in a part")
            }
        };
        // A line that is no header is reported with the others: rules look at whole lines.
        part.headers.push(line.to_vec());
        if part.headers.len() > self.bounds.part_headers {
            return Err(Stop::Error("multipart: too many headers in a part"));
        }
        if let Some(message) = wrong {
            self.fail(message);
        }
        Ok(())
    }

    /// Notes an error that does not end the reading.
    const fn fail(&mut self, message: &'static str) {
        if self.error.is_none() {
            self.error = Some(message);
        }
    }
}

const LONG: Stop = Stop::Error("multipart: a header is too long");

/// Name and value of a header line.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = memchr(b':', line).and_then(|at| line.split_at_checked(at))?;
    Some((name, skip_blanks(value.get(1..)?)))
}

const fn is_strict_error(flags: &MultipartFlags) -> bool {
    flags.boundary_quoted
        || flags.boundary_whitespace
        || flags.data_before
        || flags.data_after
        || flags.header_folding
        || flags.lf_line
        || flags.missing_semicolon
        || flags.invalid_quoting
        || flags.invalid_part
        || flags.invalid_header_folding
        || flags.file_limit_exceeded
}
