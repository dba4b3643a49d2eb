//! `@beginsWith`, `@contains`, `@containsWord`, `@endsWith`, `@streq`, `@strmatch` and `@within`: exact bytes.

use memchr::memmem;

/// How a value stands to the operator's text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the name of the operator says it")]
pub enum Relation {
    BeginsWith,
    /// Also `@strmatch`, which differs in its algorithm only.
    Contains,
    ContainsWord,
    EndsWith,
    Streq,
    Within,
}

impl Relation {
    /// The relation of that name, in lower case.
    pub(super) fn from_name(lower: &str) -> Option<Self> {
        match lower {
            "beginswith" => Some(Self::BeginsWith),
            "contains" | "strmatch" => Some(Self::Contains),
            "containsword" => Some(Self::ContainsWord),
            "endswith" => Some(Self::EndsWith),
            "streq" => Some(Self::Streq),
            "within" => Some(Self::Within),
            _ => None,
        }
    }

    /// Whether the value stands to the text as the name says.
    pub(super) fn holds(self, value: &[u8], text: &[u8]) -> bool {
        match self {
            Self::BeginsWith => value.starts_with(text),
            Self::Contains => memmem::find(value, text).is_some(),
            Self::ContainsWord => contains_word(value, text),
            Self::EndsWith => value.ends_with(text),
            Self::Streq => value == text,
            Self::Within => memmem::find(text, value).is_some(),
        }
    }
}

/// Whether the text stands in the value with neither a letter nor a digit at its sides. An empty text always does.
fn contains_word(value: &[u8], word: &[u8]) -> bool {
    let free = |at: Option<usize>| !at.and_then(|at| value.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    // Occurrences may overlap, as `a-a` in `xa-a-a`: an iterator that skips them would miss the second.
    let finder = memmem::Finder::new(word);
    let mut from = 0;
    while let Some(at) = value.get(from..).and_then(|rest| finder.find(rest)).map(|at| at + from) {
        if word.is_empty() || free(at.checked_sub(1)) && free(Some(at + word.len())) {
            return true;
        }
        from = at + 1;
    }
    false
}
