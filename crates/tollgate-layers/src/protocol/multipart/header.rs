//! The headers of one part (RFC 7578 §4).

use crate::protocol::Wrong;

/// What the headers of a part say.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) filename: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// Lines without the empty one behind them.
    pub(super) fn read(block: &'a [u8]) -> Result<Self, Wrong> {
        let block = std::str::from_utf8(block).map_err(|_| Wrong::here("headers in UTF-8", "other bytes"))?;
        let mut headers = Self::default();
        for line in block.split("\r\n") {
            // What is left of line ends; a fold begins with a blank, which no name has.
            if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return Err(Wrong::here("headers of printable characters", "a control character"));
            }
            let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_token(name)) else {
                return Err(Wrong::here("a header", "another line"));
            };
            headers.one(name, value.trim_matches([' ', '\t']))?;
        }
        Ok(headers)
    }

    fn one(&mut self, name: &str, value: &'a str) -> Result<(), Wrong> {
        if name.eq_ignore_ascii_case("content-disposition") {
            if self.name.is_some() {
                return Err(Wrong::here("one `Content-Disposition`", "two"));
            }
            return self.disposition(value);
        }
        if name.eq_ignore_ascii_case("content-type") {
            if value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
                return Err(Wrong::here("a content that is not multipart", "one that is"));
            }
            return match self.content_type.replace(value) {
                None => Ok(()),
                Some(_) => Err(Wrong::here("one `Content-Type`", "two")),
            };
        }
        // Deprecated by RFC 7578 §4.7; a reader that heeds it reads another content than one that does not.
        if name.eq_ignore_ascii_case("content-transfer-encoding") || name.eq_ignore_ascii_case("content-encoding") {
            return Err(Wrong::here("content as it is", "an encoding of it"));
        }
        Ok(())
    }

    /// `form-data; name="…"; filename="…"`
    fn disposition(&mut self, value: &'a str) -> Result<(), Wrong> {
        let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim_matches([' ', '\t']).eq_ignore_ascii_case("form-data") {
            return Err(Wrong::here("a disposition `form-data`", "another"));
        }
        let (mut field, mut filename) = (None, None);
        while !rest.is_empty() {
            let (name, value, after) =
                parameter(rest).ok_or_else(|| Wrong::here("`name` and `filename`", "no parameter"))?;
            let place = match name {
                name if name.eq_ignore_ascii_case("name") => &mut field,
                name if name.eq_ignore_ascii_case("filename") => &mut filename,
                // `filename*` too: RFC 7578 §4.2 forbids it, and readers that know it prefer it.
                _ => return Err(Wrong::here("`name` and `filename`", "another parameter")),
            };
            if place.replace(value).is_some() {
                return Err(Wrong::here("a parameter", "the same one twice"));
            }
            rest = after;
        }
        match field {
            // `_charset_` would tell readers to read all other fields differently (RFC 7578 §4.6).
            None | Some("" | "_charset_") => Err(Wrong::here("the `name` of a field", "none")),
            Some(name) => {
                (self.name, self.filename) = (Some(name), filename);
                Ok(())
            }
        }
    }
}

/// ` name=value` or ` name="value"` at the beginning of what follows a `;`: name, value, and what follows the next `;`.
///
/// A backslash is refused: one reader takes it for an escape, another for a character of a path.
pub(super) fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.trim_start_matches([' ', '\t']).split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').filter(|(value, _)| !value.contains('\\'))?,
        None => {
            let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
            rest.split_at_checked(end).filter(|(value, _)| is_token(value))?
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() { Some((name, value, "")) } else { rest.strip_prefix(';').map(|rest| (name, value, rest)) }
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
