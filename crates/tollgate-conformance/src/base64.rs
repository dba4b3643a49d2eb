//! Decodes the base64 of test files. Lenient, as Python's decoder is: what is not in the alphabet is skipped.

/// The bytes that `text` stands for.
#[must_use]
pub fn decode(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut decoded) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn what_is_padded_broken_into_lines_or_cut_decodes() {
        assert_eq!(decode("R0VUIC8="), b"GET /");
        assert_eq!(decode("R0VU\n IC8"), b"GET /");
        assert_eq!(decode("//79"), [0xff, 0xfe, 0xfd]);
        assert_eq!(decode(""), b"");
    }
}
