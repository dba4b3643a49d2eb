//! A strict JSON reader, in pull style: the caller asks for the next key, item or value.
//!
//! It refuses everything that two readers could understand differently: other encodings than UTF-8, a byte order mark,
//! duplicate keys (compared after unescaping), `NaN` and `Infinity`, comments, trailing commas, lone surrogates, text
//! after the root. Depth, keys per object and the length of a number are bounded, and no function here calls itself.
//! It builds no tree; what the values mean is the business of its callers.

use std::borrow::Cow;

mod decimal;
mod keys;
mod malformed;
mod number;
mod place;
mod row;
#[cfg(test)]
mod tests;
mod text;

use keys::Keys;
pub use malformed::{Malformed, What};
pub use number::{Integer, Number};
pub use place::{place_at_root, pointer, text_at_root};

/// Bounds of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many arrays and objects may stand inside each other, the root included.
    pub depth: usize,
    /// How many keys one object may have.
    pub keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 32, keys: 1_024 }
    }
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `[`
    Array,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
    /// A number.
    Number,
    /// `{`
    Object,
    /// `"`
    String,
}

impl Kind {
    /// Its name, with article.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Array => "an array",
            Self::Bool => "a boolean",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::String => "a string",
        }
    }
}

/// Reads one document, front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    key_at: usize,
    limits: Limits,
    open: Vec<Open>,
    keys: Keys<'a>,
}

/// An array or object that was entered and not left.
#[derive(Clone, Copy, Debug)]
struct Open {
    object: bool,
    /// Whether something stood in it already.
    begun: bool,
    keys_from: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `body`.
    ///
    /// # Errors
    /// It is not UTF-8, begins with a byte order mark, or is longer than any body can be.
    pub fn new(body: &'a [u8], limits: Limits) -> Result<Self, Malformed> {
        if body.starts_with(b"\xEF\xBB\xBF") {
            return Err(Malformed::new(What::ByteOrderMark, 0));
        }
        // Key places are kept in 32 bits.
        if i32::try_from(body.len()).is_err() {
            return Err(Malformed::new(What::Length, 0));
        }
        let text = std::str::from_utf8(body).map_err(|error| Malformed::new(What::Utf8, error.valid_up_to()))?;
        Ok(Self { text, at: 0, key_at: 0, limits, open: Vec::new(), keys: Keys::new(text, limits.keys) })
    }

    /// The next byte's place.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Where the last key began, its quote included.
    #[must_use]
    pub const fn key_at(&self) -> usize {
        self.key_at
    }

    /// Goes back to a value that was skipped: the caller kept its place.
    pub const fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.text.len().saturating_sub(self.at)
    }

    /// The kind of the next value.
    ///
    /// # Errors
    /// No value comes next.
    #[inline]
    pub fn peek(&mut self) -> Result<Kind, Malformed> {
        match self.byte_after_space() {
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'"') => Ok(Kind::String),
            Some(b'[') => Ok(Kind::Array),
            Some(b'{') => Ok(Kind::Object),
            Some(b'f' | b't') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.wrong(What::Value)),
            None => Err(self.wrong(What::End)),
        }
    }

    /// Whether the array that comes next begins with another array. The reader stays where it is.
    #[must_use]
    pub fn begins_nested(&self) -> bool {
        self.upcoming() == Some(b'[') && self.first_inside() == Some(b'[')
    }

    /// Whether the array that comes next is empty. The reader stays where it is.
    #[must_use]
    pub fn is_empty_array(&self) -> bool {
        self.upcoming() == Some(b'[') && self.first_inside() == Some(b']')
    }

    /// The first byte inside the array or object that comes next. The reader stays where it is.
    #[must_use]
    pub fn first_inside(&self) -> Option<u8> {
        self.significant().nth(1)
    }

    /// Whether the object that comes next begins with `key`, written without escapes. The reader stays where it is.
    #[must_use]
    pub fn begins_with_key(&self, key: &str) -> bool {
        let begin = [b'{', b'"'].into_iter().chain(key.bytes()).chain([b'"']);
        self.significant().zip(begin.clone()).filter(|(found, wanted)| found == wanted).count() == begin.count()
    }

    fn upcoming(&self) -> Option<u8> {
        self.significant().next()
    }

    /// What comes next, white space left out.
    fn significant(&self) -> impl Iterator<Item = u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        rest.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
    }

    /// Enters an object; [`Self::next_key`] walks it.
    ///
    /// # Errors
    /// No object comes next, or it stands too deep.
    pub fn enter_object(&mut self) -> Result<(), Malformed> {
        self.enter(b'{', true)
    }

    /// Enters an array; [`Self::next_item`] walks it.
    ///
    /// # Errors
    /// No array comes next, or it stands too deep.
    pub fn enter_array(&mut self) -> Result<(), Malformed> {
        self.enter(b'[', false)
    }

    /// The next key of the object entered last, its value comes next; `None` at the end of the object, which is left.
    ///
    /// # Errors
    /// The object is malformed here, has too many keys or has this one twice. Beyond 16 keys the last is found at the
    /// end of the object only.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Malformed> {
        let first = self.step()?;
        match self.byte_after_space() {
            Some(b'}') => return self.leave_object().map(|()| None),
            Some(b',') if !first => {
                self.at += 1;
                if self.byte_after_space() != Some(b'"') {
                    return Err(self.wrong(What::Key));
                }
            }
            Some(b'"') if first => {}
            Some(_) => return Err(self.wrong(if first { What::Key } else { What::Separator })),
            None => return Err(self.wrong(What::End)),
        }
        let at = self.at;
        self.key_at = at;
        let key = self.string()?;
        if key.contains('\0') {
            return Err(Malformed::new(What::Nul, at));
        }
        let from = self.open.last().map_or(0, |open| open.keys_from);
        let escaped = matches!(key, Cow::Owned(_));
        self.keys.push(from, &key, escaped, at)?;
        match self.byte_after_space() {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.wrong(What::Colon)),
            None => return Err(self.wrong(What::End)),
        }
        Ok(Some(key))
    }

    /// Whether another item comes next in the array entered last; at its end, it is left.
    ///
    /// # Errors
    /// The array is malformed here.
    #[inline]
    pub fn next_item(&mut self) -> Result<bool, Malformed> {
        let first = self.step()?;
        match self.byte_after_space() {
            Some(b']') => {
                self.at += 1;
                self.open.pop();
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            Some(_) => Err(self.wrong(What::Separator)),
            None => Err(self.wrong(What::End)),
        }
    }

    /// A string, decoded: borrowed where it holds no escape.
    ///
    /// # Errors
    /// No well-formed string comes next.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.expect(b'"', What::Value)?;
        let from = self.at;
        let (end, escaped) = text::end(self.text, from)?;
        self.at = end + 1;
        let raw = self.text.get(from..end).unwrap_or_default();
        Ok(if escaped { Cow::Owned(text::decode(raw)) } else { Cow::Borrowed(raw) })
    }

    /// A number.
    ///
    /// # Errors
    /// No number of JSON comes next, it is too long, or not finite as a double.
    pub fn number(&mut self) -> Result<Number<'a>, Malformed> {
        self.byte_after_space();
        let number::Scanned { bytes, value, integer } = number::scan(self.text, self.at)?;
        let text = number::written(self.text, self.at, bytes);
        self.at += bytes;
        Ok(Number { text, value, integer })
    }

    /// What a number is worth, for those who need nothing else of it; its text where it is not what they `want`.
    ///
    /// # Errors
    /// As [`Self::number`].
    #[inline]
    pub fn double(&mut self, want: impl Fn(f64) -> bool) -> Result<Result<f64, &'a str>, Malformed> {
        self.byte_after_space();
        let number::Scanned { bytes, value, .. } = number::scan(self.text, self.at)?;
        let found = if want(value) { Ok(value) } else { Err(number::written(self.text, self.at, bytes)) };
        self.at += bytes;
        Ok(found)
    }

    /// Takes the numbers that come next in the array entered last, at most `most`, as long as they are written as in
    /// nearly all tensors and `take` takes them; how many. Whatever comes then is read as any other item.
    #[inline]
    pub fn row(&mut self, most: u64, take: impl FnMut(f64) -> bool) -> u64 {
        let (count, end) = row::read(self.text.as_bytes(), self.at, most, take);
        self.at = end;
        count
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Neither comes next.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        let truth = self.byte_after_space() == Some(b't');
        self.word(if truth { "true" } else { "false" })?;
        Ok(truth)
    }

    /// `null`.
    ///
    /// # Errors
    /// It does not come next.
    pub fn null(&mut self) -> Result<(), Malformed> {
        self.byte_after_space();
        self.word("null")
    }

    /// Passes over one value of any kind, as strictly as if it were read.
    ///
    /// # Errors
    /// The value is malformed.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let floor = self.open.len();
        loop {
            match self.peek()? {
                Kind::Array => self.enter_array()?,
                Kind::Bool => self.boolean().map(|_| ())?,
                Kind::Null => self.null()?,
                Kind::Number => self.number().map(|_| ())?,
                Kind::Object => self.enter_object()?,
                Kind::String => {
                    let (end, _) = text::end(self.text, self.at + 1)?;
                    self.at = end + 1;
                }
            }
            if !self.next_inside(floor)? {
                return Ok(());
            }
        }
    }

    /// Ends the document.
    ///
    /// # Errors
    /// Something other than white space is left.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        match self.byte_after_space() {
            None => Ok(()),
            Some(_) => Err(self.wrong(What::Trailing)),
        }
    }

    /// Goes on to the next value inside what was opened above `floor`, leaving what ends; false when all of it ended.
    fn next_inside(&mut self, floor: usize) -> Result<bool, Malformed> {
        while self.open.len() > floor {
            let object = self.open.last().is_some_and(|open| open.object);
            let more = if object { self.next_key()?.is_some() } else { self.next_item()? };
            if more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn enter(&mut self, byte: u8, object: bool) -> Result<(), Malformed> {
        self.expect(byte, What::Value)?;
        if self.open.len() >= self.limits.depth {
            return Err(Malformed::new(What::Depth, self.at - 1));
        }
        self.open.push(Open { object, begun: false, keys_from: self.keys.len() });
        Ok(())
    }

    /// Marks that something is asked of the innermost array or object; true the first time.
    #[inline]
    fn step(&mut self) -> Result<bool, Malformed> {
        let at = self.at;
        let open = self.open.last_mut().ok_or(Malformed::new(What::Value, at))?;
        Ok(!std::mem::replace(&mut open.begun, true))
    }

    fn leave_object(&mut self) -> Result<(), Malformed> {
        if let Some(open) = self.open.pop() {
            self.keys.leave(open.keys_from, self.at)?;
        }
        self.at += 1;
        Ok(())
    }

    fn expect(&mut self, byte: u8, what: What) -> Result<(), Malformed> {
        match self.byte_after_space() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.wrong(what)),
            None => Err(self.wrong(What::End)),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.wrong(What::Value));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over white space; the byte that comes next.
    #[inline]
    fn byte_after_space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn wrong(&self, what: What) -> Malformed {
        Malformed::before(what, self.at, self.text.as_bytes().get(self.at).copied())
    }
}

/// Reads a whole document and keeps nothing of it.
///
/// # Errors
/// It is malformed.
pub fn validate(body: &[u8], limits: Limits) -> Result<(), Malformed> {
    let mut reader = Reader::new(body, limits)?;
    reader.skip()?;
    reader.finish()
}
