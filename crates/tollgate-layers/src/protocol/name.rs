//! Names and ids that come from a request.

use super::Wrong;
use super::json::{Kind, Reader};

/// The longest name of a tensor, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Reads a string that is a name: not empty, not long, without NUL.
///
/// # Errors
/// It is malformed, holds a NUL, or is no such name.
pub fn name(reader: &mut Reader<'_>) -> Result<Box<str>, Wrong> {
    let kind = reader.peek()?;
    if kind != Kind::String {
        return Err(Wrong::here("a string", kind.name()));
    }
    let at = reader.at();
    let name = reader.string()?;
    if name.contains('\0') {
        return Err(Wrong::nul(at));
    }
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let expected = format!("a name of 1 to {MAX_NAME_BYTES} bytes");
        return Err(Wrong::here(expected, format!("a string of {} bytes", name.len())));
    }
    Ok(name.into())
}

/// Reads an id. MLServer copies it into reply headers, where CR, LF or NUL end the connection: safe characters only.
///
/// # Errors
/// It is malformed, holds a NUL, or is no such id.
pub fn id(reader: &mut Reader<'_>, max: usize) -> Result<Box<str>, Wrong> {
    let kind = reader.peek()?;
    if kind != Kind::String {
        return Err(Wrong::here("a string", kind.name()));
    }
    let at = reader.at();
    let id = reader.string()?;
    if id.contains('\0') {
        return Err(Wrong::nul(at));
    }
    if id.is_empty() || id.len() > max {
        let expected = format!("an id of 1 to {max} characters");
        return Err(Wrong::here(expected, format!("a string of {} bytes", id.len())));
    }
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)) {
        return Err(Wrong::here("an id of the characters `A-Z a-z 0-9 . _ : -`", "a string with others"));
    }
    Ok(id.into())
}
