//! What the values of one input may be.

use std::fmt::Debug;
use std::num::FpCategory;

use tollgate_core::call::{Dtype, Values};

use crate::protocol::tensor;

/// The rule of an input, in the type of its values.
#[derive(Debug)]
pub(super) enum Rule {
    /// Nothing is asked of the values themselves.
    Any,
    /// The longest string, in bytes.
    Bytes(u64),
    F32(Numbers<f32>),
    F64(Numbers<f64>),
    Int(Numbers<i64>),
    Uint(Numbers<u64>),
}

/// What numbers may be.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    /// Least and greatest. Of floats never open: neither NaN nor an infinity lies between two finite numbers.
    pub(super) range: (T, T),
    /// Which odd numbers pass beside.
    pub(super) odd: Odd,
    /// Rules of places in the last dimension.
    pub(super) columns: Vec<Column<T>>,
}

/// Whether numbers pass that have no value or little precision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Odd {
    pub(super) infinity: bool,
    pub(super) nan: bool,
    pub(super) subnormal: bool,
}

impl Default for Odd {
    fn default() -> Self {
        Self { infinity: false, nan: false, subnormal: true }
    }
}

/// A rule for some places in the last dimension.
#[derive(Debug)]
pub(super) struct Column<T> {
    /// The first place, from 0.
    pub(super) from: usize,
    /// The place after the last.
    pub(super) to: usize,
    pub(super) permit: Permit<T>,
}

#[derive(Debug)]
pub(super) enum Permit<T> {
    OneOf(Vec<T>),
    Range(T, T),
}

/// The first value that breaks a rule.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) index: u64,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Rule {
    /// Checks all values of an input of type `dtype` whose last dimension is `width` long.
    pub(super) fn check(&self, values: &Values, dtype: Dtype, width: usize) -> Result<(), Misfit> {
        match (self, values) {
            (Self::Bytes(max), Values::Bytes(values)) => check_lengths(values.iter().map(|value| value.len()), *max),
            (Self::Bytes(max), Values::Raw(raw, _)) => check_lengths(tensor::strings(raw).map(<[u8]>::len), *max),
            (Self::F32(numbers), Values::F32(values)) => numbers.check(values, width),
            (Self::F64(numbers), Values::F64(values)) => numbers.check(values, width),
            (Self::Int(numbers), Values::Int(values)) => numbers.check(values, width),
            (Self::Uint(numbers), Values::Uint(values)) => numbers.check(values, width),
            (_, Values::Raw(raw, _)) => self.check_raw(raw, dtype, width),
            _ => Ok(()),
        }
    }

    /// Checks values in place: nothing is copied unless there are rules for columns.
    fn check_raw(&self, raw: &[u8], dtype: Dtype, width: usize) -> Result<(), Misfit> {
        match (self, dtype) {
            (Self::F32(numbers), Dtype::Bf16) => numbers.check_raw(raw, bf16, width),
            (Self::F32(numbers), Dtype::Fp16) => numbers.check_raw(raw, fp16, width),
            (Self::F32(numbers), Dtype::Fp32) => numbers.check_raw(raw, f32::from_le_bytes, width),
            (Self::F64(numbers), Dtype::Fp64) => numbers.check_raw(raw, f64::from_le_bytes, width),
            (Self::Int(numbers), Dtype::Int8) => {
                numbers.check_raw(raw, |[byte]: [u8; 1]| i64::from(byte.cast_signed()), width)
            }
            (Self::Int(numbers), Dtype::Int16) => {
                numbers.check_raw(raw, |bytes| i16::from_le_bytes(bytes).into(), width)
            }
            (Self::Int(numbers), Dtype::Int32) => {
                numbers.check_raw(raw, |bytes| i32::from_le_bytes(bytes).into(), width)
            }
            (Self::Int(numbers), Dtype::Int64) => numbers.check_raw(raw, i64::from_le_bytes, width),
            (Self::Uint(numbers), Dtype::Uint8) => numbers.check_raw(raw, |[byte]: [u8; 1]| byte.into(), width),
            (Self::Uint(numbers), Dtype::Uint16) => {
                numbers.check_raw(raw, |bytes| u16::from_le_bytes(bytes).into(), width)
            }
            (Self::Uint(numbers), Dtype::Uint32) => {
                numbers.check_raw(raw, |bytes| u32::from_le_bytes(bytes).into(), width)
            }
            (Self::Uint(numbers), Dtype::Uint64) => numbers.check_raw(raw, u64::from_le_bytes, width),
            _ => Ok(()),
        }
    }
}

/// A bfloat16 is the upper half of a single.
pub(super) fn bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// IEEE 754 binary16, widened exactly.
pub(super) fn fp16(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let (sign, exponent, fraction) = ((bits & 0x8000) << 16, (bits >> 10) & 0x1F, bits & 0x3FF);
    match exponent {
        0x1F => f32::from_bits(sign | 0x7F80_0000 | (fraction << 13)),
        // Subnormal: the fraction counts units of 2^-24.
        0 => {
            let magnitude = f32::from(u16::from_le_bytes(bytes) & 0x3FF) * 2.0_f32.powi(-24);
            f32::from_bits(sign | magnitude.to_bits())
        }
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

fn check_lengths(mut lengths: impl Iterator<Item = usize> + Clone, max: u64) -> Result<(), Misfit> {
    let mut all = lengths.clone();
    let Some(index) = all.position(|length| length as u64 > max) else { return Ok(()) };
    let length = lengths.nth(index).unwrap_or(0);
    let expected = format!("strings of at most {max} bytes");
    Err(Misfit { index: index as u64, expected, found: format!("{length} bytes") })
}

impl<T: Number> Numbers<T> {
    fn check(&self, values: &[T], width: usize) -> Result<(), Misfit> {
        self.check_range(values.iter().copied())?;
        self.check_columns(values, width)
    }

    fn check_raw<const N: usize>(
        &self,
        raw: &[u8],
        decode: impl Fn([u8; N]) -> T + Copy,
        width: usize,
    ) -> Result<(), Misfit> {
        let (cells, _) = raw.as_chunks::<N>();
        let values = cells.iter().map(move |cell| decode(*cell));
        self.check_range(values.clone())?;
        if self.columns.is_empty() { Ok(()) } else { self.check_columns(&values.collect::<Vec<_>>(), width) }
    }

    fn check_range(&self, mut values: impl Iterator<Item = T> + Clone) -> Result<(), Misfit> {
        let (low, high) = self.range;
        let inside = |value: T| (low <= value) & (value <= high);
        // Without an early end, the compiler makes vector instructions of it.
        if self.odd == Odd::default() && values.clone().fold(true, |fits, value| fits & inside(value)) {
            return Ok(());
        }
        let fits = |value: T| match value.category() {
            FpCategory::Nan if self.odd.nan => true,
            FpCategory::Infinite if self.odd.infinity => true,
            FpCategory::Subnormal if !self.odd.subnormal => false,
            _ => inside(value),
        };
        let Some((index, value)) = values.by_ref().enumerate().find(|(_, value)| !fits(*value)) else { return Ok(()) };
        let expected = if value.category() == FpCategory::Subnormal && inside(value) {
            "numbers that are not subnormal".to_owned()
        } else {
            format!("numbers from {low:?} to {high:?}")
        };
        Err(misfit(value, index, expected))
    }

    fn check_columns(&self, values: &[T], width: usize) -> Result<(), Misfit> {
        if self.columns.is_empty() {
            return Ok(());
        }
        for (row, numbers) in values.chunks(width.max(1)).enumerate() {
            for column in &self.columns {
                let cells = numbers.get(column.from..column.to).unwrap_or_default();
                let Some(wrong) = cells.iter().position(|value| !column.permit.allows(*value)) else { continue };
                let index = row * width + column.from + wrong;
                let Some(value) = cells.get(wrong) else { continue };
                return Err(misfit(*value, index, column.permit.expected(column.from + wrong + 1)));
            }
        }
        Ok(())
    }
}

fn misfit<T: Debug>(value: T, index: usize, expected: String) -> Misfit {
    Misfit { index: index as u64, expected, found: format!("{value:?}") }
}

impl<T: Copy + Debug + PartialOrd> Permit<T> {
    fn allows(&self, value: T) -> bool {
        match self {
            Self::OneOf(values) => values.contains(&value),
            Self::Range(low, high) => *low <= value && value <= *high,
        }
    }

    fn expected(&self, column: usize) -> String {
        match self {
            Self::OneOf(values) => format!("one of {values:?} in column {column}"),
            Self::Range(low, high) => format!("numbers from {low:?} to {high:?} in column {column}"),
        }
    }
}

/// A type of numbers into which the configuration's doubles are turned.
pub(super) trait Number: Copy + Debug + PartialOrd {
    /// The widest range of the type.
    fn widest(dtype: Dtype) -> (Self, Self);
    /// The least number of the type that is not below.
    fn at_least(bound: f64) -> Option<Self>;
    /// The greatest number of the type that is not above.
    fn at_most(bound: f64) -> Option<Self>;
    /// The number itself.
    fn exactly(value: f64) -> Option<Self>;
    /// What kind of number a float is; an integer is always a normal one.
    fn category(self) -> FpCategory {
        FpCategory::Normal
    }
}

impl Number for f32 {
    fn widest(dtype: Dtype) -> (Self, Self) {
        match dtype {
            Dtype::Bf16 => (Self::from_bits(0xFF7F_0000), Self::from_bits(0x7F7F_0000)),
            Dtype::Fp16 => (-65_504.0, 65_504.0),
            _ => (Self::MIN, Self::MAX),
        }
    }

    fn category(self) -> FpCategory {
        self.classify()
    }

    // Bounds are rounded as values are, or the value 0.1 would break the bound 0.1.
    #[expect(clippy::cast_possible_truncation, reason = "rounds as the values of requests are rounded")]
    fn at_least(bound: f64) -> Option<Self> {
        Some(bound as Self).filter(|value| value.is_finite())
    }

    fn at_most(bound: f64) -> Option<Self> {
        Self::at_least(bound)
    }

    fn exactly(value: f64) -> Option<Self> {
        Self::at_least(value)
    }
}

impl Number for f64 {
    fn widest(_: Dtype) -> (Self, Self) {
        (Self::MIN, Self::MAX)
    }

    fn category(self) -> FpCategory {
        self.classify()
    }

    fn at_least(bound: f64) -> Option<Self> {
        Some(bound).filter(|value| value.is_finite())
    }

    fn at_most(bound: f64) -> Option<Self> {
        Self::at_least(bound)
    }

    fn exactly(value: f64) -> Option<Self> {
        Self::at_least(value)
    }
}

impl Number for i64 {
    fn widest(dtype: Dtype) -> (Self, Self) {
        match dtype {
            Dtype::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Dtype::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Dtype::Int32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (Self::MIN, Self::MAX),
        }
    }

    fn at_least(bound: f64) -> Option<Self> {
        Self::exactly(bound.ceil())
    }

    fn at_most(bound: f64) -> Option<Self> {
        Self::exactly(bound.floor())
    }

    fn exactly(value: f64) -> Option<Self> {
        // Through decimal digits: an integral double prints without a fraction, and parsing refuses what does not fit.
        // Adding zero makes a zero of a negative one.
        format!("{}", value + 0.0).parse().ok()
    }
}

impl Number for u64 {
    fn widest(dtype: Dtype) -> (Self, Self) {
        match dtype {
            Dtype::Uint8 => (0, u8::MAX.into()),
            Dtype::Uint16 => (0, u16::MAX.into()),
            Dtype::Uint32 => (0, u32::MAX.into()),
            _ => (0, Self::MAX),
        }
    }

    fn at_least(bound: f64) -> Option<Self> {
        Self::exactly(bound.ceil().max(0.0))
    }

    fn at_most(bound: f64) -> Option<Self> {
        Self::exactly(bound.floor())
    }

    fn exactly(value: f64) -> Option<Self> {
        format!("{}", value + 0.0).parse().ok()
    }
}
