//! The body of a request, from what a case says of it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::case::{Piece, Send};

/// How often a piece is repeated at most: `Most(0)` only checks what is written.
#[derive(Clone, Copy)]
pub(crate) struct Most(pub(crate) u64);

/// Bodies above this are compressed while they are made, and never whole in memory.
const CHUNK: usize = 1 << 16;

/// The bytes to send, compressed if the case says so; `None` without a body.
///
/// # Errors
/// If what is written is not base64.
pub(crate) fn bytes(send: &Send, most: Most) -> Result<Option<Vec<u8>>, String> {
    if send.gzip {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        let some = write(send, most, &mut |bytes| out.write_all(bytes).expect("memory takes every byte"))?;
        return Ok(some.then(|| out.finish().expect("memory takes every byte")));
    }
    plain(send, most)
}

/// The bytes before any compression.
///
/// # Errors
/// If what is written is not base64.
pub(crate) fn plain(send: &Send, most: Most) -> Result<Option<Vec<u8>>, String> {
    let mut out = Vec::new();
    let some = write(send, most, &mut |bytes| out.extend_from_slice(bytes))?;
    Ok(some.then_some(out))
}

fn write(send: &Send, most: Most, out: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
    if let Some(json) = &send.json {
        out(json.to_string().as_bytes());
    } else if let Some(text) = &send.text {
        out(text.as_bytes());
    } else if let Some(text) = &send.base64 {
        out(&decode(text)?);
    } else if let Some(pieces) = &send.pieces {
        pieces.iter().for_each(|piece| piece.write(most, out));
    } else {
        return Ok(false);
    }
    Ok(true)
}

impl Piece {
    fn write(&self, most: Most, out: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Text(text) => out(text.as_bytes()),
            Self::Repeated(repeated) if repeated.repeat.is_empty() => {}
            Self::Repeated(repeated) => {
                let times = repeated.times.min(most.0);
                let at_once = (CHUNK / repeated.repeat.len()).max(1);
                let block = repeated.repeat.repeat(usize::try_from(times).map_or(at_once, |times| times.min(at_once)));
                let mut left = times;
                while left > 0 {
                    let now = left.min(at_once as u64);
                    let bytes = usize::try_from(now).unwrap_or(at_once) * repeated.repeat.len();
                    out(block.as_bytes().get(..bytes).unwrap_or_default());
                    left -= now;
                }
            }
        }
    }
}

/// Standard base64 (RFC 4648 §4); line breaks and spaces between are allowed.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0_u32);
    let letters = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let letters: Vec<u8> = letters.collect();
    let unpadded = match letters.as_slice() {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] => rest,
        all => all,
    };
    for letter in unpadded {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("not base64".to_owned()),
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [.., byte] = (held >> bits).to_be_bytes();
            out.push(byte);
            held &= (1 << bits) - 1;
        }
    }
    if letters.len().is_multiple_of(4) && held == 0 { Ok(out) } else { Err("not base64".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(yaml: serde_json::Value) -> Send {
        serde_json::from_value(yaml).expect("a request")
    }

    #[test]
    fn base64_is_read_and_nonsense_is_not() {
        for (text, bytes) in
            [("", &b""[..]), ("TQ==", b"M"), ("TWE=", b"Ma"), ("TWFu", b"Man"), ("/+8A\n/w==", b"\xff\xef\0\xff")]
        {
            assert_eq!(decode(text).as_deref(), Ok(bytes), "{text}");
        }
        for text in ["TQ", "T", "TQ=", "TR==", "T*==", "=", "TQ==TQ=="] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pieces_are_repeated_over_the_borders_of_blocks() {
        let send = send(serde_json::json!({ "pieces": ["[", { "repeat": "ab", "times": 70_000 }, "]"] }));
        let bytes = plain(&send, Most(u64::MAX)).expect("pieces").expect("a body");
        assert_eq!(bytes.len(), 140_002);
        assert!(bytes.starts_with(b"[ab") && bytes.ends_with(b"ab]"));
    }

    #[test]
    fn a_compressed_body_decodes_to_what_was_written() {
        let send = send(serde_json::json!({ "gzip": true, "pieces": [{ "repeat": "0,", "times": 100_000 }] }));
        let bytes = bytes(&send, Most(u64::MAX)).expect("pieces").expect("a body");
        assert!(bytes.len() < 2_000, "{}", bytes.len());
        let mut out = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&*bytes);
        std::io::Read::read_to_end(&mut decoder, &mut out).expect("gzip");
        assert_eq!(out, "0,".repeat(100_000).into_bytes());
    }
}
