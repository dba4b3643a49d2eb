//! Cuts a file into directives and a directive into its arguments. It knows quotes and line ends, no words.

use std::sync::Arc;

use super::report::Report;
use super::text::{Text, View, Writer};
use crate::problem::Place;

/// A directive's whole line, continuation lines joined.
#[derive(Debug)]
pub(crate) struct Line {
    /// Without the backslashes and line ends between its parts.
    pub(crate) text: Text,
    /// As it stands in the file.
    pub(crate) raw: String,
}

/// One argument, quotes removed.
#[derive(Debug)]
pub(crate) struct Word {
    /// Its text.
    text: Text,
}

impl Word {
    /// Its text.
    pub(crate) fn view(&self) -> View<'_> {
        self.text.view()
    }
}

/// The directives of a file. Comments and empty lines are gone.
pub(crate) fn lines(file: &Arc<str>, bytes: &[u8], report: &mut Report) -> Vec<Line> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut physical = (1_u32..).zip(bytes.split_inclusive(|&byte| byte == b'\n')).peekable();
    let mut found = Vec::new();
    while let Some((number, first)) = physical.next() {
        let indent = first.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let Some((_, start)) = first.split_at_checked(indent).filter(|(_, start)| !start.is_empty()) else { continue };
        let place = Place { file: Arc::clone(file), line: number, column: column(indent) };
        let mut line = Joined::new(&place);
        let comment = start.starts_with(b"#");
        let mut part = (number, column(indent), start);
        while line.push(part) {
            let Some((number, next)) = physical.next() else { break };
            if comment {
                swallowed(start, next, &Place { file: Arc::clone(file), line: number, column: 1 }, report);
            }
            part = (number, 1, next);
        }
        if !comment {
            found.extend(line.finish(report));
        }
    }
    found
}

/// A comment that ends in a backslash goes on in the next line, as in every other reader of the language. That is meant
/// when a directive of several lines was commented out, and a trap otherwise.
fn swallowed(comment: &[u8], next: &[u8], place: &Place, report: &mut Report) {
    let words = |line: &[u8]| {
        let start = line.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'#').unwrap_or(line.len());
        line.get(start..start + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"Sec"))
    };
    let commented = next.trim_ascii_start().starts_with(b"#");
    if !commented && words(next) && !words(comment) {
        report
            .warn(place, "this directive is part of the comment above it, which ends in a backslash")
            .hint("take away the backslash at the end of the comment");
    }
}

fn column(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX).saturating_add(1)
}

struct Joined {
    place: Place,
    text: Writer,
    raw: Vec<u8>,
}

impl Joined {
    fn new(place: &Place) -> Self {
        Self { place: place.clone(), text: Writer::new(place), raw: Vec::new() }
    }

    /// Adds a line of the file; whether the directive goes on in the next one.
    fn push(&mut self, (number, column, line): (u32, u32, &[u8])) -> bool {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let ended = body.len() < line.len();
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let (body, more) = match body.strip_suffix(b"\\") {
            Some(body) if ended => (body, true),
            _ => (body, false),
        };
        self.text.jump(number, column);
        self.text.push(body);
        self.raw.extend_from_slice(if more { line } else { body });
        more
    }

    fn finish(self, report: &mut Report) -> Option<Line> {
        match self.text.finish() {
            Ok(text) => Some(Line { text, raw: String::from_utf8_lossy(&self.raw).trim_end().to_owned() }),
            Err((place, byte)) => {
                report
                    .error(&place, format!("byte 0x{byte:02X} is not UTF-8"))
                    .hint(format!("in a pattern write `\\x{byte:02x}`; or save the file as UTF-8"));
                debug_assert!(place >= self.place, "the place is in the line");
                None
            }
        }
    }
}

/// The name of a directive and its arguments; `None` when its quotes do not add up.
pub(crate) fn words(line: &Text, report: &mut Report) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = line.view().trim();
    while let Some(first) = rest.as_str().chars().next() {
        let (word, behind) = match first {
            '"' | '\'' if !words.is_empty() => quoted(rest, first, report)?,
            _ => bare(rest),
        };
        if first == '#' {
            report
                .error(&word.view().place(), "a comment cannot stand within a directive")
                .hint("put it on a line of its own, above the directive");
            return None;
        }
        if word.view().as_str() == "\\" && behind.as_str().is_empty() {
            report
                .error(&word.view().place(), "white space stands behind the backslash that should continue the line")
                .hint("take the white space away: only a backslash at the very end of a line continues it");
            return None;
        }
        words.push(word);
        rest = behind.trim_start();
    }
    Some(words)
}

fn bare(view: View<'_>) -> (Word, View<'_>) {
    let end = view.as_str().find(|char: char| char.is_ascii_whitespace()).unwrap_or(view.as_str().len());
    let (word, behind) = view.split_at(end);
    (Word { text: word.replaced("\\\"", "\"") }, behind)
}

fn quoted<'t>(view: View<'t>, quote: char, report: &mut Report) -> Option<(Word, View<'t>)> {
    let inside = view.split_at(1).1;
    let mut escaped = false;
    let end = inside.as_str().bytes().position(|byte| {
        let closes = !escaped && char::from(byte) == quote;
        escaped = !escaped && byte == b'\\';
        closes
    });
    let Some(end) = end else {
        report.error(&view.place(), format!("the quote `{quote}` that opens here is not closed")).hint(format!(
            "close it; a `{quote}` within the text is written `\\{quote}`, and a line that goes on ends in a backslash \
             with nothing behind it"
        ));
        return None;
    };
    let (word, behind) = inside.split_at(end);
    let behind = behind.split_at(1).1;
    if behind.as_str().starts_with(|char: char| !char.is_ascii_whitespace()) {
        report
            .error(&behind.place(), "text stands right behind a closing quote")
            .hint(format!("put a space between two arguments, or write a `{quote}` within the text as `\\{quote}`"));
        return None;
    }
    let escape = if quote == '"' { "\\\"" } else { "\\'" };
    let plain = if quote == '"' { "\"" } else { "'" };
    Some((Word { text: word.replaced(escape, plain) }, behind))
}
