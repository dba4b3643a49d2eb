//! Reads a code-page file for `SecUnicodeMapFile`: a line with the page's number, then lines of `code:byte` pairs.

/// Why a file gives no map.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unusable {
    /// The line, counted from one, is not a list of pairs.
    Malformed(usize),
    /// The page is not in the file.
    NoSuchPage,
}

/// The pairs of one code page.
pub(crate) fn unicode_map(bytes: &[u8], page: u32) -> Result<Vec<(u32, u8)>, Unusable> {
    let text = String::from_utf8_lossy(bytes);
    let (mut found, mut inside) = (false, false);
    let mut map = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let line = line.trim();
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        if first.is_empty() || first.starts_with('#') {
            continue;
        }
        if !first.contains(':') {
            if first.bytes().all(|byte| byte.is_ascii_digit()) {
                inside = first.parse() == Ok(page);
                found |= inside;
            }
            continue;
        }
        if inside {
            for word in line.split_ascii_whitespace() {
                map.push(pair(word).ok_or(Unusable::Malformed(number))?);
            }
        }
    }
    if found { Ok(map) } else { Err(Unusable::NoSuchPage) }
}

fn pair(word: &str) -> Option<(u32, u8)> {
    let (code, byte) = word.split_once(':')?;
    Some((u32::from_str_radix(code, 16).ok()?, u8::from_str_radix(byte, 16).ok()?))
}
