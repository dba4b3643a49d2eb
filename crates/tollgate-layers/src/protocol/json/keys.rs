//! The keys of objects, to find those that stand twice.

use super::{Malformed, What};

/// The keys of all objects that are open, innermost last.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    text: &'a str,
    limit: usize,
    spans: Vec<Span>,
    /// Keys that had to be unescaped; a span beyond the end of `text` points here.
    decoded: String,
}

/// Eight bytes a key: an object of one-letter keys must not cost much more than it is long.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    len: u32,
}

/// Up to here each key is compared with each; above, they are sorted when the object ends.
const COMPARED_PAIRWISE: usize = 16;

impl<'a> Keys<'a> {
    pub(super) const fn new(text: &'a str, limit: usize) -> Self {
        Self { text, limit, spans: Vec::new(), decoded: String::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Adds a key whose quote stands at `at` to the object whose keys begin at `from`; `escaped` if it was decoded.
    pub(super) fn push(&mut self, from: usize, key: &str, escaped: bool, at: usize) -> Result<(), Malformed> {
        let mine = self.spans.get(from..).unwrap_or_default();
        if mine.len() >= self.limit {
            return Err(Malformed::new(What::Keys, at));
        }
        if mine.len() < COMPARED_PAIRWISE && mine.iter().any(|span| self.key(*span) == key.as_bytes()) {
            return Err(Malformed::new(What::DuplicateKey, at));
        }
        let mut place = at + 1;
        if escaped {
            place = self.text.len() + self.decoded.len();
            self.decoded.push_str(key);
        }
        let too_long = Malformed::new(What::Length, at);
        let span = Span {
            from: u32::try_from(place).map_err(|_| too_long)?,
            len: u32::try_from(key.len()).map_err(|_| too_long)?,
        };
        self.spans.push(span);
        Ok(())
    }

    /// Ends the object whose keys begin at `from`. Sorting compares bytes, so no choice of keys makes it quadratic, as
    /// colliding hashes would.
    pub(super) fn leave(&mut self, from: usize, at: usize) -> Result<(), Malformed> {
        // Taken out so that sorting may look at the text; put back shorter.
        let mut spans = std::mem::take(&mut self.spans);
        let mine = spans.get_mut(from..).unwrap_or_default();
        let mut unique = true;
        if mine.len() > COMPARED_PAIRWISE {
            mine.sort_unstable_by(|one, other| self.key(*one).cmp(self.key(*other)));
            unique = mine.is_sorted_by(|one, other| self.key(*one) != self.key(*other));
        }
        spans.truncate(from);
        self.spans = spans;
        if unique { Ok(()) } else { Err(Malformed::new(What::DuplicateKey, at)) }
    }

    fn key(&self, span: Span) -> &[u8] {
        let (Ok(from), Ok(len)) = (usize::try_from(span.from), usize::try_from(span.len)) else { return &[] };
        let piece = match from.checked_sub(self.text.len()) {
            None => self.text.as_bytes().get(from..from + len),
            Some(from) => self.decoded.as_bytes().get(from..from + len),
        };
        piece.unwrap_or_default()
    }
}
