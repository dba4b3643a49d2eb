//! A bounded reader of the protocol buffers wire format.
//!
//! It borrows from the file, allocates nothing, and refuses what the engine's own reader handles badly: a varint longer
//! than ten bytes, a length that leaves its message, a packed field that ends inside a value. It knows no schema.

use thiserror::Error;

/// The fields of one message, in file order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    rest: &'a [u8],
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    /// Wire type 2: a string, bytes, a message or a packed list.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32,
    /// Wire type 1.
    Fixed64,
    /// Wire type 0.
    Varint(u64),
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum WireError {
    /// A value ends after its message does.
    #[error("a field is cut off")]
    Cut,
    /// Wire types 3 and 4 (groups) and the unused 6 and 7; field number 0.
    #[error("a field has an unknown wire type or number")]
    Kind,
    /// More than ten bytes, or more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    Varint,
}

impl<'a> Message<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The number and value of the next field.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Cut)?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Fixed32)?,
            _ => return Err(WireError::Kind),
        };
        if number == 0 { Err(WireError::Kind) } else { Ok(Some((number, field))) }
    }

    /// Checks that the whole message is a list of varints.
    pub(crate) fn packed_varints(mut self) -> Result<(), WireError> {
        while !self.rest.is_empty() {
            self.varint()?;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for place in 0..10_u32 {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::Cut)?;
            self.rest = rest;
            if place == 9 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let bytes =
            [&[0x08, 0x96, 0x01][..], &[0x12, 2, b'h', b'i'], &[0x1d, 0, 0, 0, 0], &[0x21; 1], &[0; 8]].concat();
        let mut message = Message::new(&bytes);
        assert_eq!(message.next(), Ok(Some((1, Field::Varint(150)))));
        assert_eq!(message.next(), Ok(Some((2, Field::Bytes(b"hi")))));
        assert_eq!(message.next(), Ok(Some((3, Field::Fixed32))));
        assert_eq!(message.next(), Ok(Some((4, Field::Fixed64))));
        assert_eq!(message.next(), Ok(None));
    }

    #[test]
    fn a_varint_of_eleven_bytes_is_refused() {
        // The engine's reader never returns from exactly this.
        assert_eq!(Message::new(&[0xff; 11]).packed_varints(), Err(WireError::Varint));
        assert_eq!(Message::new(&[0xff; 10]).packed_varints(), Err(WireError::Varint));
    }

    #[test]
    fn a_varint_may_use_all_of_64_bits_and_no_more() {
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Message::new(&most).varint(), Ok(u64::MAX));
        let more = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Message::new(&more).varint(), Err(WireError::Varint));
    }

    #[test]
    fn a_packed_list_that_ends_inside_a_value_is_refused() {
        assert_eq!(Message::new(&[1, 2, 0x80]).packed_varints(), Err(WireError::Cut));
        assert_eq!(Message::new(&[1, 2, 3]).packed_varints(), Ok(()));
    }

    #[test]
    fn lengths_that_leave_the_message_are_refused() {
        assert_eq!(Message::new(&[0x12, 5, 1]).next(), Err(WireError::Cut));
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Message::new(&huge).next(), Err(WireError::Cut));
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert_eq!(Message::new(&[0x0b]).next(), Err(WireError::Kind));
        assert_eq!(Message::new(&[0x00, 0x01]).next(), Err(WireError::Kind));
    }
}
