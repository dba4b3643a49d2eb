//! What a medium is by its first bytes, and whether that is what was declared.

use super::view::{Flaw, View};
use super::{Facts, boxes, matroska, mpeg, raster, sound, tiff, webp};

/// The kind of what has no header that we know, and was not declared to be an image or a sound.
pub const UNKNOWN: &str = "application/octet-stream";

/// Each kind that we tell, with the other names it goes by.
const NAMES: [(&str, &[&str]); 20] = [
    ("application/pdf", &["application/x-pdf"]),
    ("audio/flac", &["audio/x-flac"]),
    ("audio/mp4", &["audio/m4a", "audio/x-m4a", "audio/mp4a-latm", "audio/aac", "video/mp4"]),
    ("audio/mpeg", &["audio/mp3", "audio/mpeg3", "audio/mpga", "audio/x-mp3", "audio/x-mpeg"]),
    ("audio/ogg", &["application/ogg", "audio/opus", "audio/vorbis", "video/ogg"]),
    ("audio/wav", &["audio/vnd.wave", "audio/wave", "audio/x-pn-wav", "audio/x-wav"]),
    ("image/avif", &["image/avif-sequence", "image/heif"]),
    ("image/bmp", &["image/x-bmp", "image/x-ms-bmp"]),
    ("image/gif", &[]),
    ("image/heic", &["image/heic-sequence", "image/heif", "image/heif-sequence"]),
    ("image/heif", &["image/heif-sequence"]),
    ("image/jpeg", &["image/jpg", "image/pjpeg"]),
    ("image/png", &["image/apng", "image/vnd.mozilla.apng", "image/x-png"]),
    ("image/tiff", &["image/x-tiff"]),
    ("image/webp", &[]),
    ("video/mp4", &["application/mp4", "video/x-m4v"]),
    ("video/ogg", &["application/ogg"]),
    ("video/quicktime", &["video/mp4"]),
    ("video/webm", &["audio/webm"]),
    ("video/x-matroska", &["audio/x-matroska", "video/matroska"]),
];

/// The kind that goes by a name: its own before another's.
pub(super) fn canonical(name: &str) -> Option<&'static str> {
    let own = NAMES.iter().find(|(kind, _)| kind.eq_ignore_ascii_case(name));
    let found = own.or_else(|| NAMES.iter().find(|entry| goes_by(entry, name)));
    found.map(|(kind, _)| *kind).or_else(|| name.eq_ignore_ascii_case(UNKNOWN).then_some(UNKNOWN))
}

/// What was said of a medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claim<'a> {
    /// That it is bytes.
    Bytes,
    /// That it is of this type.
    Named(&'a str),
    /// Nothing.
    Silent,
    /// That it is a text.
    Text,
}

impl<'a> Claim<'a> {
    /// Of a media type, whose parameters say nothing here.
    pub(super) fn of(declared: Option<&'a str>) -> Self {
        let Some(declared) = declared else { return Self::Silent };
        let name = declared.split_once(';').map_or(declared, |(name, _)| name).trim_matches([' ', '\t']);
        match name {
            "" => Self::Silent,
            _ if name.eq_ignore_ascii_case(UNKNOWN) || name.eq_ignore_ascii_case("binary/octet-stream") => Self::Bytes,
            _ if begins(name, "text/") => Self::Text,
            _ => Self::Named(name),
        }
    }

    /// Whether `kind` may be what was meant.
    pub(super) fn takes(self, kind: &str) -> bool {
        match self {
            Self::Bytes | Self::Silent => true,
            Self::Named(name) => NAMES.iter().filter(|(known, _)| *known == kind).any(|entry| goes_by(entry, name)),
            Self::Text => false,
        }
    }

    /// Whether what we do not know may be what was meant: not where we would know it.
    pub(super) fn takes_unknown(self) -> bool {
        match self {
            Self::Bytes | Self::Text => true,
            Self::Named(name) => {
                !begins(name, "image/") && !begins(name, "audio/") && !NAMES.iter().any(|entry| goes_by(entry, name))
            }
            Self::Silent => false,
        }
    }
}

/// What its header tells; `None` where no header that we know begins.
pub(super) fn facts(view: &View<'_>) -> Result<Option<Facts>, Flaw> {
    let Ok(head) = view.array::<12>(0) else { return short(view) };
    match &head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => raster::png(view),
        [0xff, 0xd8, 0xff, ..] => raster::jpeg(view),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => raster::gif(view),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp::webp(view),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => sound::wav(view),
        [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E'] => sound::wav(view),
        [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E'] => sound::wav(view),
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => tiff::tiff(view),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => boxes::media(view),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska::kind(view),
        [b'f', b'L', b'a', b'C', ..] => sound::flac(view, 0),
        [b'O', b'g', b'g', b'S', ..] => sound::ogg(view),
        [b'I', b'D', b'3', 2..=4, _, ..] => mpeg::tagged(view),
        [b'%', b'P', b'D', b'F', b'-', ..] => Ok(Facts::of("application/pdf")),
        // Two letters begin many a text; a reserved field and a known size do not.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] if raster::is_bmp(view) => raster::bmp(view),
        [0xff, 0xe0..=0xff, ..] if mpeg::begins(view) => mpeg::frames(view, 0),
        _ => return Ok(None),
    }
    .map(Some)
}

/// What ends before any header could: the first bytes of one are a file that is cut off, not another thing.
fn short(view: &View<'_>) -> Result<Option<Facts>, Flaw> {
    let begins =
        view.has(0, b"\x89PNG") || view.has(0, b"\xff\xd8\xff") || view.has(0, b"GIF8") || view.has(0, b"RIFF");
    if begins { Err(super::view::CUT) } else { Ok(None) }
}

fn goes_by((kind, others): &(&str, &[&str]), name: &str) -> bool {
    kind.eq_ignore_ascii_case(name) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
}

fn begins(name: &str, with: &str) -> bool {
    name.split_at_checked(with.len()).is_some_and(|(head, _)| head.eq_ignore_ascii_case(with))
}
