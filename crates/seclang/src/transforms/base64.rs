//! `base64Decode`, `base64DecodeExt` and `base64Encode`, standard alphabet.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes the longest valid prefix: it ends before the first byte that is not of the alphabet, padding included.
pub(super) fn decode(value: &[u8]) -> Vec<u8> {
    decode_sextets(value.iter().map_while(|&byte| sextet(byte)), value.len())
}

/// Decodes everything, bytes that are not of the alphabet left out.
pub(super) fn decode_ext(value: &[u8]) -> Vec<u8> {
    decode_sextets(value.iter().filter_map(|&byte| sextet(byte)), value.len())
}

/// Encodes, with padding.
pub(super) fn encode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().div_ceil(3) * 4);
    for group in value.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | group.get(at).copied().map_or(0, u32::from));
        for at in 0..4 {
            let [.., sextet] = (bits >> (18 - 6 * at) & 63).to_be_bytes();
            let letter = ALPHABET.get(usize::from(sextet)).filter(|_| at <= group.len());
            out.push(letter.copied().unwrap_or(b'='));
        }
    }
    out
}

fn decode_sextets(sextets: impl Iterator<Item = u8>, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length / 4 * 3 + 3);
    let mut bits = 0u16;
    let mut held = 0u8;
    for sextet in sextets {
        bits = bits << 6 | u16::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [_, byte] = (bits >> held).to_be_bytes();
            out.push(byte);
        }
    }
    out
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
