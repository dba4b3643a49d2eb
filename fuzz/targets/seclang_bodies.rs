//! Any bytes through every reader of bodies: nothing outside the body, nothing beyond the bounds.

use std::ops::{ControlFlow, Range};

use seclang::bodies::{self, Bounds, Kind, Part, Piece, Sink};

const BOUNDS: Bounds = Bounds { arguments: 50, depth: 8, parts: 6, part_headers: 4 };

/// The first byte picks the reader; for multipart, the first line is the content type.
pub(crate) fn run(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let mut found = Found { length: body.len(), arguments: 0, parts: 0, written: 0 };
    match which % 5 {
        0 => _ = bodies::urlencoded(body, b'&', &BOUNDS, &mut found),
        1 => _ = bodies::json(body, &[], &BOUNDS, &mut found),
        2 => {
            let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
            let (kind, body) = body.split_at(end);
            found.length = body.len();
            _ = bodies::multipart(kind, body, &BOUNDS, &mut found);
        }
        3 => _ = bodies::xml(body, &BOUNDS, &mut found),
        _ => bodies::cookies(body, &mut |name, value| {
            assert!(name.end <= value.start && value.end <= body.len(), "a cookie's name stands before its value");
        }),
    }
    assert!(found.arguments <= BOUNDS.arguments, "{} arguments", found.arguments);
    assert!(found.parts <= BOUNDS.parts, "{} parts", found.parts);
    // Names repeat what stands above them.
    assert!(found.written <= (body.len() + 64) * (BOUNDS.depth + 2) * 8, "{} bytes of {}", found.written, body.len());
}

struct Found {
    length: usize,
    arguments: usize,
    parts: usize,
    written: usize,
}

impl Found {
    fn inside(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {}", self.length);
    }
}

impl Sink for Found {
    fn argument(&mut self, name: &[u8], value: Piece<'_>, _kind: Kind) -> ControlFlow<()> {
        self.arguments += 1;
        self.written += name.len();
        match value {
            Piece::Decoded(text) => self.written += text.len(),
            Piece::Span(range) => self.inside(&range),
        }
        ControlFlow::Continue(())
    }

    fn numbers(&mut self, _prefix: &[u8], array: Range<usize>) -> ControlFlow<()> {
        self.arguments += 1;
        self.inside(&array);
        ControlFlow::Continue(())
    }

    fn part(&mut self, part: Part<'_>) -> ControlFlow<()> {
        self.parts += 1;
        self.inside(&part.content);
        assert!(part.headers.len() <= BOUNDS.part_headers, "{} headers", part.headers.len());
        ControlFlow::Continue(())
    }

    fn xml_text(&mut self, text: &[u8]) -> ControlFlow<()> {
        self.written += text.len();
        ControlFlow::Continue(())
    }

    fn xml_attribute(&mut self, value: &[u8]) -> ControlFlow<()> {
        self.written += value.len();
        ControlFlow::Continue(())
    }
}
