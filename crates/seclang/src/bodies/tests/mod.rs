//! What the readers promise together; each has its table in a file of its own.

mod json;
mod multipart;
mod pairs;
mod properties;
mod xml;

use std::ops::{ControlFlow, Range};

use super::{Kind, Part, Piece, Sink};

/// Writes down what a reader reports, one line per call.
struct Recorder<'b> {
    body: &'b [u8],
    lines: Vec<String>,
    /// Calls after which it wants no more.
    patience: usize,
}

impl<'b> Recorder<'b> {
    fn new(body: &'b [u8]) -> Self {
        Self { body, lines: Vec::new(), patience: usize::MAX }
    }

    fn text(&self, at: Range<usize>) -> &'b [u8] {
        self.body.get(at).expect("a span lies within the body")
    }

    fn note(&mut self, line: String) -> ControlFlow<()> {
        self.lines.push(line);
        self.patience -= 1;
        if self.patience == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Sink for Recorder<'_> {
    fn argument(&mut self, name: &[u8], value: Piece<'_>, kind: Kind) -> ControlFlow<()> {
        let value = match value {
            Piece::Decoded(text) => shown(text),
            Piece::Span(at) => shown(self.text(at)),
        };
        let mark = if kind == Kind::Prompt { "?" } else { "" };
        self.note(format!("{}{mark}={value}", shown(name)))
    }

    fn numbers(&mut self, prefix: &[u8], array: Range<usize>) -> ControlFlow<()> {
        let text = shown(self.text(array));
        self.note(format!("{}#{text}", shown(prefix)))
    }

    fn part(&mut self, part: Part<'_>) -> ControlFlow<()> {
        let content = shown(self.text(part.content));
        let headers: Vec<_> = part.headers.iter().map(|line| shown(line)).collect();
        let file = part.filename.map(shown);
        self.note(format!("part {} {file:?} {content} {}", shown(part.name), headers.join("|")))
    }

    fn xml_text(&mut self, text: &[u8]) -> ControlFlow<()> {
        self.note(format!("text={}", shown(text)))
    }

    fn xml_attribute(&mut self, value: &[u8]) -> ControlFlow<()> {
        self.note(format!("@={}", shown(value)))
    }
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}
