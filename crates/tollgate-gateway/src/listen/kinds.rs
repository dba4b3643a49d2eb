//! Which bytes may stand where in a head: one table, and the union of its entries over a text.

/// The union of the kinds of all bytes of `text`.
pub(super) fn kinds(text: &[u8]) -> u8 {
    text.iter().fold(0, |found, byte| found | KINDS[usize::from(*byte)])
}

/// Not in a token (RFC 9110, 5.6.2).
pub(super) const NO_TOKEN: u8 = 1;
/// A control byte other than the tab.
pub(super) const CONTROL: u8 = 2;
/// Above 7F.
pub(super) const HIGH: u8 = 4;
/// Visible, and not in a URI (RFC 3986, 2).
pub(super) const NO_URI: u8 = 8;

const KINDS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let token = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        let mut kind = if token { 0 } else { NO_TOKEN };
        if byte.is_ascii_control() && byte != b'\t' {
            kind |= CONTROL;
        }
        if byte >= 0x80 {
            kind |= HIGH;
        }
        if matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            kind |= NO_URI;
        }
        table[byte as usize] = kind;
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};
