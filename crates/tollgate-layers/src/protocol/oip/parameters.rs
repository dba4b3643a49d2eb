//! Parameters of a request, an input or an output: an allow-list.

use crate::protocol::Wrong;
use crate::protocol::json::{Integer, Kind, Reader};

/// Where parameters stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Of an input, in a body that may have binary data.
    Input { binary: bool },
    /// Of a requested output.
    Output,
    /// Of an output in a reply, which may have binary data: the server may say what it likes there.
    Reply { binary: bool },
    /// Of the request.
    Request,
}

/// Parameters with which a caller reaches past its own request: another's sequence, the queue's order, shared memory,
/// headers. Named in the answer, unlike other unknown ones, because these names are ours.
const RESERVED: [&str; 9] = [
    "headers",
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "shared_memory_region",
    "timeout",
];

/// Reads parameters and keeps one: the `binary_data_size` of an input.
///
/// # Errors
/// Malformed JSON; a parameter that is not on the list or not of its type.
pub(super) fn read(reader: &mut Reader<'_>, place: Place) -> Result<Option<usize>, Wrong> {
    let mut binary_size = None;
    let kind = reader.peek()?;
    if kind != Kind::Object {
        return Err(Wrong::here(Kind::Object.name(), kind.name()));
    }
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        match (place, &*key) {
            (Place::Output, "binary_data") => boolean(reader).map_err(|wrong| wrong.under("binary_data"))?,
            (Place::Request, "binary_data_output") => {
                boolean(reader).map_err(|wrong| wrong.under("binary_data_output"))?;
            }
            (Place::Output, "classification") => count(reader).map_err(|wrong| wrong.under("classification"))?,
            (Place::Input { binary: true } | Place::Reply { binary: true }, "binary_data_size") => {
                binary_size = Some(size(reader).map_err(|wrong| wrong.under("binary_data_size"))?);
            }
            (Place::Input { binary: false } | Place::Reply { binary: false }, "binary_data_size") => {
                return Err(Wrong::here("`data` in the JSON", "a size of binary data").under("binary_data_size"));
            }
            (Place::Reply { .. }, _) => reader.skip()?,
            (_, key) => return Err(refused(key)),
        }
    }
    Ok(binary_size)
}

/// Whether gRPC has the parameter `key` at `place`, and what it is of: tensors are always raw there, so that only
/// `classification` is left.
pub(super) fn check_grpc(key: &str, place: Place, count: Option<i64>) -> Result<(), Wrong> {
    if (place, key) != (Place::Output, "classification") {
        return Err(refused(key));
    }
    match count {
        Some(1..=1_000) => Ok(()),
        _ => Err(Wrong::here("an integer from 1 to 1000", "another value").under("classification")),
    }
}

fn refused(key: &str) -> Wrong {
    match RESERVED.into_iter().find(|reserved| *reserved == key) {
        Some(reserved) => Wrong::here("no such parameter: it is reserved", "it").under(reserved),
        None if key.starts_with("triton_") => Wrong::here("no parameter `triton_…`: they are reserved", "one"),
        None => Wrong::here("parameters that are known here", "another"),
    }
}

fn boolean(reader: &mut Reader<'_>) -> Result<(), Wrong> {
    match reader.peek()? {
        Kind::Bool => Ok(reader.boolean().map(|_| ())?),
        kind => Err(Wrong::here("`true` or `false`", kind.name())),
    }
}

fn size(reader: &mut Reader<'_>) -> Result<usize, Wrong> {
    const EXPECTED: &str = "a number of bytes";
    let kind = reader.peek()?;
    if kind != Kind::Number {
        return Err(Wrong::here(EXPECTED, kind.name()));
    }
    let number = reader.number()?;
    let size = number.integer.and_then(Integer::unsigned).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| Wrong::here(EXPECTED, number.text))
}

fn count(reader: &mut Reader<'_>) -> Result<(), Wrong> {
    const EXPECTED: &str = "an integer from 1 to 1000";
    let kind = reader.peek()?;
    if kind != Kind::Number {
        return Err(Wrong::here(EXPECTED, kind.name()));
    }
    let number = reader.number()?;
    let fits = number.integer.and_then(Integer::unsigned).is_some_and(|count| (1..=1_000).contains(&count));
    if fits { Ok(()) } else { Err(Wrong::here(EXPECTED, number.text)) }
}
