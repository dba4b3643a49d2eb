//! Body readers: bytes of a body to names and values, one file each. They tokenise, they never judge.

use std::ops::{ControlFlow, Range};

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
    pub boundary_quoted: bool,
    pub boundary_whitespace: bool,
    pub data_after: bool,
    pub data_before: bool,
    pub file_limit_exceeded: bool,
    pub header_folding: bool,
    pub invalid_header_folding: bool,
    pub invalid_part: bool,
    pub invalid_quoting: bool,
    pub lf_line: bool,
    pub crlf_lf_lines: bool,
    pub missing_semicolon: bool,
    pub strict_error: bool,
    pub unmatched_boundary: bool,
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

// The readers, each in its own file, all exported here:
// pub fn urlencoded(body: &[u8], separator: u8, bounds: &Bounds, sink: &mut dyn Sink) -> Report   (also the query string)
// pub fn cookies(header: &[u8], sink: &mut dyn FnMut(Range<usize>, Range<usize>))                  (name and value ranges)
// pub fn json(body: &[u8], known: &[Known], bounds: &Bounds, sink: &mut dyn Sink) -> Report
// pub fn multipart(content_type: &[u8], body: &[u8], bounds: &Bounds, sink: &mut dyn Sink) -> Report
// pub fn xml(body: &[u8], bounds: &Bounds, sink: &mut dyn Sink) -> Report
// pub fn elements(array: &[u8]) -> Elements<'_>     (Iterator<Item = &[u8]>; between two steps `path() -> &[usize]` and
//      `write_name(prefix, &mut Vec<u8>)` say where the last element stood)
// pub fn summary(array: &[u8]) -> Summary { mask: ByteSet, count: usize, longest: usize, bytes: usize, depth: usize }
