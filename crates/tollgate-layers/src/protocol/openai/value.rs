//! Single values of a request, each of exactly its type. `null` is as if the member were absent.

use std::ops::RangeInclusive;

use crate::protocol::Wrong;
use crate::protocol::json::{Integer, Kind, Reader};

/// Whether `null` comes next; it is read then.
pub(in crate::protocol) fn absent(reader: &mut Reader<'_>) -> Result<bool, Wrong> {
    let null = reader.peek()? == Kind::Null;
    if null {
        reader.null()?;
    }
    Ok(null)
}

/// `true` or `false`: servers take 1 and `"true"` as well.
pub(in crate::protocol) fn boolean(reader: &mut Reader<'_>) -> Result<Option<bool>, Wrong> {
    match reader.peek()? {
        Kind::Bool => Ok(Some(reader.boolean()?)),
        Kind::Null => Ok(reader.null().map(|()| None)?),
        kind => Err(Wrong::here("`true` or `false`", kind.name())),
    }
}

/// An integer without fraction and exponent.
pub(in crate::protocol) fn integer(reader: &mut Reader<'_>, range: RangeInclusive<u64>) -> Result<Option<u64>, Wrong> {
    let expected = || match (range.start(), range.end()) {
        (least, &u64::MAX) => format!("an integer of at least {least}"),
        (least, most) => format!("an integer from {least} to {most}"),
    };
    match reader.peek()? {
        Kind::Number => {
            let number = reader.number()?;
            let value = number.integer.and_then(Integer::unsigned).filter(|value| range.contains(value));
            value.map(Some).ok_or_else(|| Wrong::here(expected(), number.text))
        }
        Kind::Null => Ok(reader.null().map(|()| None)?),
        kind => Err(Wrong::here(expected(), kind.name())),
    }
}

/// The same with a sign.
pub(in crate::protocol) fn signed(reader: &mut Reader<'_>, range: RangeInclusive<i64>) -> Result<(), Wrong> {
    let expected = || format!("an integer from {} to {}", range.start(), range.end());
    match reader.peek()? {
        Kind::Number => {
            let number = reader.number()?;
            let fits = number.integer.and_then(Integer::signed).is_some_and(|value| range.contains(&value));
            if fits { Ok(()) } else { Err(Wrong::here(expected(), number.text)) }
        }
        Kind::Null => Ok(reader.null()?),
        kind => Err(Wrong::here(expected(), kind.name())),
    }
}

/// A number of the range.
pub(in crate::protocol) fn number(reader: &mut Reader<'_>, range: RangeInclusive<f64>) -> Result<(), Wrong> {
    let expected = || format!("a number from {} to {}", range.start(), range.end());
    match reader.peek()? {
        Kind::Number => {
            let number = reader.number()?;
            if range.contains(&number.value) { Ok(()) } else { Err(Wrong::here(expected(), number.text)) }
        }
        Kind::Null => Ok(reader.null()?),
        kind => Err(Wrong::here(expected(), kind.name())),
    }
}

/// A string of at most so many bytes.
pub(in crate::protocol) fn text(reader: &mut Reader<'_>, most: usize) -> Result<(), Wrong> {
    match reader.peek()? {
        Kind::String => {
            let text = reader.string()?;
            if text.len() <= most {
                return Ok(());
            }
            Err(Wrong::here(format!("at most {most} bytes"), format!("{} bytes", text.len())))
        }
        Kind::Null => Ok(reader.null()?),
        kind => Err(Wrong::here(Kind::String.name(), kind.name())),
    }
}

/// One of a few words.
pub(in crate::protocol) fn one_of(reader: &mut Reader<'_>, words: &[&str]) -> Result<(), Wrong> {
    let expected = || format!("one of `{}`", words.join("`, `"));
    match reader.peek()? {
        Kind::String => {
            let known = words.contains(&&*reader.string()?);
            if known { Ok(()) } else { Err(Wrong::here(expected(), "another string")) }
        }
        Kind::Null => Ok(reader.null()?),
        kind => Err(Wrong::here(expected(), kind.name())),
    }
}

/// A word, or an object that chooses a function.
pub(in crate::protocol) fn choice(reader: &mut Reader<'_>) -> Result<(), Wrong> {
    match reader.peek()? {
        Kind::Object => Ok(reader.skip()?),
        _ => text(reader, 64),
    }
}
