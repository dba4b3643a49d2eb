//! WAV, FLAC and Ogg: how long they are, as their headers say.

use super::Facts;
use super::view::{CUT, Flaw, View};

/// A `fmt ` chunk.
struct Format {
    tag: u16,
    rate: u32,
    /// Bytes of one sample of all channels.
    block: u16,
}

/// Chunks of RIFF, or of RF64 and BW64 whose sizes are 64 bits wide (EBU Tech 3306), up to the samples.
pub(super) fn wav(view: &View<'_>) -> Result<Facts, Flaw> {
    let (mut at, mut format, mut wide) = (12_u64, None, None);
    loop {
        let length = view.le32(at + 4)?;
        match &view.array::<4>(at)? {
            b"ds64" => wide = Some(view.le64(at + 16)?),
            b"fmt " if format.is_some() => return Err("two formats"),
            b"fmt " => format = Some(wav_format(view, at + 8)?),
            b"data" => {
                let Some(Format { tag, rate, block }) = format else { return Err("samples without a format") };
                let here = view.len().saturating_sub(at + 8);
                // Nothing, or all ones: not known yet when it was written.
                let bytes = match (length, wide) {
                    (u32::MAX, Some(wide)) => wide.min(here),
                    (0 | u32::MAX, _) => here,
                    _ => here.min(u64::from(length)),
                };
                // PCM, floats, A-law and mu-law, all of which may be called extensible. Of others only a decoder knows.
                return Ok(match tag {
                    1 | 3 | 6 | 7 | 0xfffe => Facts::sound("audio/wav", bytes / u64::from(block), u64::from(rate)),
                    _ => Facts::of("audio/wav"),
                });
            }
            _ => {}
        }
        at += 8 + u64::from(length) + u64::from(length % 2);
    }
}

fn wav_format(view: &View<'_>, at: u64) -> Result<Format, Flaw> {
    let [tag, channels, block, bits] = [view.le16(at)?, view.le16(at + 2)?, view.le16(at + 12)?, view.le16(at + 14)?];
    let rate = view.le32(at + 4)?;
    // A decoder that computes one of them from the others would read another length than we do.
    let plain = matches!(tag, 1 | 3 | 6 | 7 | 0xfffe);
    if plain && u32::from(block) != u32::from(channels) * u32::from(bits.div_ceil(8)) {
        return Err("a format that contradicts itself");
    }
    if channels == 0 || rate == 0 || block == 0 {
        return Err("a format without sound");
    }
    Ok(Format { tag, rate, block })
}

/// The first block, STREAMINFO (RFC 9639 §8.2), of a stream that begins at `at`.
pub(super) fn flac(view: &View<'_>, at: u64) -> Result<Facts, Flaw> {
    if view.be32(at + 4)? & 0x7fff_ffff != 34 {
        return Err("a first block other than STREAMINFO");
    }
    if view.len() < at + 42 {
        return Err(CUT);
    }
    let bits = view.be64(at + 18)?;
    match (bits >> 44, bits & 0xf_ffff_ffff) {
        (0, _) => Err("a rate of nothing"),
        (_, 0) => Ok(Facts::of("audio/flac")),
        (rate, samples) => Ok(Facts::sound("audio/flac", samples, rate)),
    }
}

/// Every page (RFC 3533): streams one after another are as long as their sum, and so are those side by side.
pub(super) fn ogg(view: &View<'_>) -> Result<Facts, Flaw> {
    let first = 27 + u64::from(view.byte(26)?);
    let codec = codec(view, first)?;
    let (mut at, mut before, mut last) = (0_u64, 0_u64, 0_u64);
    while at < view.len() {
        if !view.has(at, b"OggS") {
            return Err("bytes between two pages");
        }
        let [flags, granule @ ..] = view.array::<9>(at + 5)?;
        if flags & 2 != 0 {
            before = before.saturating_add(last);
            last = 0;
        }
        // -1: no packet ends here.
        if let Ok(granule) = u64::try_from(i64::from_le_bytes(granule)) {
            last = last.max(granule);
        }
        let segments = u64::from(view.byte(at + 26)?);
        let mut end = at + 27 + segments;
        for segment in at + 27..at + 27 + segments {
            end += u64::from(view.byte(segment)?);
        }
        at = end;
    }
    let units = before.saturating_add(last);
    Ok(match codec {
        Some((rate, skip)) => Facts::sound("audio/ogg", units.saturating_sub(skip), rate),
        None => Facts::of("video/ogg"),
    })
}

/// Granules of a second, and those before the sound begins, by the first packet; `None` for what is no sound.
fn codec(view: &View<'_>, at: u64) -> Result<Option<(u64, u64)>, Flaw> {
    let (rate, skip) = match &view.array::<5>(at)? {
        b"OpusH" => (48_000, u64::from(view.le16(at + 10)?)),
        b"\x01vorb" => (u64::from(view.le32(at + 12)?), 0),
        b"\x7fFLAC" => (view.be64(at + 27)? >> 44, 0),
        b"Speex" => (u64::from(view.le32(at + 36)?), 0),
        _ => return Ok(None),
    };
    if rate == 0 { Err("a rate of nothing") } else { Ok(Some((rate, skip))) }
}
