//! PNG, JPEG, GIF and BMP: one walk over blocks each, up to where the size and the number of pictures are certain.

use super::Facts;
use super::view::{CUT, Flaw, View};

/// Chunks up to the first pixels. APNG's `acTL` has to stand before them.
pub(super) fn png(view: &View<'_>) -> Result<Facts, Flaw> {
    if view.be32(8)? != 13 || !view.has(12, b"IHDR") {
        return Err("a first chunk other than IHDR");
    }
    let size = [view.be32(16)?, view.be32(20)?];
    if size.iter().any(|side| *side > u32::MAX / 2) {
        return Err("a side of more than 2^31 - 1 pixels");
    }
    let (mut at, mut frames) = (33_u64, None);
    loop {
        let length = view.be32(at)?;
        match &view.array::<4>(at + 4)? {
            b"IDAT" => return Facts::pictures("image/png", size, frames.unwrap_or(1)),
            b"IHDR" => return Err("two IHDR chunks"),
            b"acTL" if frames.is_some() => return Err("two acTL chunks"),
            b"acTL" => frames = Some(view.be32(at + 8)?),
            b"IEND" => return Err("no pixels"),
            _ => {}
        }
        at += 12 + u64::from(length);
    }
}

/// Markers up to the first scan (ITU-T T.81 annex B).
pub(super) fn jpeg(view: &View<'_>) -> Result<Facts, Flaw> {
    let (mut at, mut size) = (2_u64, None);
    loop {
        if view.byte(at)? != 0xff {
            return Err("bytes between two markers");
        }
        at += 1;
        match view.byte(at)? {
            // Fill bytes.
            0xff => continue,
            // Of these decoders think differently: stuffing, restarts, a second start, an early end.
            0x00 | 0x01 | 0xd0..=0xd9 => return Err("a marker that has no place before the picture"),
            0xda => return Facts::pictures("image/jpeg", size.ok_or("a scan without a frame header")?, 1),
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf if size.is_some() => return Err("two frame headers"),
            0xc0..=0xcf => size = Some([u32::from(view.be16(at + 6)?), u32::from(view.be16(at + 4)?)]),
            _ => {}
        }
        let length = view.be16(at + 1)?;
        if length < 2 {
            return Err("a segment shorter than its length");
        }
        at += 1 + u64::from(length);
    }
}

/// Blocks to the end: nothing else tells how many pictures there are.
pub(super) fn gif(view: &View<'_>) -> Result<Facts, Flaw> {
    let mut size = [u32::from(view.le16(6)?), u32::from(view.le16(8)?)];
    let mut at = 13 + table(view.byte(10)?);
    let mut frames = 0_u32;
    loop {
        match view.byte(at) {
            Ok(b'!') => at = sub_blocks(view, at + 2)?,
            Ok(b',') => {
                let [left, top, width, height] =
                    [view.le16(at + 1)?, view.le16(at + 3)?, view.le16(at + 5)?, view.le16(at + 7)?].map(u32::from);
                if width == 0 || height == 0 {
                    return Err("a picture without pixels");
                }
                // Some decoders grow the screen to hold the picture.
                size = [size[0].max(left + width), size[1].max(top + height)];
                frames = frames.saturating_add(1);
                at = sub_blocks(view, at + 11 + table(view.byte(at + 9)?))?;
            }
            Ok(b';') => break,
            // Some decoders search on behind it.
            Ok(_) => return Err("a block of no kind"),
            // Many an encoder forgets the trailer.
            Err(_) if frames > 0 => break,
            Err(cut) => return Err(cut),
        }
    }
    Facts::pictures("image/gif", size, frames)
}

/// Bytes of the colour table that the flags announce.
fn table(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Where the sub-blocks that begin at `at` end.
fn sub_blocks(view: &View<'_>, mut at: u64) -> Result<u64, Flaw> {
    loop {
        match view.byte(at)? {
            0 => return Ok(at + 1),
            length => at += 1 + u64::from(length),
        }
    }
}

/// Whether a header of a known size follows the file header.
pub(super) fn is_bmp(view: &View<'_>) -> bool {
    view.le32(14).is_ok_and(|header| matches!(header, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Two headers of fixed places.
pub(super) fn bmp(view: &View<'_>) -> Result<Facts, Flaw> {
    let header = view.le32(14)?;
    let size = if header == 12 {
        [u32::from(view.le16(18)?), u32::from(view.le16(20)?)]
    } else {
        // A negative height is one of rows from top to bottom; a negative width is none.
        let width = i32::try_from(view.le32(18)?).map_err(|_| "a width below zero")?;
        [width.unsigned_abs(), view.le32(22)?.cast_signed().unsigned_abs()]
    };
    if view.len() < 14 + u64::from(header) {
        return Err(CUT);
    }
    Facts::pictures("image/bmp", size, 1)
}
