//! Matroska and WebM: which of the two, as the EBML header says (RFC 8794 §8.1).

use super::Facts;
use super::view::{CUT, Flaw, View};

const DOC_TYPE: u64 = 0x4282;

/// Elements of the header up to the one that names the type.
pub(super) fn kind(view: &View<'_>) -> Result<Facts, Flaw> {
    let (length, mut at) = number(view, 4, false)?;
    let end = at.saturating_add(length);
    while at < end {
        let (id, after) = number(view, at, true)?;
        let (length, content) = number(view, after, false)?;
        if id == DOC_TYPE {
            return match length {
                4 if view.has(content, b"webm") => Ok(Facts::of("video/webm")),
                8 if view.has(content, b"matroska") => Ok(Facts::of("video/x-matroska")),
                _ => Err("EBML of another type"),
            };
        }
        at = content.saturating_add(length);
    }
    Err(if end > view.len() { CUT } else { "EBML of no type" })
}

/// A number whose leading zero bits tell how long it is, and where it ends. An id keeps its marker.
fn number(view: &View<'_>, at: u64, marked: bool) -> Result<(u64, u64), Flaw> {
    let first = view.byte(at)?;
    let more = u64::from(first.leading_zeros());
    if more > 7 {
        return Err("a number longer than 8 bytes");
    }
    let mut value = u64::from(if marked { first } else { first & !(0x80 >> more) });
    for place in 1..=more {
        value = value << 8 | u64::from(view.byte(at.saturating_add(place))?);
    }
    Ok((value, at.saturating_add(1 + more)))
}
