//! Files of boxes (ISO/IEC 14496-12): HEIF and AVIF pictures, their sequences, MP4 and QuickTime films and sounds.
//!
//! A still file counts as one picture of its largest item, whatever thumbnails, tiles and further items it holds: the
//! primary one is what models look at. The size is the coded one, before cropping and rotation.
//!
//! Boxes are visited along fixed paths, each at most once per level, so the walk is as long as the file at most.

use std::ops::Range;

use super::Facts;
use super::view::{CUT, Flaw, View};

/// What the boxes of a file say together.
#[derive(Debug, Default)]
struct Found {
    size: [u32; 2],
    /// Samples of the longest track of pictures.
    samples: u32,
    /// Samples of fragments, of whatever track.
    fragments: u32,
    duration_ms: Option<u64>,
    seen: bool,
    sound: bool,
    pictures: bool,
}

/// The brands, then what fits them.
pub(super) fn media(view: &View<'_>) -> Result<Facts, Flaw> {
    let Some(first) = Boxes::new(view, 0..view.len()).next() else { return Err(CUT) };
    let brand = brand(view, first?.1)?;
    let mut found = Found::default();
    for each in Boxes::new(view, 0..view.len()) {
        match each? {
            // Of a film it holds tags, in QuickTime in another layout.
            (kind, inner) if kind == *b"meta" && matches!(brand, Brand::Picture(_)) => found.meta(view, inner)?,
            (kind, inner) if kind == *b"moov" => found.movie(view, inner)?,
            (kind, inner) if kind == *b"moof" => found.fragment(view, inner)?,
            _ => {}
        }
    }
    let frames = found.samples.saturating_add(found.fragments).max(1);
    match brand {
        Brand::Film(kind) if found.pictures || !found.sound => {
            // A film without a `moov` has no header at all.
            if !found.seen {
                return Err("a film without a header");
            }
            Ok(Facts { kind, size: found.size, frames, duration_ms: found.duration_ms })
        }
        Brand::Film(_) => Ok(Facts { duration_ms: found.duration_ms, ..Facts::of("audio/mp4") }),
        Brand::Picture(kind) => {
            Facts::pictures(kind, found.size, frames).map(|facts| Facts { duration_ms: found.duration_ms, ..facts })
        }
    }
}

/// What the brands promise.
#[derive(Clone, Copy, Debug)]
enum Brand {
    Film(&'static str),
    Picture(&'static str),
}

/// The major brand, a version, compatible brands: the most particular wins, in whatever place.
fn brand(view: &View<'_>, inner: Range<u64>) -> Result<Brand, Flaw> {
    let major = view.array::<4>(inner.start)?;
    let (mut coded, mut picture) = (None, false);
    for at in (inner.start..inner.end).step_by(4) {
        match &view.array::<4>(at)? {
            b"avif" | b"avis" => return Ok(Brand::Picture("image/avif")),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => coded = Some("image/heic"),
            b"mif1" | b"msf1" => picture = true,
            _ => {}
        }
    }
    Ok(match coded {
        Some(kind) => Brand::Picture(kind),
        None if picture => Brand::Picture("image/heif"),
        None if major == *b"qt  " => Brand::Film("video/quicktime"),
        None => Brand::Film("video/mp4"),
    })
}

impl Found {
    /// `meta/iprp/ipco/ispe`: the spatial extents of every item, of which a tile is never larger than its grid.
    fn meta(&mut self, view: &View<'_>, inner: Range<u64>) -> Result<(), Flaw> {
        for properties in within(view, full(inner), b"iprp") {
            for container in within(view, properties?, b"ipco") {
                for extents in within(view, container?, b"ispe") {
                    let at = extents?.start;
                    self.grow([view.be32(at + 4)?, view.be32(at + 8)?])?;
                }
            }
        }
        Ok(())
    }

    fn movie(&mut self, view: &View<'_>, inner: Range<u64>) -> Result<(), Flaw> {
        if self.seen {
            return Err("two film headers");
        }
        self.seen = true;
        for each in Boxes::new(view, inner) {
            match each? {
                (kind, inner) if kind == *b"mvhd" => {
                    let (scale, units) = match view.byte(inner.start)? {
                        0 => (view.be32(inner.start + 12)?, u64::from(view.be32(inner.start + 16)?)),
                        _ => (view.be32(inner.start + 20)?, view.be64(inner.start + 24)?),
                    };
                    // Nothing, or all ones: not known yet when it was written.
                    if !matches!(units, 0 | 0xffff_ffff | u64::MAX) {
                        self.duration_ms = Facts::sound("", units, u64::from(scale)).duration_ms;
                    }
                }
                (kind, inner) if kind == *b"trak" => self.track(view, inner)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn track(&mut self, view: &View<'_>, inner: Range<u64>) -> Result<(), Flaw> {
        let mut pictures = false;
        for media in within(view, inner.clone(), b"mdia") {
            for handler in within(view, media?, b"hdlr") {
                match &view.array::<4>(handler?.start + 8)? {
                    b"soun" => self.sound = true,
                    b"vide" | b"pict" | b"auxv" => pictures = true,
                    _ => {}
                }
            }
        }
        if !pictures {
            return Ok(());
        }
        self.pictures = true;
        for header in within(view, inner.clone(), b"tkhd") {
            let at = header?.start;
            let sides = at + if view.byte(at)? == 0 { 76 } else { 88 };
            // 16 bits before the point; 0 where the track leaves it to its samples.
            self.size[0] = self.size[0].max(view.be32(sides)?.div_ceil(1 << 16));
            self.size[1] = self.size[1].max(view.be32(sides + 4)?.div_ceil(1 << 16));
        }
        for media in within(view, inner, b"mdia") {
            for information in within(view, media?, b"minf") {
                for table in within(view, information?, b"stbl") {
                    self.samples(view, table?)?;
                }
            }
        }
        Ok(())
    }

    /// How many samples a track has, and the size that they are coded in.
    fn samples(&mut self, view: &View<'_>, table: Range<u64>) -> Result<(), Flaw> {
        for each in Boxes::new(view, table) {
            match each? {
                (kind, inner) if kind == *b"stsz" || kind == *b"stz2" => {
                    self.samples = self.samples.max(view.be32(inner.start + 8)?);
                }
                (kind, inner) if kind == *b"stsd" => {
                    for entry in Boxes::new(view, inner.start.saturating_add(8)..inner.end) {
                        let at = entry?.1.start;
                        self.grow([view.be16(at + 24)?, view.be16(at + 26)?].map(u32::from))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `moof/traf/trun`: samples that no table of the film header lists.
    fn fragment(&mut self, view: &View<'_>, inner: Range<u64>) -> Result<(), Flaw> {
        for track in within(view, inner, b"traf") {
            for run in within(view, track?, b"trun") {
                self.fragments = self.fragments.saturating_add(view.be32(run?.start + 4)?);
            }
        }
        Ok(())
    }

    fn grow(&mut self, [width, height]: [u32; 2]) -> Result<(), Flaw> {
        if width == 0 || height == 0 {
            return Err("a picture without pixels");
        }
        self.size = [self.size[0].max(width), self.size[1].max(height)];
        Ok(())
    }
}

/// What follows the version and flags of a full box.
const fn full(inner: Range<u64>) -> Range<u64> {
    inner.start.saturating_add(4)..inner.end
}

/// The insides of the boxes of one kind.
fn within<'a>(
    view: &'a View<'a>,
    range: Range<u64>,
    wanted: &'static [u8; 4],
) -> impl Iterator<Item = Result<Range<u64>, Flaw>> {
    Boxes::new(view, range).filter_map(move |each| match each {
        Ok((kind, inner)) => (kind == *wanted).then_some(Ok(inner)),
        Err(flaw) => Some(Err(flaw)),
    })
}

/// Boxes side by side: each one's kind, and the place of what is in it.
struct Boxes<'a> {
    view: &'a View<'a>,
    rest: Range<u64>,
}

impl<'a> Boxes<'a> {
    const fn new(view: &'a View<'a>, rest: Range<u64>) -> Self {
        Self { view, rest }
    }

    fn read(&self) -> Result<([u8; 4], Range<u64>), Flaw> {
        let at = self.rest.start;
        let kind = self.view.array(at.saturating_add(4))?;
        let (header, length) = match self.view.be32(at)? {
            // To the end of what holds it.
            0 => (8, self.rest.end - at),
            1 => (16, self.view.be64(at.saturating_add(8))?),
            length => (8, u64::from(length)),
        };
        if length < header {
            return Err("a box shorter than its header");
        }
        match at.checked_add(length) {
            Some(end) if end <= self.rest.end => Ok((kind, at + header..end)),
            _ => Err(CUT),
        }
    }
}

impl Iterator for Boxes<'_> {
    type Item = Result<([u8; 4], Range<u64>), Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        // Behind a box that makes no sense there is no next one.
        self.rest.start = read.as_ref().map_or(self.rest.end, |(_, inner)| inner.end);
        Some(read)
    }
}
