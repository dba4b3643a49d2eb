//! Body readers: bytes of a body to names and values, one file each. They tokenise, they never judge.

mod boundary;
mod cookies;
mod disposition;
mod elements;
mod escapes;
mod json;
mod multipart;
mod numbers;
mod urlencoded;
mod xml;

use std::ops::{ControlFlow, Range};

pub use cookies::cookies;
pub use elements::{Elements, Summary, elements, summary};
pub use json::json;
pub use multipart::multipart;
pub use urlencoded::urlencoded;
pub use xml::xml;

/// A value that a reader found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// It had to be decoded.
    Decoded(&'a [u8]),
    /// It stands in the body as it is.
    Span(Range<usize>),
}

/// Bounds of a reader. Reaching one stops the reading with [`Report::error`] set; what was read stays.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most arguments; a numeric run counts as one.
    pub arguments: usize,
    /// Deepest nesting of JSON or XML.
    pub depth: usize,
    /// Most parts of a multipart body.
    pub parts: usize,
    /// Most headers of one part.
    pub part_headers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { arguments: 1000, depth: 64, parts: 128, part_headers: 64 }
    }
}

/// One part of a multipart body.
#[derive(Clone, Debug, Default)]
pub struct Part<'a> {
    /// `name` of its Content-Disposition.
    pub name: &'a [u8],
    /// `filename`, for a file.
    pub filename: Option<&'a [u8]>,
    /// Its header lines, whole.
    pub headers: &'a [&'a [u8]],
    /// Where its content stands in the body.
    pub content: Range<usize>,
}

/// Who an argument is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kind {
    /// The caller said that a model will read it as prose ([`Knowledge::Prompt`](crate::Knowledge::Prompt)).
    Prompt,
    /// Anything else.
    #[default]
    Text,
}

/// Takes what a reader finds, in the order of the body. `Break` stops the reader.
pub trait Sink {
    /// An argument. Name and decoded value live until the call returns.
    fn argument(&mut self, name: &[u8], value: Piece<'_>, kind: Kind) -> ControlFlow<()>;
    /// An array that holds numbers only, at any nesting, and at least one: the range covers `[` to `]`. Its elements
    /// are named `prefix.array_0`, nested ones `prefix.array_0.array_1`; [`elements`] walks them, [`summary`] sums
    /// them up.
    fn numbers(&mut self, prefix: &[u8], array: Range<usize>) -> ControlFlow<()>;
    /// A part of a multipart body. A part without a file name is also reported as an argument, by the reader.
    fn part(&mut self, part: Part<'_>) -> ControlFlow<()>;
    /// All text below the root of an XML document, as one value.
    fn xml_text(&mut self, text: &[u8]) -> ControlFlow<()>;
    /// One attribute value of an XML document.
    fn xml_attribute(&mut self, value: &[u8]) -> ControlFlow<()>;
}

/// The strict flags of ModSecurity's multipart reader, by their variable names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MultipartFlags {
    /// The boundary stands in quotes in the content type.
    pub boundary_quoted: bool,
    /// White space around the boundary in the content type.
    pub boundary_whitespace: bool,
    /// Something follows the final boundary.
    pub data_after: bool,
    /// Something precedes the first boundary.
    pub data_before: bool,
    /// More files than allowed; nothing sets it: files are not stored.
    pub file_limit_exceeded: bool,
    /// A header line was continued.
    pub header_folding: bool,
    /// A header line was continued after other white space than blanks and tabs.
    pub invalid_header_folding: bool,
    /// A part without a name, or with headers that do not end.
    pub invalid_part: bool,
    /// Single quotes around or within a parameter, or text behind a closing quote.
    pub invalid_quoting: bool,
    /// A line of headers or a boundary, or the line before a boundary, ends with a bare LF.
    pub lf_line: bool,
    /// Some of these lines end with CRLF and some with LF.
    pub crlf_lf_lines: bool,
    /// A boundary that matches came behind one that did not: most likely the other one is content.
    pub matched_later: bool,
    /// No semicolon before the boundary in the content type.
    pub missing_semicolon: bool,
    /// An error, or any of the flags but `unmatched_boundary`.
    pub strict_error: bool,
    /// A line looks like a boundary and is none.
    pub unmatched_boundary: bool,
}

impl MultipartFlags {
    /// `MULTIPART_UNMATCHED_BOUNDARY`: 0, 1, or 2 when a boundary that matches came behind the one that did not.
    #[must_use]
    pub const fn unmatched_boundary_value(&self) -> u8 {
        match (self.unmatched_boundary, self.matched_later) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }
}

/// How a reading ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Why the body is not what it says (`REQBODY_ERROR_MSG`); `None` when it was read whole.
    pub error: Option<&'static str>,
    /// A `%` that does not begin an escape was seen (urlencoded).
    pub bad_escape: bool,
    /// Flags of a multipart body.
    pub multipart: MultipartFlags,
}

/// Why a reader stops before the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    /// The body is not what it says.
    Error(&'static str),
    /// The sink wants no more.
    Sink,
}

impl Stop {
    const fn error(self) -> Option<&'static str> {
        match self {
            Self::Error(message) => Some(message),
            Self::Sink => None,
        }
    }
}

/// Hands arguments on and keeps count of them.
struct Outlet<'s> {
    sink: &'s mut dyn Sink,
    /// Arguments that may still come.
    left: usize,
    /// Bytes of names that may still come: a long key above many values is repeated in each of their names, and a body
    /// must not grow quadratically on its way to the rules.
    names: usize,
}

impl<'s> Outlet<'s> {
    fn new(body: &[u8], bounds: &Bounds, sink: &'s mut dyn Sink) -> Self {
        Self { sink, left: bounds.arguments, names: body.len().saturating_mul(16).saturating_add(1 << 20) }
    }

    fn argument(&mut self, name: &[u8], value: Piece<'_>, kind: Kind) -> Result<(), Stop> {
        self.count(name)?;
        done(self.sink.argument(name, value, kind))
    }

    fn numbers(&mut self, prefix: &[u8], array: Range<usize>) -> Result<(), Stop> {
        self.count(prefix)?;
        done(self.sink.numbers(prefix, array))
    }

    fn part(&mut self, part: Part<'_>) -> Result<(), Stop> {
        done(self.sink.part(part))
    }

    fn count(&mut self, name: &[u8]) -> Result<(), Stop> {
        self.left = self.left.checked_sub(1).ok_or(Stop::Error("too many arguments"))?;
        self.names = self
            .names
            .checked_sub(name.len())
            .ok_or(Stop::Error("the names of the arguments are too long together"))?;
        Ok(())
    }
}

fn done(flow: ControlFlow<()>) -> Result<(), Stop> {
    match flow {
        ControlFlow::Break(()) => Err(Stop::Sink),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
