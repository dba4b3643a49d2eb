//! `Content-Disposition` of a part.

use super::{MultipartFlags, hex};

/// What a part is called.
#[derive(Debug, Default)]
pub(super) struct Disposition {
    /// Its field; empty if there is none.
    pub(super) name: Vec<u8>,
    /// Its file; empty is none.
    pub(super) filename: Vec<u8>,
}

/// Reads the value of a header, as strictly as ModSecurity: what it refuses, some server reads otherwise. What can be read
/// in spite of an error is read.
pub(super) fn disposition(
    value: &[u8],
    found: &mut Disposition,
    flags: &mut MultipartFlags,
) -> Result<(), &'static str> {
    let Some(parameters) = value.strip_prefix(b"form-data") else {
        return Err("multipart: the disposition of a part is not form data");
    };
    let mut result = Ok(());
    let mut rest = skip_blanks(parameters);
    let (mut named, mut filed) = (false, false);
    while let Some((&separator, tail)) = rest.split_first() {
        if separator != b';' {
            flags.invalid_quoting |= text_before(parameters, rest).is_some_and(|byte| matches!(byte, b'"' | b'\''));
            return result.and(Err("multipart: no semicolon between parameters of a disposition"));
        }
        if tail.is_empty() {
            break;
        }
        let Parameter { name, value, closed, rest: behind } =
            parameter(tail, flags).map_err(|message| result.err().unwrap_or(message))?;
        rest = skip_blanks(behind);
        flags.invalid_quoting |= !closed;
        let wrong = match name {
            _ if name.eq_ignore_ascii_case(b"name") => put(&mut found.name, value, &mut named),
            _ if name.eq_ignore_ascii_case(b"filename") => put(&mut found.filename, value, &mut filed),
            // RFC 7578, 4.2, forbids it; servers read it all the same, so its name has to be seen.
            b"filename*" => {
                if found.filename.is_empty() {
                    found.filename = extended(&value);
                }
                Err("multipart: `filename*` is not allowed in form data")
            }
            _ => Err(UNKNOWN),
        };
        result = result.and(wrong);
        if !closed {
            result = result.and(Err("multipart: a quote is not closed in a disposition"));
        }
        if !matches!(name, b"name" | b"filename") {
            result = result.and(Err(UNKNOWN));
        }
    }
    result
}

const UNKNOWN: &str = "multipart: an unknown parameter in a disposition";

struct Parameter<'t> {
    name: &'t [u8],
    value: Vec<u8>,
    /// Its quotes, if any, are closed.
    closed: bool,
    rest: &'t [u8],
}

/// Takes a value. The first one stays.
fn put(into: &mut Vec<u8>, value: Vec<u8>, seen: &mut bool) -> Result<(), &'static str> {
    if std::mem::replace(seen, true) {
        return Err("multipart: a parameter twice in a disposition");
    }
    *into = value;
    Ok(())
}

fn parameter<'t>(text: &'t [u8], flags: &mut MultipartFlags) -> Result<Parameter<'t>, &'static str> {
    const MALFORMED: &str = "multipart: a disposition is malformed";
    let text = skip_blanks(text);
    let length = text.iter().position(|byte| matches!(byte, b'=' | b'\t' | b' ')).ok_or(MALFORMED)?;
    let (name, tail) = text.split_at_checked(length).ok_or(MALFORMED)?;
    let tail = skip_blanks(skip_blanks(tail).strip_prefix(b"=").ok_or(MALFORMED)?);
    match tail.split_first().ok_or(MALFORMED)? {
        (&quote @ (b'"' | b'\''), tail) => {
            // Some servers take single quotes: they are read, and flagged.
            flags.invalid_quoting |= quote == b'\'';
            let (value, closed, rest) = quoted(tail, quote);
            Ok(Parameter { name, value, closed, rest })
        }
        _ => {
            let length = tail.iter().position(|&byte| !is_token(byte)).unwrap_or(tail.len());
            let (value, rest) = tail.split_at_checked(length).ok_or(MALFORMED)?;
            // Between double quotes it is a letter like any other: `it's.txt`.
            flags.invalid_quoting |= value.contains(&b'\'');
            Ok(Parameter { name, value: value.to_vec(), closed: true, rest })
        }
    }
}

/// Reads up to the closing quote, or to the end. Only the quote and the backslash can be escaped: browsers send Windows
/// paths with backslashes as they are.
fn quoted(text: &[u8], quote: u8) -> (Vec<u8>, bool, &[u8]) {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return (value, false, rest),
            [b'\\', escaped, tail @ ..] if *escaped == quote || *escaped == b'\\' => {
                value.push(*escaped);
                rest = tail;
            }
            [byte, tail @ ..] => {
                rest = tail;
                if *byte == quote {
                    return (value, true, rest);
                }
                value.push(*byte);
            }
        }
    }
}

/// `charset'language'percent-encoded` (RFC 8187), or what stands there if it is not that.
fn extended(value: &[u8]) -> Vec<u8> {
    let mut text = value.splitn(3, |&byte| byte == b'\'').nth(2).unwrap_or(value);
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, tail)) = text.split_first() {
        text = tail;
        decoded.push(match (byte, tail) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text = behind;
                hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0)
            }
            _ => byte,
        });
    }
    decoded
}

/// What follows the blanks and tabs at the front.
pub(super) fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', tail @ ..] = text {
        text = tail;
    }
    text
}

/// The byte before `rest`, which is a tail of `whole`.
fn text_before(whole: &[u8], rest: &[u8]) -> Option<u8> {
    whole.len().checked_sub(rest.len() + 1).and_then(|at| whole.get(at)).copied()
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'/' | b'[' | b']' | b'?' | b'='
        )
}
