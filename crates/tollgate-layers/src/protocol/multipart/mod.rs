//! `multipart/form-data` (RFC 7578 over RFC 2046), for uploads to models: which parts there are, and where each stands.
//!
//! Strict, because gateways are passed by bodies that two readers cut differently: no preamble, no epilogue, lines end
//! in CRLF alone, headers are not folded, names have one spelling, and a boundary stands nowhere but where it cuts.
//! Nothing is decoded or copied; what is in a part is the caller's to read.

mod fuzz;
mod header;

use std::ops::Range;

use memchr::memmem;

pub use self::fuzz::fuzz_multipart;
use self::header::Headers;
use super::Wrong;

/// Bounds on a body of parts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most parts.
    pub parts: usize,
    /// The most bytes of the headers of one part.
    pub header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parts: 64, header_bytes: 1024 }
    }
}

/// A field or a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part<'a> {
    /// Its field's name.
    pub name: &'a str,
    /// The name of the file, if it is one.
    pub filename: Option<&'a str>,
    /// What its `Content-Type` says.
    pub content_type: Option<&'a str>,
    /// Where its content stands in the body.
    pub at: Range<usize>,
}

/// The boundary that a `Content-Type` of `multipart/form-data` names (RFC 2046 §5.1.1).
///
/// # Errors
/// Another type, no boundary, two of them, another parameter than `charset`, or one that is not allowed.
pub fn boundary(content_type: &str) -> Result<&str, Wrong> {
    let (name, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !name.trim_matches([' ', '\t']).eq_ignore_ascii_case("multipart/form-data") {
        return Err(Wrong::here("`multipart/form-data`", "another type"));
    }
    let (mut found, mut rest) = (None, parameters);
    while !rest.trim_matches([' ', '\t']).is_empty() {
        let (name, value, after) = header::parameter(rest).ok_or_else(|| Wrong::here(BOUNDARY, "no parameter"))?;
        match name {
            name if name.eq_ignore_ascii_case("boundary") => match found.replace(value) {
                None => {}
                Some(_) => return Err(Wrong::here("one boundary", "two")),
            },
            name if name.eq_ignore_ascii_case("charset") => {}
            // `boundary*` and `boundary*0` of RFC 2231: some readers join them.
            _ => return Err(Wrong::here(BOUNDARY, "another parameter")),
        }
        rest = after;
    }
    let boundary = found.ok_or_else(|| Wrong::here(BOUNDARY, "none"))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    if boundary.is_empty() || boundary.len() > 70 || boundary.ends_with(' ') || !boundary.bytes().all(allowed) {
        return Err(Wrong::here(BOUNDARY, "one that is not allowed"));
    }
    Ok(boundary)
}

const BOUNDARY: &str = "a boundary of 1 to 70 of the characters of RFC 2046";

/// The parts of `body`, in order. `boundary` is what [`boundary`] gave.
///
/// # Errors
/// A body that two readers may cut differently, more or larger than `limits`, or with headers that are refused.
pub fn parts<'a>(body: &'a [u8], boundary: &str, limits: Limits) -> Result<Vec<Part<'a>>, Wrong> {
    let mut cuts = Cuts::new(body, boundary);
    let mut parts = Vec::new();
    let Some(first) = cuts.next()? else { return Err(Wrong::here("a boundary", "none")) };
    if first.start != 0 || !body.starts_with(b"--") {
        return Err(Wrong::here("a boundary at the beginning", "bytes before it"));
    }
    let mut open = first.end;
    loop {
        let (line, from) = after(body, open)?;
        match line {
            Line::Last if parts.is_empty() => return Err(Wrong::here("at least one part", "none")),
            Line::Last if from == body.len() => return Ok(parts),
            Line::Last => return Err(Wrong::here("the end behind the last boundary", "more bytes")),
            Line::Next if parts.len() == limits.parts => {
                return Err(Wrong::here(format!("at most {} parts", limits.parts), "more"));
            }
            Line::Next => {}
        }
        let Some(cut) = cuts.next()? else { return Err(Wrong::here("a last boundary", "the end of the body")) };
        let part = part(body, from..cut.start, limits).map_err(|wrong| wrong.under(parts.len()))?;
        // Of two fields one server takes the first, another the last. Lists end in `[]`, files may come in numbers.
        let twice = |other: &Part<'_>| other.name == part.name && (other.filename.is_none() || part.filename.is_none());
        if !part.name.ends_with("[]") && parts.iter().any(twice) {
            return Err(Wrong::here("one field of a name", "two").under(parts.len()));
        }
        parts.push(part);
        open = cut.end;
    }
}

/// Headers, an empty line, the content.
fn part(body: &[u8], at: Range<usize>, limits: Limits) -> Result<Part<'_>, Wrong> {
    let within = body.get(at.clone()).unwrap_or_default();
    let window = within.get(..limits.header_bytes.saturating_add(4)).unwrap_or(within);
    let Some(length) = memmem::find(window, b"\r\n\r\n") else {
        let expected = format!("headers of at most {} bytes and an empty line", limits.header_bytes);
        return Err(Wrong::here(expected, "neither"));
    };
    let headers = Headers::read(within.get(..length).unwrap_or_default())?;
    let Some(name) = headers.name else { return Err(Wrong::here("a `Content-Disposition`", "none")) };
    Ok(Part {
        name,
        filename: headers.filename,
        content_type: headers.content_type,
        at: at.start.saturating_add(length).saturating_add(4)..at.end,
    })
}

/// What follows a boundary.
enum Line {
    Last,
    Next,
}

/// The rest of a boundary's line. Padding, which RFC 2046 allows and nobody sends, is another way to disagree.
fn after(body: &[u8], at: usize) -> Result<(Line, usize), Wrong> {
    match body.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok((Line::Next, at.saturating_add(2))),
        [b'-', b'-', b'\r', b'\n', ..] => Ok((Line::Last, at.saturating_add(4))),
        [b'-', b'-', ..] => Ok((Line::Last, at.saturating_add(2))),
        _ => Err(Wrong::here("a line end behind a boundary", "more of the line")),
    }
}

/// The places where a boundary cuts the body, line end before it included.
struct Cuts<'a> {
    body: &'a [u8],
    finder: memmem::Finder<'static>,
    from: usize,
}

impl<'a> Cuts<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Self {
        Self { body, finder: memmem::Finder::new(&format!("--{boundary}")).into_owned(), from: 0 }
    }

    fn next(&mut self) -> Result<Option<Range<usize>>, Wrong> {
        loop {
            let rest = self.body.get(self.from..).unwrap_or_default();
            let Some(found) = self.finder.find(rest) else { return Ok(None) };
            let start = self.from.saturating_add(found);
            let end = start.saturating_add(self.finder.needle().len());
            self.from = end;
            match self.body.get(..start).unwrap_or_default() {
                [] => return Ok(Some(0..end)),
                [.., b'\r', b'\n'] => return Ok(Some(start.saturating_sub(2)..end)),
                // A line to readers that take half a line end for one.
                [.., b'\r' | b'\n'] => return Err(Wrong::here("CRLF before a boundary", "half of it")),
                // In the middle of a line it is content to all.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
