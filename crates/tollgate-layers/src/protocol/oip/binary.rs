//! The binary tensor extension (KServe and Triton): JSON first, then the tensors, little endian, without padding, in the
//! order of the inputs that have `parameters.binary_data_size`.
//!
//! Nothing is decoded: sizes are compared, `BOOL` and `BYTES` are walked, numbers are the contract's.

use bytes::Bytes;
use tollgate_core::backend::{Dim, Port};
use tollgate_core::call::{Dtype, Tensor, Values};

use super::Request;
use crate::protocol::Wrong;
use crate::protocol::tensor;

/// Bytes of the JSON part of the body; the rest is binary.
pub const HEADER: &str = "inference-header-content-length";

/// Reads the header's value. Triton takes `12abc` for 12, and it and KServe take `+12`: here it is digits alone.
#[must_use]
pub fn json_length(value: &[u8]) -> Option<usize> {
    let digits = (1..=10).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

/// The binary part of a body while its inputs are told.
#[derive(Debug)]
pub(super) struct Tail {
    left: Bytes,
    /// Where what is left begins in the body.
    at: usize,
}

impl Tail {
    /// The bytes behind the JSON, which is `at` bytes long.
    pub(super) const fn new(left: Bytes, at: usize) -> Self {
        Self { left, at }
    }

    /// Cuts off the next tensor and says where it stood.
    pub(super) fn take(
        &mut self,
        size: usize,
        dtype: Dtype,
        elements: u64,
    ) -> Result<(Values, std::ops::Range<usize>), Wrong> {
        if size > self.left.len() {
            return Err(Wrong::here(format!("at most the {} bytes that are left", self.left.len()), size.to_string()));
        }
        let raw = self.left.split_to(size);
        let start = self.at;
        self.at = self.at.saturating_add(size);
        Ok((values(raw, dtype, elements)?, start..self.at))
    }

    /// Whether every byte belongs to a tensor (KServe passes over left-over bytes).
    pub(super) fn finish(&self) -> Result<(), Wrong> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Wrong::here("no bytes behind the last tensor", format!("{left} bytes"))),
        }
    }
}

/// The values of a raw tensor of so many elements.
///
/// # Errors
/// Another size than the shape's product; a `BOOL` that is neither 0 nor 1; `BYTES` whose lengths do not fill it.
pub fn values(raw: Bytes, dtype: Dtype, elements: u64) -> Result<Values, Wrong> {
    let count = match dtype.width() {
        Some(width) => {
            let size = elements.checked_mul(width);
            if size != Some(raw.len() as u64) {
                let expected = format!("{elements} elements of {width} bytes, the product of the shape");
                return Err(Wrong::here(expected, format!("{} bytes", raw.len())));
            }
            elements
        }
        None => walk(&raw)?,
    };
    if count != elements {
        return Err(Wrong::here(format!("{elements} elements, the product of the shape"), format!("{count} elements")));
    }
    if dtype == Dtype::Bool
        && let Some(index) = raw.iter().position(|byte| *byte > 1)
    {
        return Err(Wrong::here("0 or 1 as a BOOL", "another byte").element(index as u64));
    }
    Ok(Values::Raw(raw, usize::try_from(count).unwrap_or(usize::MAX)))
}

/// A body that is one tensor and nothing else. A symbolic first dimension is what the body's size makes of it.
///
/// # Errors
/// A body that is no multiple of one row.
pub fn raw(port: &Port, body: &Bytes) -> Result<Request, Wrong> {
    let row = port.dims.iter().try_fold(port.dtype.width().unwrap_or(1), |size, dim| match dim {
        Dim::Fixed(fixed) => size.checked_mul(*fixed),
        Dim::Symbolic(_) => Some(size),
    });
    let (length, row) = (body.len() as u64, row.unwrap_or(u64::MAX).max(1));
    let rows = length / row;
    let shape: Vec<u64> = port.dims.iter().map(|dim| if let Dim::Fixed(fixed) = dim { *fixed } else { rows }).collect();
    let elements = tensor::elements(&shape, port.dtype).filter(|_| rows > 0 && length.is_multiple_of(row));
    let Some(elements) = elements else {
        return Err(Wrong::here(format!("a multiple of {row} bytes"), format!("{length} bytes")));
    };
    let values = values(body.clone(), port.dtype, elements)?;
    let input = Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at: 0..body.len() };
    Ok(Request { inputs: vec![input], ..Request::default() })
}

/// Counts the strings of a `BYTES` tensor.
fn walk(raw: &[u8]) -> Result<u64, Wrong> {
    let mut strings = tensor::strings(raw);
    let count = strings.by_ref().count() as u64;
    if strings.left().is_empty() {
        return Ok(count);
    }
    Err(Wrong::here("strings that end with the tensor", "a length that reaches past it").element(count))
}
