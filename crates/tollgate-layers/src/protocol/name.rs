//! Names and ids that come from a request.

use std::borrow::Cow;

use super::Wrong;
use super::json::{Kind, Reader};

/// The longest name of a tensor, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Reads a string that is a name: not empty, not long, without NUL.
///
/// # Errors
/// It is malformed, holds a NUL, or is no such name.
pub fn name(reader: &mut Reader<'_>) -> Result<Box<str>, Wrong> {
    let name = string(reader)?;
    check_name(&name)?;
    Ok(name.into())
}

/// Reads an id. MLServer copies it into reply headers, where CR, LF or NUL end the connection: safe characters only.
///
/// # Errors
/// It is malformed, holds a NUL, or is no such id.
pub fn id(reader: &mut Reader<'_>, max: usize) -> Result<Box<str>, Wrong> {
    let id = string(reader)?;
    check_id(&id, max)?;
    Ok(id.into())
}

/// Whether a text without NUL is a name.
///
/// # Errors
/// It is empty or long.
pub fn check_name(name: &str) -> Result<(), Wrong> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    let expected = format!("a name of 1 to {MAX_NAME_BYTES} bytes");
    Err(Wrong::here(expected, format!("a string of {} bytes", name.len())))
}

/// Whether a text is an id of at most `max` characters.
///
/// # Errors
/// It is empty, long, or has other characters.
pub fn check_id(id: &str, max: usize) -> Result<(), Wrong> {
    if id.is_empty() || id.len() > max {
        let expected = format!("an id of 1 to {max} characters");
        return Err(Wrong::here(expected, format!("a string of {} bytes", id.len())));
    }
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)) {
        return Err(Wrong::here("an id of the characters `A-Z a-z 0-9 . _ : -`", "a string with others"));
    }
    Ok(())
}

fn string<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, Wrong> {
    let kind = reader.peek()?;
    if kind != Kind::String {
        return Err(Wrong::here("a string", kind.name()));
    }
    let at = reader.at();
    let string = reader.string()?;
    if string.contains('\0') {
        return Err(Wrong::nul(at));
    }
    Ok(string)
}
