//! TIFF and BigTIFF of either byte order: the chain of pages, no page of which is looked into further.

use super::Facts;
use super::view::{Flaw, View};

/// The most pages.
const MAX_PAGES: u32 = 4096;

/// How numbers of a file are written.
#[derive(Clone, Copy)]
struct Layout {
    big_endian: bool,
    /// BigTIFF: offsets and counts of 8 bytes.
    wide: bool,
}

/// Pages, and the largest width and height among them.
pub(super) fn tiff(view: &View<'_>) -> Result<Facts, Flaw> {
    let big_endian = view.has(0, b"MM");
    let layout = Layout { big_endian, wide: view.byte(if big_endian { 3 } else { 2 })? == b'+' };
    if layout.wide && (layout.u16(view, 4)?, layout.u16(view, 6)?) != (8, 0) {
        return Err("offsets of another size");
    }
    let mut page = layout.offset(view, if layout.wide { 8 } else { 4 })?;
    // Pages that lie over each other would make the walk longer than the file.
    let mut entries = view.len() / layout.entry();
    let (mut size, mut pages) = ([0, 0], 0_u32);
    while page != 0 {
        if pages == MAX_PAGES {
            return Err("more than 4096 pages");
        }
        let (count, first) = if layout.wide {
            (layout.u64(view, page)?, page.saturating_add(8))
        } else {
            (u64::from(layout.u16(view, page)?), page.saturating_add(2))
        };
        entries = entries.checked_sub(count).ok_or("more entries than fit")?;
        let [width, height] = layout.page(view, first, count)?;
        size = [width.max(size[0]), height.max(size[1])];
        pages += 1;
        page = layout.offset(view, first.saturating_add(count * layout.entry()))?;
    }
    Facts::pictures("image/tiff", size, pages)
}

impl Layout {
    const fn entry(self) -> u64 {
        if self.wide { 20 } else { 12 }
    }

    fn page(self, view: &View<'_>, first: u64, count: u64) -> Result<[u32; 2], Flaw> {
        let mut sides = [None, None];
        for index in 0..count {
            let entry = first.saturating_add(index * self.entry());
            let side = match self.u16(view, entry)? {
                256 => &mut sides[0],
                257 => &mut sides[1],
                _ => continue,
            };
            // Of two, one decoder takes the first and another the last.
            if side.is_some() {
                return Err("a side that is given twice");
            }
            *side = Some(self.side(view, entry)?);
        }
        match sides {
            [Some(0), _] | [_, Some(0)] => Err("a picture without pixels"),
            [Some(width), Some(height)] => Ok([width, height]),
            _ => Err("a page without a width and a height"),
        }
    }

    /// The one number of an entry, which stands in the entry itself.
    fn side(self, view: &View<'_>, entry: u64) -> Result<u32, Flaw> {
        let (count, at) = if self.wide {
            (self.u64(view, entry.saturating_add(4))?, entry.saturating_add(12))
        } else {
            (u64::from(self.u32(view, entry.saturating_add(4))?), entry.saturating_add(8))
        };
        if count != 1 {
            return Err("a side that is no number");
        }
        match self.u16(view, entry.saturating_add(2))? {
            3 => self.u16(view, at).map(u32::from),
            4 => self.u32(view, at),
            16 if self.wide => u32::try_from(self.u64(view, at)?).map_err(|_| "a side of more than 2^32 - 1 pixels"),
            _ => Err("a side that is no number"),
        }
    }

    fn offset(self, view: &View<'_>, at: u64) -> Result<u64, Flaw> {
        if self.wide { self.u64(view, at) } else { self.u32(view, at).map(u64::from) }
    }

    fn u16(self, view: &View<'_>, at: u64) -> Result<u16, Flaw> {
        if self.big_endian { view.be16(at) } else { view.le16(at) }
    }

    fn u32(self, view: &View<'_>, at: u64) -> Result<u32, Flaw> {
        if self.big_endian { view.be32(at) } else { view.le32(at) }
    }

    fn u64(self, view: &View<'_>, at: u64) -> Result<u64, Flaw> {
        if self.big_endian { view.be64(at) } else { view.le64(at) }
    }
}
