//! WebP: a RIFF of one picture, or of a canvas and what is drawn on it.

use super::Facts;
use super::view::{CUT, Flaw, View};

const KIND: &str = "image/webp";

/// The first chunk tells which of the three forms it is.
pub(super) fn webp(view: &View<'_>) -> Result<Facts, Flaw> {
    // The last chunk's padding is often left out.
    if 8 + u64::from(view.le32(4)?) > view.len() + 1 {
        return Err(CUT);
    }
    match bitstream(view, 12)? {
        Some(size) => Facts::pictures(KIND, size, 1),
        None if view.has(12, b"VP8X") => extended(view),
        None => Err("a chunk of no kind"),
    }
}

/// A canvas, then either one picture of its size or frames inside of it.
fn extended(view: &View<'_>) -> Result<Facts, Flaw> {
    if view.le32(16)? < 10 {
        return Err("a header chunk that is too short");
    }
    let animated = view.byte(20)? & 2 != 0;
    let canvas = [view.le24(24)? + 1, view.le24(27)? + 1];
    let end = view.len().min(8 + u64::from(view.le32(4)?));
    let (mut at, mut frames) = (next(view, 12)?, 0_u32);
    while at < end {
        match &view.array::<4>(at)? {
            b"ANMF" => {
                let place = [view.le24(at + 8)?, view.le24(at + 11)?].map(|half| half * 2);
                let size = [view.le24(at + 14)? + 1, view.le24(at + 17)? + 1];
                if place[0] + size[0] > canvas[0] || place[1] + size[1] > canvas[1] {
                    return Err("a frame beyond its canvas");
                }
                frames = frames.saturating_add(1);
            }
            b"VP8X" => return Err("two header chunks"),
            _ => {
                if let Some(size) = bitstream(view, at)? {
                    if animated || size != canvas {
                        return Err("a picture of another size than its canvas");
                    }
                    return Facts::pictures(KIND, canvas, 1);
                }
            }
        }
        at = next(view, at)?;
    }
    if animated { Facts::pictures(KIND, canvas, frames) } else { Err("no picture") }
}

/// Where the chunk behind the one at `at` stands: chunks are padded to even places.
fn next(view: &View<'_>, at: u64) -> Result<u64, Flaw> {
    let length = u64::from(view.le32(at + 4)?);
    Ok(at + 8 + length + length % 2)
}

/// The size that a chunk of pixels says; `None` for another chunk.
fn bitstream(view: &View<'_>, at: u64) -> Result<Option<[u32; 2]>, Flaw> {
    match &view.array::<4>(at)? {
        // RFC 6386 §9.1: three bytes of which the lowest bit is 0 in a key frame, a start code, 14 bits a side.
        b"VP8 " => {
            if view.byte(at + 8)? & 1 != 0 || !view.has(at + 11, b"\x9d\x01\x2a") {
                return Err("no key frame");
            }
            Ok(Some([view.le16(at + 14)? & 0x3fff, view.le16(at + 16)? & 0x3fff].map(u32::from)))
        }
        b"VP8L" => {
            let bits = view.le32(at + 9)?;
            if view.byte(at + 8)? != 0x2f || bits >> 29 != 0 {
                return Err("no lossless picture");
            }
            Ok(Some([(bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1]))
        }
        _ => Ok(None),
    }
}
