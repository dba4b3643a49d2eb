//! What stands in an array of numbers: its elements one by one, or all of them summed up.
//!
//! Both walk brackets, commas and white space; neither checks that what lies between them is a number.

use std::io::Write;

use crate::charset::ByteSet;

/// Walks a (nested) array, without any other memory than the path to the element at hand: one index per level, and the
/// levels are as many as the reader was allowed to enter.
#[must_use]
pub fn elements(array: &[u8]) -> Elements<'_> {
    Elements { rest: array, path: Vec::new() }
}

/// See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    path: Vec<usize>,
}

impl Elements<'_> {
    /// Where the last element stood: its index in each array from the outermost inwards.
    #[must_use]
    pub fn path(&self) -> &[usize] {
        &self.path
    }

    /// Appends the name of the last element, under the name of the array: `prefix.array_0.array_1`.
    pub fn write_name(&self, prefix: &[u8], name: &mut Vec<u8>) {
        name.extend_from_slice(prefix);
        for index in &self.path {
            push_index(name, *index);
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (&first, tail) = self.rest.split_first()?;
            match first {
                b'[' => self.path.push(0),
                b']' => drop(self.path.pop()),
                b',' => {
                    if let Some(index) = self.path.last_mut() {
                        *index += 1;
                    }
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => {
                    let length = self.rest.iter().position(|&byte| !is_inside(byte)).unwrap_or(self.rest.len());
                    let (element, tail) = self.rest.split_at_checked(length)?;
                    self.rest = tail;
                    return Some(element);
                }
            }
            self.rest = tail;
        }
    }
}

/// Appends the part of a name that stands for an index.
pub(super) fn push_index(name: &mut Vec<u8>, index: usize) {
    write!(name, ".array_{index}").expect("a vector takes all that is written");
}

/// What a rule has to know of an array of numbers to be excused from its elements.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// The bytes that occur in elements.
    pub mask: ByteSet,
    /// How many elements there are.
    pub count: usize,
    /// Bytes of the longest.
    pub longest: usize,
    /// Bytes of all together.
    pub bytes: usize,
    /// How deep brackets nest.
    pub depth: usize,
    /// No index in any name is larger (the exact largest one if the array is flat).
    pub widest: usize,
}

/// Sums up a (nested) array of numbers in one pass.
#[must_use]
pub fn summary(array: &[u8]) -> Summary {
    let mut found = Summary::default();
    let mut seen = [false; 256];
    let mut length = 0_usize;
    let mut commas = 0_usize;
    let mut depth = 0_usize;
    for &byte in array {
        seen[usize::from(byte)] = true;
        if is_inside(byte) {
            length += 1;
            continue;
        }
        found.count += usize::from(length > 0);
        found.bytes += length;
        found.longest = found.longest.max(length);
        length = 0;
        match byte {
            b'[' => {
                depth += 1;
                found.depth = found.depth.max(depth);
            }
            b']' => depth = depth.saturating_sub(1),
            b',' => commas += 1,
            _ => {}
        }
    }
    found.count += usize::from(length > 0);
    found.bytes += length;
    found.longest = found.longest.max(length);
    found.widest = commas;
    for (byte, seen) in (0..=u8::MAX).zip(seen) {
        if seen && is_inside(byte) {
            found.mask.insert(byte);
        }
    }
    found
}

/// Whether a byte belongs to an element, and not to what keeps elements apart.
const fn is_inside(byte: u8) -> bool {
    !matches!(byte, b'[' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r')
}
