//! `application/x-www-form-urlencoded`, and the query string, which is written the same way.
//!
//! As ModSecurity reads it: an empty pair is an argument with an empty name, a name without `=` has an empty value.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

use super::{Bounds, Kind, Outlet, Piece, Report, Sink, Stop, hex};

/// Reads pairs that `separator` keeps apart.
pub fn urlencoded(body: &[u8], separator: u8, bounds: &Bounds, sink: &mut dyn Sink) -> Report {
    let mut report = Report::default();
    let mut outlet = Outlet::new(body, bounds, sink);
    let mut texts = Texts::default();
    let mut start = 0;
    let ends = memchr_iter(separator, body).chain((!body.is_empty()).then_some(body.len()));
    for end in ends {
        // What follows the last separator is a pair only if there is something.
        if start == body.len() {
            break;
        }
        if let Err(stop) = pair(body, start..end, &mut texts, &mut outlet) {
            report.error = stop.error();
            break;
        }
        start = end + 1;
    }
    report.bad_escape = texts.bad_escape;
    report
}

/// Buffers that are reused from pair to pair.
#[derive(Default)]
struct Texts {
    name: Vec<u8>,
    value: Vec<u8>,
    bad_escape: bool,
}

fn pair(body: &[u8], at: Range<usize>, texts: &mut Texts, outlet: &mut Outlet<'_>) -> Result<(), Stop> {
    let text = body.get(at.clone()).unwrap_or_default();
    let (name, value) = match memchr(b'=', text) {
        Some(equals) => (at.start..at.start + equals, at.start + equals + 1..at.end),
        None => (at.clone(), at.end..at.end),
    };
    let Texts { name: name_text, value: value_text, bad_escape } = texts;
    let name = match decode(body, name, name_text, bad_escape) {
        Piece::Decoded(text) => text,
        Piece::Span(span) => body.get(span).unwrap_or_default(),
    };
    outlet.argument(name, decode(body, value, value_text, bad_escape), Kind::Text)
}

fn decode<'t>(body: &[u8], at: Range<usize>, text: &'t mut Vec<u8>, bad_escape: &mut bool) -> Piece<'t> {
    let mut rest = body.get(at.clone()).unwrap_or_default();
    if memchr2(b'%', b'+', rest).is_none() {
        return Piece::Span(at);
    }
    text.clear();
    while let Some(special) = memchr2(b'%', b'+', rest) {
        let (plain, tail) = rest.split_at_checked(special).unwrap_or((rest, &[]));
        text.extend_from_slice(plain);
        rest = match tail {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                tail
            }
            [b'+', tail @ ..] => {
                text.push(b' ');
                tail
            }
            [percent, tail @ ..] => {
                *bad_escape = true;
                text.push(*percent);
                tail
            }
            [] => &[],
        };
    }
    text.extend_from_slice(rest);
    Piece::Decoded(text)
}
