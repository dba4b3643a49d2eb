//! A notation for messages of Protocol Buffers that can say what no library would write:
//! `1:"m" 5:{1:"x" 2:"FP32" 3:[1 2]} 7:#0000803f0000803f`. Behind a field's number stands a varint, a string, a message,
//! packed varints, bytes in hexadecimal, `f1.5` (four bytes) or `d1.5` (eight); `!` before hexadecimal is bytes as they
//! are, without a field.

/// The bytes of a message.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut rest = text;
    let message = fields(&mut rest);
    assert!(rest.is_empty(), "not understood: `{rest}`");
    message
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "half a byte: `{digits}`");
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(digit).collect()
}

fn fields(rest: &mut &str) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('}') {
            return out;
        }
        if let Some(after) = rest.strip_prefix('!') {
            *rest = after;
            out.extend(hex(word(rest, |letter| letter.is_ascii_hexdigit())));
            continue;
        }
        let number: u64 = word(rest, |letter| letter.is_ascii_digit()).parse().expect("the number of a field");
        *rest = rest.strip_prefix(':').expect("`:` behind the number");
        field(number, rest, &mut out);
    }
}

fn field(number: u64, rest: &mut &str, out: &mut Vec<u8>) {
    let first = rest.chars().next().expect("a value");
    let after = &rest[first.len_utf8()..];
    match first {
        '"' => {
            let (text, after) = after.split_once('"').expect("a quote");
            *rest = after;
            block(number, text.as_bytes(), out);
        }
        '#' => {
            *rest = after;
            block(number, &hex(word(rest, |letter| letter.is_ascii_hexdigit())), out);
        }
        '{' => {
            *rest = after;
            let inner = fields(rest);
            *rest = rest.strip_prefix('}').expect("the end of a message");
            block(number, &inner, out);
        }
        '[' => {
            let (list, after) = after.split_once(']').expect("the end of a list");
            *rest = after;
            let mut packed = Vec::new();
            for value in list.split_whitespace() {
                varint(integer(value), &mut packed);
            }
            block(number, &packed, out);
        }
        'f' => {
            *rest = after;
            varint(number << 3 | 5, out);
            let value: f32 = word(rest, |letter| !letter.is_whitespace() && letter != '}').parse().expect("a float");
            out.extend(value.to_le_bytes());
        }
        'd' => {
            *rest = after;
            varint(number << 3 | 1, out);
            let value: f64 = word(rest, |letter| !letter.is_whitespace() && letter != '}').parse().expect("a float");
            out.extend(value.to_le_bytes());
        }
        _ => {
            varint(number << 3, out);
            varint(integer(word(rest, |letter| letter.is_ascii_digit() || letter == '-')), out);
        }
    }
}

/// Takes the letters that are so.
fn word<'a>(rest: &mut &'a str, is_so: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|letter| !is_so(letter)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

fn block(number: u64, content: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn integer(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| text.parse::<i64>().expect("an integer").cast_unsigned())
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
