//! The Protocol Buffers wire format, read and written field by field. It knows no message: numbers and types are its
//! callers'.
//!
//! Stricter than the libraries: no groups, no varint above ten bytes or 64 bits, no field number 0.

use super::Wrong;

/// Reads the fields of one message, front to back.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    left: &'a [u8],
    /// Where `left` begins in the outermost message.
    at: usize,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// Its value.
    pub value: Wire<'a>,
    /// Where the value begins in the outermost message, its length left out.
    pub at: usize,
}

/// A value on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire<'a> {
    /// Strings, bytes, messages, packed lists.
    Bytes(&'a [u8]),
    /// Four bytes, little endian.
    Fixed32([u8; 4]),
    /// Eight bytes, little endian.
    Fixed64([u8; 8]),
    /// An integer or a boolean.
    Varint(u64),
}

impl<'a> Fields<'a> {
    /// The fields of `message`, which begins at `at` of the outermost one.
    #[must_use]
    pub const fn new(message: &'a [u8], at: usize) -> Self {
        Self { left: message, at }
    }

    /// The next field; `None` at the end.
    ///
    /// # Errors
    /// A message that is cut off or no message.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would not end at the first error")]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, Wrong> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number > u64::from(u32::MAX >> 3) {
            return Err(self.broken("a field number"));
        }
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.array()?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| self.broken("a length within the message"))?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(self.array()?),
            _ => return Err(self.broken("a wire type without groups")),
        };
        let length = if let Wire::Bytes(bytes) = value { bytes.len() } else { 0 };
        Ok(Some(Field { number, value, at: self.at - length }))
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// A varint of a packed list, or of a key.
    ///
    /// # Errors
    /// It is cut off, or longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.broken("a varint of at most 64 bits"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let (taken, left) = self.left.split_at_checked(length).ok_or_else(|| self.broken("a complete message"))?;
        (self.left, self.at) = (left, self.at + length);
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let (taken, left) = self.left.split_first_chunk().ok_or_else(|| self.broken("a complete message"))?;
        (self.left, self.at) = (left, self.at + N);
        Ok(*taken)
    }

    const fn broken(&self, expected: &'static str) -> Wrong {
        Wrong::Broken { expected, at: self.at }
    }
}

impl<'a> Field<'a> {
    /// Its bytes.
    ///
    /// # Errors
    /// Another wire type.
    pub const fn bytes(&self) -> Result<&'a [u8], Wrong> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(self.misfit()),
        }
    }

    /// The fields of the message that it is.
    ///
    /// # Errors
    /// Another wire type.
    pub fn message(&self) -> Result<Fields<'a>, Wrong> {
        Ok(Fields::new(self.bytes()?, self.at))
    }

    /// Its text.
    ///
    /// # Errors
    /// Another wire type, or no UTF-8.
    pub fn text(&self) -> Result<&'a str, Wrong> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Wrong::Broken { expected: "UTF-8", at: self.at })
    }

    /// The error of a field that is not what its number says: another wire type, or a number that is not known.
    #[must_use]
    pub const fn misfit(&self) -> Wrong {
        Wrong::Broken { expected: "a field that the protocol has, of its type", at: self.at }
    }
}

/// Sets a singular field, which may stand once: libraries merge it or take the last.
///
/// # Errors
/// It was set before.
pub fn once<T>(slot: &mut Option<T>, value: T, field: &Field<'_>) -> Result<(), Wrong> {
    if slot.is_some() {
        return Err(Wrong::Broken { expected: "a singular field once", at: field.at });
    }
    *slot = Some(value);
    Ok(())
}

/// Writes the fields of one message. A value that is its type's default is left out, as in all of proto3.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Writes a string, bytes, a message or a packed list.
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.any_bytes(number, value);
        }
    }

    /// The same for an item of a list, which is written even where it is empty.
    pub fn any_bytes(&mut self, number: u32, value: &[u8]) {
        self.raw(u64::from(number) << 3 | 2);
        self.raw(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Writes an integer or a boolean.
    pub fn varint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.raw(u64::from(number) << 3);
            self.raw(value);
        }
    }

    /// Writes a varint without a number: an item of a packed list.
    pub fn raw(&mut self, mut value: u64) {
        while let Some(bits) = u8::try_from(value & 0x7F).ok().filter(|_| value > 0x7F) {
            self.out.push(bits | 0x80);
            value >>= 7;
        }
        self.out.push(u8::try_from(value).unwrap_or_default());
    }

    /// The message.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u64, Wire<'_>, usize)>, Wrong> {
        let mut fields = Fields::new(message, 0);
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push((field.number, field.value, field.at));
        }
        Ok(found)
    }

    #[test]
    fn fields_are_read_with_their_places() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1D, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields = all(&message).expect("a message");
        assert_eq!(fields[0], (1, Wire::Varint(150), 3));
        assert_eq!(fields[1], (2, Wire::Bytes(b"hi"), 5));
        assert_eq!(fields[2].1, Wire::Fixed32([1, 2, 3, 4]));
        assert_eq!(fields[3].1, Wire::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]));
        let most = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(all(&most).expect("64 bits")[0].1, Wire::Varint(u64::MAX));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let cases: [(&str, &[u8]); 9] = [
            ("a key alone", &[0x08]),
            ("a varint cut off", &[0x08, 0x80]),
            ("a varint of 65 bits", &[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x03]),
            ("a varint of eleven bytes", &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            ("a length past the end", &[0x12, 3, b'h', b'i']),
            ("a length of 64 bits", &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            ("field number 0", &[0x00, 1]),
            ("a group", &[0x0B, 0x0C]),
            ("four bytes cut off", &[0x0D, 1, 2, 3]),
        ];
        for (what, message) in cases {
            assert!(matches!(all(message), Err(Wrong::Broken { .. })), "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 1_u32..1 << 29, value in 1_u64.., bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut out = Writer::default();
            out.varint(number, value);
            out.bytes(number, &bytes);
            out.any_bytes(number, b"");
            let message = out.done();
            let fields: Vec<_> = all(&message).expect("a message").into_iter().map(|(n, value, _)| (n, value)).collect();
            let number = u64::from(number);
            prop_assert_eq!(fields, [(number, Wire::Varint(value)), (number, Wire::Bytes(&bytes)), (number, Wire::Bytes(b""))]);
        }

        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(fields) = all(&bytes) {
                for (_, value, at) in fields {
                    if let Wire::Bytes(value) = value {
                        prop_assert_eq!(&bytes[at..at + value.len()], value);
                    }
                }
            }
        }
    }
}
