//! Text that remembers where each of its bytes stood in the file, however many continuation lines and escapes lie
//! between.

use std::ops::Range;
use std::sync::Arc;

use crate::problem::Place;

/// Text taken from a file, continuation lines joined and escapes resolved.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    file: Arc<str>,
    text: String,
    /// Sorted by `at`, never empty.
    runs: Vec<Run>,
}

/// From byte `at` of the text on, bytes stood next to each other in the file.
#[derive(Clone, Copy, Debug)]
struct Run {
    at: usize,
    line: u32,
    column: u32,
}

impl Text {
    /// The whole of it.
    pub(crate) fn view(&self) -> View<'_> {
        View { whole: self, start: 0, text: &self.text }
    }

    fn place(&self, at: usize) -> Place {
        let behind = self.runs.partition_point(|run| run.at <= at);
        let run = self.runs.get(behind.saturating_sub(1)).copied().unwrap_or(Run { at: 0, line: 1, column: 1 });
        let column = run.column.saturating_add(small(at.saturating_sub(run.at)));
        Place { file: Arc::clone(&self.file), line: run.line, column }
    }
}

/// Collects bytes with their places.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<str>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Where the next byte stands if it adjoins the last one.
    next: (u32, u32),
}

impl Writer {
    /// Of a text whose first byte stands there.
    pub(crate) fn new(place: &Place) -> Self {
        let run = Run { at: 0, line: place.line, column: place.column };
        Self { file: Arc::clone(&place.file), bytes: Vec::new(), runs: vec![run], next: (place.line, place.column) }
    }

    /// The next bytes stand there.
    pub(crate) fn jump(&mut self, line: u32, column: u32) {
        if self.next == (line, column) {
            return;
        }
        self.next = (line, column);
        let run = Run { at: self.bytes.len(), line, column };
        match self.runs.last_mut() {
            Some(last) if last.at == run.at => *last = run,
            _ => self.runs.push(run),
        }
    }

    /// Adds bytes that stand next to each other in the file.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.next.1 = self.next.1.saturating_add(small(bytes.len()));
    }

    /// The text, or the place of the first byte that is not UTF-8.
    pub(crate) fn finish(self) -> Result<Text, (Place, u8)> {
        let Self { file, bytes, runs, .. } = self;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Text { file, text, runs }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(at).copied().unwrap_or_default();
                Err((Text { file, text: String::new(), runs }.place(at), byte))
            }
        }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A part of a [`Text`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'t> {
    whole: &'t Text,
    start: usize,
    text: &'t str,
}

impl<'t> View<'t> {
    /// The characters.
    pub(crate) fn as_str(self) -> &'t str {
        self.text
    }

    /// Where its first byte stands, or would stand.
    pub(crate) fn place(self) -> Place {
        self.whole.place(self.start)
    }

    /// Where the byte at `offset` stands.
    pub(crate) fn place_at(self, offset: usize) -> Place {
        self.whole.place(self.start.saturating_add(offset))
    }

    /// Some of it; nothing when the range does not fit.
    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        let start = self.start.saturating_add(range.start.min(self.text.len()));
        Self { whole: self.whole, start, text: self.text.get(range).unwrap_or_default() }
    }

    /// What stands before the byte at `offset`, and from it on.
    pub(crate) fn split_at(self, offset: usize) -> (Self, Self) {
        (self.slice(0..offset), self.slice(offset..self.text.len()))
    }

    /// Without white space around.
    pub(crate) fn trim(self) -> Self {
        let front = self.text.len() - self.text.trim_start().len();
        let length = self.text.trim().len();
        self.slice(front..front + length)
    }

    /// Without white space before.
    pub(crate) fn trim_start(self) -> Self {
        self.split_at(self.text.len() - self.text.trim_start().len()).1
    }

    /// Before and behind the first `separator`.
    pub(crate) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        Some((self.split_at(at).0, self.split_at(at + separator.len_utf8()).1))
    }

    /// What follows the prefix.
    pub(crate) fn strip_prefix(self, prefix: char) -> Option<Self> {
        self.text.starts_with(prefix).then(|| self.split_at(prefix.len_utf8()).1)
    }

    /// Without a pair of single quotes around it.
    pub(crate) fn unquoted(self) -> Self {
        match self.text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            Some(inner) => self.slice(1..1 + inner.len()),
            None => self,
        }
    }

    /// A text of its own in which `escape` stands for `plain`, every byte keeping its place.
    pub(crate) fn replaced(self, escape: &str, plain: &str) -> Text {
        let place = self.place();
        let mut writer = Writer::new(&place);
        let mut rest = self;
        while let Some(at) = rest.text.find(escape) {
            let (before, behind) = rest.split_at(at);
            writer.copy(before);
            let escaped = behind.place_at(escape.len() - plain.len());
            writer.jump(escaped.line, escaped.column);
            writer.push(plain.as_bytes());
            rest = behind.split_at(escape.len()).1;
        }
        writer.copy(rest);
        let Writer { file, bytes, runs, .. } = writer;
        Text { file, text: String::from_utf8(bytes).expect("made of whole characters"), runs }
    }
}

impl Writer {
    /// Adds a part of another text.
    fn copy(&mut self, view: View<'_>) {
        let runs = &view.whole.runs;
        let end = view.start + view.text.len();
        let first = runs.partition_point(|run| run.at <= view.start).saturating_sub(1);
        for (index, run) in runs.iter().enumerate().skip(first).take_while(|(_, run)| run.at < end) {
            let from = run.at.max(view.start);
            let to = runs.get(index + 1).map_or(end, |next| next.at.min(end));
            let bytes = view.whole.text.as_bytes().get(from..to).unwrap_or_default();
            let column = run.column.saturating_add(small(from - run.at));
            self.jump(run.line, column);
            self.push(bytes);
        }
    }
}
