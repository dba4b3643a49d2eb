//! What can be wrong with a document.

use std::fmt;

/// Why a document is not JSON as we accept it, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed {
    /// What is wrong.
    pub what: What,
    /// At which byte.
    pub at: usize,
    /// The byte that stands there, where it tells what was found.
    next: Option<u8>,
}

impl Malformed {
    /// What is wrong at a byte, whatever stands there.
    #[must_use]
    pub const fn new(what: What, at: usize) -> Self {
        Self { what, at, next: None }
    }

    /// What is wrong where `next` stands.
    #[must_use]
    pub(super) const fn before(what: What, at: usize, next: Option<u8>) -> Self {
        Self { what, at, next }
    }

    /// What was found, as a type: nothing of the document itself.
    #[must_use]
    pub const fn found(self) -> &'static str {
        match self.what {
            What::ByteOrderMark => "a byte order mark",
            What::Control => "a raw control character",
            What::Depth => "deeper nesting",
            What::DuplicateKey => "the same key twice",
            What::End => "the end of the document",
            What::Escape => "another escape",
            What::Keys => "more keys",
            What::Length => "a longer document",
            What::Nul => "a NUL",
            What::Number => "another form of a number",
            What::NumberLength => "a longer number",
            What::NumberRange => "a larger number",
            What::Utf8 => "bytes that are no UTF-8",
            What::Colon | What::Key | What::Separator | What::Trailing | What::Value => kind_of(self.next),
        }
    }
}

/// What begins with a byte.
const fn kind_of(next: Option<u8>) -> &'static str {
    match next {
        None => "the end of the document",
        Some(b'"') => "a string",
        Some(b'\'') => "a single quote",
        Some(b'-' | b'+' | b'.' | b'0'..=b'9') => "a number",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b']') => "the end of an array",
        Some(b'}') => "the end of an object",
        Some(b',') => "a comma",
        Some(b':') => "a colon",
        Some(b'/' | b'#') => "a comment",
        Some(b'A'..=b'Z' | b'a'..=b'z' | b'_') => "a bare word",
        Some(0..=0x1F | 0x7F) => "a control character",
        Some(_) => "another character",
    }
}

/// What can be wrong with a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// It begins with a byte order mark.
    ByteOrderMark,
    /// Something stands where `:` is due.
    Colon,
    /// A raw control character inside a string.
    Control,
    /// Arrays and objects stand too deep inside each other.
    Depth,
    /// Two keys of an object are the same.
    DuplicateKey,
    /// It ends too early.
    End,
    /// An escape that JSON does not have, or half a surrogate pair.
    Escape,
    /// Something stands where a key, in double quotes, is due.
    Key,
    /// An object has too many keys.
    Keys,
    /// A longer document than any route may take.
    Length,
    /// A NUL in a name or an id.
    Nul,
    /// Not a number of JSON.
    Number,
    /// A number longer than 32 bytes.
    NumberLength,
    /// A number that is not finite as a double.
    NumberRange,
    /// Something stands where `,` or the end of the array or object is due.
    Separator,
    /// Something stands after the end.
    Trailing,
    /// Not UTF-8.
    Utf8,
    /// Something stands where a value is due: also `NaN`, `Infinity`, a comment, or a trailing comma before it.
    Value,
}

impl What {
    /// What is asked for instead.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "UTF-8 without a byte order mark",
            Self::Colon => "`:` after a key",
            Self::Control => "control characters escaped",
            Self::Depth => "less nesting",
            Self::DuplicateKey => "each key once in an object",
            Self::End => "a complete document",
            Self::Escape => "an escape of JSON, surrogates in pairs",
            Self::Key => "a key in double quotes",
            Self::Keys => "fewer keys in an object",
            Self::Length => "a shorter document",
            Self::Nul => "names and ids without NUL",
            Self::Number => "a number of JSON",
            Self::NumberLength => "numbers of at most 32 bytes",
            Self::NumberRange => "numbers that are finite as doubles",
            Self::Separator => "`,` or the end of the array or object",
            Self::Trailing => "nothing after the end",
            Self::Utf8 => "UTF-8",
            Self::Value => "a value",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json: expected {}, found {} at byte {}", self.what.expected(), self.found(), self.at)
    }
}
