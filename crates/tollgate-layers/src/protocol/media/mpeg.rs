//! MPEG audio, layers I to III: every frame header is visited, because what a Xing header claims binds no decoder.

use super::Facts;
use super::sound;
use super::view::{Flaw, View};

const KIND: &str = "audio/mpeg";
/// Bytes that are no frame, in the whole file, after which it is not followed further.
const MAX_JUNK: u64 = 64 << 10;

/// What follows one or more ID3 tags: frames, or FLAC of a careless tagger.
pub(super) fn tagged(view: &View<'_>) -> Result<Facts, Flaw> {
    let mut at = 0_u64;
    while view.has(at, b"ID3") {
        let [flags, size @ ..] = view.array::<5>(at + 5)?;
        let mut length = 0_u64;
        for digit in size {
            if digit > 0x7f {
                return Err("a tag without a length");
            }
            length = length << 7 | u64::from(digit);
        }
        at += 10 + length + if flags & 0x10 == 0 { 0 } else { 10 };
    }
    if view.has(at, b"fLaC") { sound::flac(view, at) } else { frames(view, at) }
}

/// Whether a frame begins the file and another follows it, or nothing does: eleven bits alone begin many a file.
pub(super) fn begins(view: &View<'_>) -> bool {
    Frame::at(view, 0).is_some_and(|frame| frame.length >= view.len() || Frame::at(view, frame.length).is_some())
}

/// The sum of all frames from `at` on, each at its own rate.
pub(super) fn frames(view: &View<'_>, mut at: u64) -> Result<Facts, Flaw> {
    let (mut nanos, mut junk, mut frames) = (0_u64, 0_u64, 0_u64);
    while at.saturating_add(4) <= view.len() {
        match Frame::at(view, at) {
            Some(frame) => {
                nanos = nanos.saturating_add(frame.nanos);
                frames += 1;
                at += frame.length;
            }
            // A tag of lyrics or pictures at the end, padding behind a tag at the beginning.
            None if junk < MAX_JUNK => {
                junk += 1;
                at += 1;
            }
            None => return if frames == 0 { Err("no frame") } else { Ok(Facts::of(KIND)) },
        }
    }
    if frames == 0 { Err("no frame") } else { Ok(Facts::sound(KIND, nanos, 1_000_000_000)) }
}

/// What a frame header says (ISO/IEC 11172-3 §2.4.1.3, 13818-3 §2.4.2.3).
struct Frame {
    length: u64,
    nanos: u64,
}

impl Frame {
    fn at(view: &View<'_>, at: u64) -> Option<Self> {
        let [0xff, version, rates, _] = view.array::<4>(at).ok()? else { return None };
        let first = version & 0x18 == 0x18;
        // Halved by version 2, quartered by what is called 2.5.
        let halvings = match version >> 3 & 3 {
            _ if version < 0xe0 => return None,
            0 => 2,
            2 => 1,
            3 => 0,
            _ => return None,
        };
        let rate = [44_100_u64, 48_000, 32_000].get(usize::from(rates >> 2 & 3))? >> halvings;
        let layer = 4 - (version >> 1 & 3);
        let kbits = kbits(first, layer, usize::from(rates >> 4))?;
        let samples = match layer {
            1 => 384,
            3 if !first => 576,
            4 => return None,
            _ => 1152,
        };
        let padding = u64::from(rates >> 1 & 1);
        let length = if layer == 1 {
            (12_000 * kbits / rate + padding) * 4
        } else {
            samples / 8 * 1000 * kbits / rate + padding
        };
        Some(Self { length, nanos: samples * 1_000_000_000 / rate })
    }
}

/// The bit rate of an index; `None` for the free format, whose frames have no length, and for the forbidden one.
fn kbits(first: bool, layer: u8, index: usize) -> Option<u64> {
    const FIRST: [[u16; 14]; 3] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const SECOND: [[u16; 14]; 2] = [
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let layer = usize::from(layer).checked_sub(1)?;
    let row = if first { FIRST.get(layer)? } else { SECOND.get(layer.min(1))? };
    row.get(index.checked_sub(1)?).map(|kbits| u64::from(*kbits))
}
