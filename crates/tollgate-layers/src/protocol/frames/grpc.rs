//! Messages of gRPC: each behind one byte that says whether it is compressed and four that say how long it is.
//!
//! It cuts and counts; what a message says is read elsewhere, and what is compressed is decoded elsewhere.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes before each message.
pub const PREFIX: usize = 5;

/// One message, as it was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// It is compressed, as `grpc-encoding` says.
    pub compressed: bool,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unframed {
    /// The first byte says neither yes nor no.
    #[error("a message whose first byte is neither 0 nor 1")]
    Flag,
    /// The announced length is above the cap.
    #[error("a message of {0} bytes")]
    Large(u32),
    /// The announced length is not that of the rest: a second message, a part of one, or none.
    #[error("a body that is not exactly one message")]
    NotOne,
}

/// The bytes before an uncompressed message; `None` for one that 32 bits cannot count.
#[must_use]
pub fn prefix(length: usize) -> Option<[u8; PREFIX]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// The only message of a body.
///
/// # Errors
/// It is not exactly one.
pub fn only(body: &Bytes) -> Result<Message, Unframed> {
    let (head, rest) = body.split_first_chunk::<PREFIX>().ok_or(Unframed::NotOne)?;
    let (compressed, length) = announced(*head)?;
    if u64::from(length) != rest.len() as u64 {
        return Err(Unframed::NotOne);
    }
    Ok(Message { compressed, bytes: body.slice(PREFIX..) })
}

/// Cuts what comes into messages.
#[derive(Debug)]
pub struct Messages {
    held: BytesMut,
    max: usize,
}

/// A message whose memory is worth a copy of what follows it.
const LARGE: usize = 16_384;

impl Messages {
    /// For messages of at most `max` bytes each, as sent.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { held: BytesMut::new(), max }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Bytes that are held: never more than what was pushed since the last message was taken, and one message.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// What comes is no message, or a larger one than may be: known before its bytes have come.
    pub fn take(&mut self) -> Result<Option<Message>, Unframed> {
        let Some((head, rest)) = self.held.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let (compressed, length) = announced(*head)?;
        let size = usize::try_from(length).ok().filter(|size| *size <= self.max).ok_or(Unframed::Large(length))?;
        if rest.len() < size {
            return Ok(None);
        }
        self.held.advance(PREFIX);
        let bytes = self.held.split_to(size).freeze();
        if size >= LARGE && self.held.len() < size {
            // What follows would keep the memory of a large message for as long as the stream lives.
            self.held = BytesMut::from(&self.held[..]);
        }
        Ok(Some(Message { compressed, bytes }))
    }

    /// Whether the bytes that came end with a message.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.held.is_empty()
    }
}

fn announced([flag, a, b, c, d]: [u8; PREFIX]) -> Result<(bool, u32), Unframed> {
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(Unframed::Flag),
    };
    Ok((compressed, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let frame = |message: &&[u8]| [&prefix(message.len()).expect("short")[..], message].concat();
        messages.iter().flat_map(frame).collect()
    }

    #[test]
    fn a_body_is_exactly_one_message() {
        let good = only(&framed(&[b"abc"]).into()).expect("a message");
        assert_eq!((good.compressed, &good.bytes[..]), (false, &b"abc"[..]));
        assert!(only(&Bytes::from_static(&[1, 0, 0, 0, 1, b'x'])).expect("a message").compressed);
        assert_eq!(only(&framed(&[b""]).into()).expect("an empty message").bytes.len(), 0);
        let wrong: [(&str, Vec<u8>, Unframed); 6] = [
            ("nothing", vec![], Unframed::NotOne),
            ("half a prefix", vec![0, 0, 0, 0], Unframed::NotOne),
            ("two", framed(&[b"a", b"b"]), Unframed::NotOne),
            ("cut off", vec![0, 0, 0, 0, 2, 1], Unframed::NotOne),
            ("longer than it says", vec![0, 0, 0, 0, 1, 1, 1], Unframed::NotOne),
            ("a flag of 2", vec![2, 0, 0, 0, 0], Unframed::Flag),
        ];
        for (what, body, why) in wrong {
            assert_eq!(only(&body.into()), Err(why), "{what}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_known_by_its_prefix() {
        let mut messages = Messages::new(4);
        messages.push(&[0, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(messages.take(), Err(Unframed::Large(u32::MAX)));
        let mut messages = Messages::new(4);
        messages.push(&framed(&[b"abcd"]));
        assert_eq!(messages.take().expect("fits").expect("whole").bytes, b"abcd"[..]);
    }

    #[test]
    fn the_memory_of_a_large_message_goes_with_it() {
        let mut messages = Messages::new(1 << 20);
        messages.push(&framed(&[&[7; 1 << 20], b"next"]));
        drop(messages.take().expect("fits").expect("whole"));
        assert!(messages.held.capacity() < LARGE, "{}", messages.held.capacity());
        assert_eq!(messages.take().expect("fits").expect("whole").bytes, b"next"[..]);
    }

    proptest! {
        #[test]
        fn messages_cut_anywhere_come_out_whole(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            sizes in prop::collection::vec(1_usize..9, 1..200),
        ) {
            let all = framed(&sent.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (mut messages, mut found, mut left) = (Messages::new(64), Vec::new(), all.as_slice());
            for size in sizes.iter().cycle() {
                let (piece, rest) = left.split_at(left.len().min(*size));
                messages.push(piece);
                while let Some(message) = messages.take().expect("sound") {
                    found.push(message.bytes.to_vec());
                }
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert!(messages.is_clear());
            prop_assert_eq!(found, sent);
        }
    }
}
