//! The values of a tensor, read from JSON straight into their type: no tree, no second pass.
//!
//! Nothing is allocated for what a shape claims, only for what stands in the body: at most 8 bytes for an element, 16
//! and its text for a string; and nothing at all where the body is too short for the claim.

use arrayvec::ArrayVec;
use tollgate_core::call::{Dtype, Values};

use super::Wrong;
use super::json::{Kind, Reader};

/// The most dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Dimensions, inline.
pub type Dims = ArrayVec<u64, MAX_RANK>;

/// What is known of a tensor before its values are read.
#[derive(Clone, Copy, Debug)]
pub enum Form<'s> {
    /// As nested, whatever that is; probably so many elements.
    Free(u64),
    /// Flat or nested exactly like this, with the product of it.
    Shaped(&'s [u64], u64),
}

/// Reads the values of a tensor, and the dimensions in which they were nested (one where they were flat).
///
/// # Errors
/// Malformed JSON; a value that is not of the type; ragged nesting; another count than the shape's product.
pub fn read(reader: &mut Reader<'_>, dtype: Dtype, form: Form<'_>) -> Result<(Values, Dims), Wrong> {
    match dtype {
        Dtype::Bf16 | Dtype::Fp16 => Err(Wrong::here("a datatype that JSON can carry", dtype.name())),
        Dtype::Bool => Ok(all(reader, dtype, form).map(|(values, dims)| (Values::Bool(values), dims))?),
        Dtype::Bytes => Ok(all(reader, dtype, form).map(|(values, dims)| (Values::Bytes(values), dims))?),
        Dtype::Fp32 => Ok(all(reader, dtype, form).map(|(values, dims)| (Values::F32(values), dims))?),
        Dtype::Fp64 => Ok(all(reader, dtype, form).map(|(values, dims)| (Values::F64(values), dims))?),
        Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => {
            Ok(all(reader, dtype, form).map(|(values, dims)| (Values::Int(values), dims))?)
        }
        Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => {
            Ok(all(reader, dtype, form).map(|(values, dims)| (Values::Uint(values), dims))?)
        }
    }
}

/// The number of elements that `shape` claims, if their bytes can be counted at all.
#[must_use]
pub fn elements(shape: &[u64], dtype: Dtype) -> Option<u64> {
    let count = shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim))?;
    // An element of `BYTES` is at least its length prefix.
    count.checked_mul(dtype.width().unwrap_or(4))?;
    Some(count)
}

/// The strings of a raw `BYTES` tensor: each behind its length, four bytes, little endian.
#[must_use]
pub const fn strings(raw: &[u8]) -> Strings<'_> {
    Strings { raw }
}

/// See [`strings`].
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    raw: &'a [u8],
}

impl<'a> Strings<'a> {
    /// What has not been read; after the last string, what is no string.
    #[must_use]
    pub const fn left(&self) -> &'a [u8] {
        self.raw
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.raw.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (string, rest) = rest.split_at_checked(length)?;
        self.raw = rest;
        Some(string)
    }
}

fn all<T: Element>(reader: &mut Reader<'_>, dtype: Dtype, form: Form<'_>) -> Result<(Vec<T>, Dims), Wrong> {
    let hint = match form {
        Form::Free(elements) | Form::Shaped(_, elements) => usize::try_from(elements).unwrap_or(usize::MAX),
    };
    if let Form::Shaped(shape, elements) = form {
        let nested = is_nested(reader)?;
        // Each element takes two bytes at least.
        if elements > reader.left() as u64 / 2 {
            return Err(too_few(reader, elements, nested));
        }
        if !nested {
            let mut values = reserved(reader, hint);
            flat(reader, dtype, elements, &mut values)?;
            return Ok((values, [elements].into_iter().collect()));
        }
        let dims = shape.iter().copied().map(Some).collect();
        let mut nest = Nest { values: reserved(reader, hint), dtype, dims, rank: Some(shape.len()) };
        nest.read(reader, 0)?;
        return Ok((nest.values, shape.iter().copied().collect()));
    }
    let mut nest = Nest { values: reserved(reader, hint), dtype, dims: [None; MAX_RANK].into(), rank: None };
    nest.read(reader, 0)?;
    if nest.values.is_empty() {
        return Err(Wrong::here("at least one element", "none"));
    }
    let dims = nest.dims.into_iter().flatten().take(nest.rank.unwrap_or(0)).collect();
    Ok((nest.values, dims))
}

/// A list with room for `hint` elements, as far as the body can hold them. A number with its comma takes four bytes or
/// more, mostly; where not, the list grows as any other.
fn reserved<T: Element>(reader: &Reader<'_>, hint: usize) -> Vec<T> {
    Vec::with_capacity(hint.min(reader.left() / T::SPARSE))
}

/// Why data that cannot hold `want` elements is refused; where it is flat, they are counted.
fn too_few(reader: &mut Reader<'_>, want: u64, nested: bool) -> Wrong {
    let mut count = 0_u64;
    let counted = if nested {
        reader.skip()
    } else {
        reader.enter_array().and_then(|()| {
            while reader.next_item()? {
                reader.skip()?;
                count += 1;
            }
            Ok(())
        })
    };
    match counted {
        Err(malformed) => malformed.into(),
        Ok(()) => miscounted(want, if nested { "fewer elements".to_owned() } else { format!("{count} elements") }),
    }
}

fn miscounted(want: u64, found: String) -> Wrong {
    Wrong::here(format!("{want} elements, the product of the shape"), found)
}

/// Whether the first item of the array that comes next is an array; the reader stays where it is.
fn is_nested(reader: &mut Reader<'_>) -> Result<bool, Wrong> {
    let kind = reader.peek()?;
    if kind != Kind::Array {
        return Err(Wrong::here(Kind::Array.name(), kind.name()));
    }
    Ok(reader.begins_nested())
}

/// Reads a flat list of exactly `want` elements. Surplus ones are counted, not kept.
fn flat<T: Element>(reader: &mut Reader<'_>, dtype: Dtype, want: u64, values: &mut Vec<T>) -> Result<(), Wrong> {
    reader.enter_array()?;
    let mut count = 0_u64;
    while reader.next_item()? {
        if count < want {
            count += some(reader, dtype, want - count, values)?;
        } else {
            reader.skip()?;
            count += 1;
        }
    }
    if count == want {
        return Ok(());
    }
    Err(miscounted(want, format!("{count} elements")))
}

/// Reads the value that comes next, and more behind it, at most `most`, where there is a fast way; how many.
fn some<T: Element>(reader: &mut Reader<'_>, dtype: Dtype, most: u64, values: &mut Vec<T>) -> Result<u64, Wrong> {
    match T::row(reader, most, values) {
        0 => {
            let kind = reader.peek()?;
            leaf(reader, kind, dtype, values)?;
            Ok(1)
        }
        read => Ok(read),
    }
}

fn leaf<T: Element>(reader: &mut Reader<'_>, kind: Kind, dtype: Dtype, values: &mut Vec<T>) -> Result<(), Wrong> {
    let value = T::read(reader, kind, dtype).map_err(|wrong| wrong.element(values.len() as u64))?;
    values.push(value);
    Ok(())
}

/// A nested list while it is read. Dimensions that are not known are set by the first list that ends.
struct Nest<T> {
    values: Vec<T>,
    dtype: Dtype,
    dims: ArrayVec<Option<u64>, MAX_RANK>,
    /// How deep the values stand; set by the first one where it is not known.
    rank: Option<usize>,
}

impl<T: Element> Nest<T> {
    /// Reads what stands at `depth`. It calls itself at most [`MAX_RANK`] times deep.
    fn read(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), Wrong> {
        let kind = reader.peek()?;
        let from = self.values.len() as u64;
        if self.rank.map_or(kind != Kind::Array, |rank| rank == depth) {
            self.rank = Some(depth);
            return leaf(reader, kind, self.dtype, &mut self.values);
        }
        if kind != Kind::Array {
            return Err(Wrong::here("a list, as deep as the others", kind.name()).element(from));
        }
        if depth >= MAX_RANK {
            return Err(Wrong::here(format!("at most {MAX_RANK} dimensions"), "more"));
        }
        let known = self.dims.get(depth).copied().flatten();
        let mut count = 0_u64;
        reader.enter_array()?;
        while reader.next_item()? {
            let most = known.unwrap_or(u64::MAX).saturating_sub(count);
            count += if most == 0 {
                reader.skip()?;
                1
            } else if self.rank == Some(depth + 1) {
                some(reader, self.dtype, most, &mut self.values)?
            } else {
                self.read(reader, depth + 1)?;
                1
            };
        }
        if known.is_some_and(|known| known != count) {
            let known = known.unwrap_or_default();
            let expected = format!("{known} items in each list of dimension {}", depth + 1);
            return Err(Wrong::here(expected, format!("{count} items")).element(from));
        }
        if count == 0 {
            // Nothing stands deeper than what an empty list would hold.
            self.rank.get_or_insert(depth + 1);
        }
        if let Some(dim) = self.dims.get_mut(depth) {
            *dim = Some(count);
        }
        Ok(())
    }
}

/// An element of a tensor.
trait Element: Sized {
    /// Bytes of JSON for which one element is reserved beforehand, so that never more than twice the body is.
    const SPARSE: usize;

    /// Reads the value of that kind that comes next.
    fn read(reader: &mut Reader<'_>, kind: Kind, dtype: Dtype) -> Result<Self, Wrong>;

    /// Reads values that come next, at most `most`, the fast way where there is one; how many. The next one is another's.
    fn row(_reader: &mut Reader<'_>, _most: u64, _values: &mut Vec<Self>) -> u64 {
        0
    }
}

impl Element for bool {
    const SPARSE: usize = 4;

    fn read(reader: &mut Reader<'_>, kind: Kind, _: Dtype) -> Result<Self, Wrong> {
        if kind == Kind::Bool { Ok(reader.boolean()?) } else { Err(misfit(reader, kind, "`true` or `false`")) }
    }
}

impl Element for Box<[u8]> {
    const SPARSE: usize = 8;

    fn read(reader: &mut Reader<'_>, kind: Kind, _: Dtype) -> Result<Self, Wrong> {
        if kind == Kind::String {
            Ok(reader.string()?.as_bytes().into())
        } else {
            Err(misfit(reader, kind, Kind::String.name()))
        }
    }
}

impl Element for f32 {
    const SPARSE: usize = 4;

    fn read(reader: &mut Reader<'_>, kind: Kind, _: Dtype) -> Result<Self, Wrong> {
        if kind != Kind::Number {
            return Err(misfit(reader, kind, "a number"));
        }
        let found = reader.double(|value| single(value).is_finite())?;
        found.map(single).map_err(|text| Wrong::here("a number that is finite as FP32", text))
    }

    fn row(reader: &mut Reader<'_>, most: u64, values: &mut Vec<Self>) -> u64 {
        reader.row(most, |value| {
            let single = single(value);
            if single.is_finite() {
                values.push(single);
            }
            single.is_finite()
        })
    }
}

/// Rounds as every server does that reads doubles first.
#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite, and is refused")]
const fn single(value: f64) -> f32 {
    value as f32
}

impl Element for f64 {
    const SPARSE: usize = 4;

    fn read(reader: &mut Reader<'_>, kind: Kind, _: Dtype) -> Result<Self, Wrong> {
        if kind != Kind::Number {
            return Err(misfit(reader, kind, "a number"));
        }
        // Every number of JSON that is read is finite.
        let found = reader.double(|_| true)?;
        found.map_err(|text| Wrong::here("a number", text))
    }

    fn row(reader: &mut Reader<'_>, most: u64, values: &mut Vec<Self>) -> u64 {
        reader.row(most, |value| {
            values.push(value);
            true
        })
    }
}

impl Element for i64 {
    const SPARSE: usize = 4;

    fn read(reader: &mut Reader<'_>, kind: Kind, dtype: Dtype) -> Result<Self, Wrong> {
        if kind != Kind::Number {
            return Err(misfit(reader, kind, "an integer"));
        }
        let number = reader.number()?;
        let value = number.integer.and_then(super::json::Integer::signed).filter(|value| match dtype {
            Dtype::Int8 => i8::try_from(*value).is_ok(),
            Dtype::Int16 => i16::try_from(*value).is_ok(),
            Dtype::Int32 => i32::try_from(*value).is_ok(),
            _ => true,
        });
        value.ok_or_else(|| Wrong::here(format!("an integer of {dtype}"), number.text))
    }
}

impl Element for u64 {
    const SPARSE: usize = 4;

    fn read(reader: &mut Reader<'_>, kind: Kind, dtype: Dtype) -> Result<Self, Wrong> {
        if kind != Kind::Number {
            return Err(misfit(reader, kind, "an integer"));
        }
        let number = reader.number()?;
        let value = number.integer.and_then(super::json::Integer::unsigned).filter(|value| match dtype {
            Dtype::Uint8 => u8::try_from(*value).is_ok(),
            Dtype::Uint16 => u16::try_from(*value).is_ok(),
            Dtype::Uint32 => u32::try_from(*value).is_ok(),
            _ => true,
        });
        value.ok_or_else(|| Wrong::here(format!("an integer of {dtype}"), number.text))
    }
}

/// Another kind of value than `expected`. A number is shown as it was written; of others only the kind.
fn misfit(reader: &mut Reader<'_>, kind: Kind, expected: &str) -> Wrong {
    if kind != Kind::Number {
        return Wrong::here(expected, kind.name());
    }
    match reader.number() {
        Ok(number) => Wrong::here(expected, number.text),
        Err(malformed) => malformed.into(),
    }
}
