//! Images and sounds inside bodies, as their headers describe them. Nothing is decoded further, nothing is fetched,
//! nothing is allocated: base64 is checked as a whole and decoded only where a header stands.
//!
//! A header that contradicts itself is refused, because the model's decoder may believe its other half. What no header
//! tells is not guessed: bits of entropy-coded data are not looked at, and a duration may be missing.

mod boxes;
mod fuzz;
mod kind;
mod matroska;
mod mpeg;
mod raster;
mod sound;
mod tiff;
mod view;
mod webp;

use std::ops::Range;

use tollgate_core::call::Media;

pub use self::fuzz::fuzz_media;
pub use self::kind::UNKNOWN;
use self::view::View;
use super::Wrong;

/// How a medium comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inline {
    /// A server would fetch it: a URL of another scheme than `data:`, or a path.
    Fetched,
    /// It is here.
    Held(Media),
}

/// Reads a URL or bare base64 that stands at `at` of the body.
///
/// # Errors
/// A `data:` URL without base64, base64 that is none, and what [`of`] refuses.
pub fn inline(text: &str, at: Range<usize>) -> Result<Inline, Wrong> {
    let (declared, base64) = match text.split_at_checked(5) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("data:") => data_url(rest)?,
        _ if fetched(text) => return Ok(Inline::Fetched),
        _ => (None, text),
    };
    let view = View::base64(base64.as_bytes()).ok_or_else(|| Wrong::here("base64", "another text"))?;
    read(view, declared, at).map(Inline::Held)
}

/// Reads the header of a raw body or of a file in a multipart body, that stands at `at`. `declared` is what its
/// `Content-Type` says.
///
/// # Errors
/// It is not what was declared, its header is cut off or contradicts itself, or it is unknown: where nothing was
/// declared, or an image or a sound. Other unknown things are `application/octet-stream`.
pub fn of(bytes: &[u8], declared: Option<&str>, at: Range<usize>) -> Result<Media, Wrong> {
    read(View::Raw(bytes), declared, at)
}

/// The name by which a kind of file is told here, of any that it goes by.
#[must_use]
pub fn canonical(name: &str) -> Option<&'static str> {
    kind::canonical(name)
}

/// What a header tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Facts {
    kind: &'static str,
    size: [u32; 2],
    frames: u32,
    duration_ms: Option<u64>,
}

impl Facts {
    /// Nothing but what it is.
    const fn of(kind: &'static str) -> Self {
        Self { kind, size: [0, 0], frames: 1, duration_ms: None }
    }

    /// Pictures; none of them may be without pixels.
    fn pictures(kind: &'static str, size: [u32; 2], frames: u32) -> Result<Self, view::Flaw> {
        match (size, frames) {
            ([0, _] | [_, 0], _) => Err("a picture without pixels"),
            (_, 0) => Err("no picture"),
            _ => Ok(Self { kind, size, frames, duration_ms: None }),
        }
    }

    /// `units` of sound, `rate` of them in a second.
    fn sound(kind: &'static str, units: u64, rate: u64) -> Self {
        let ms = (u128::from(units) * 1000).div_ceil(u128::from(rate.max(1)));
        let duration_ms = (rate > 0).then(|| u64::try_from(ms).unwrap_or(u64::MAX));
        Self { duration_ms, ..Self::of(kind) }
    }
}

fn read(view: View<'_>, declared: Option<&str>, at: Range<usize>) -> Result<Media, Wrong> {
    let claim = kind::Claim::of(declared);
    let facts = match kind::facts(&view) {
        Ok(facts) => facts,
        // A text may begin like anything.
        Err(_) if claim == kind::Claim::Text => None,
        Err(flaw) => return Err(Wrong::here("a whole file whose header holds together", flaw)),
    };
    let Facts { kind, size, frames, duration_ms } = match facts {
        Some(facts) if claim.takes(facts.kind) => facts,
        Some(facts) => return Err(Wrong::here("what its declared type says", format!("`{}`", facts.kind))),
        None if claim.takes_unknown() => Facts::of(UNKNOWN),
        None => return Err(Wrong::here("an image or a sound of a known kind", "bytes of no known kind")),
    };
    Ok(Media { kind, size, frames, duration_ms, bytes: view.len(), at })
}

/// The declared type and the base64 of what follows `data:` (RFC 2397).
fn data_url(rest: &str) -> Result<(Option<&str>, &str), Wrong> {
    let wrong = || Wrong::here("`data:` with base64", "another URL");
    let (head, data) = rest.split_once(',').ok_or_else(wrong)?;
    let (declared, last) = head.rsplit_once(';').ok_or_else(wrong)?;
    if !last.eq_ignore_ascii_case("base64") {
        return Err(wrong());
    }
    Ok(((!declared.is_empty()).then_some(declared), data))
}

/// Whether a text that is no `data:` URL names a place. No byte that base64 has does that: `/` begins every JPEG.
fn fetched(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b':' | b'.' | b'\\' | b'?' | b'#' | b'%' | b'~' | b'@' | b'&'))
}

#[cfg(test)]
mod tests;
