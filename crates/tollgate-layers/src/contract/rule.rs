//! What the values of one input may be.

use std::fmt::Debug;

use tollgate_core::call::{Dtype, Values};

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
    /// Rules of places in the last dimension.
    pub(super) columns: Vec<Column<T>>,
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
    /// Checks all values of an input whose last dimension is `width` long.
    pub(super) fn check(&self, values: &Values, width: usize) -> Result<(), Misfit> {
        match (self, values) {
            (Self::Bytes(max), Values::Bytes(values)) => check_lengths(values, *max),
            (Self::F32(numbers), Values::F32(values)) => numbers.check(values, width),
            (Self::F64(numbers), Values::F64(values)) => numbers.check(values, width),
            (Self::Int(numbers), Values::Int(values)) => numbers.check(values, width),
            (Self::Uint(numbers), Values::Uint(values)) => numbers.check(values, width),
            _ => Ok(()),
        }
    }
}

fn check_lengths(values: &[Box<[u8]>], max: u64) -> Result<(), Misfit> {
    let Some(index) = values.iter().position(|value| value.len() as u64 > max) else { return Ok(()) };
    let length = values.get(index).map_or(0, |value| value.len());
    let expected = format!("strings of at most {max} bytes");
    Err(Misfit { index: index as u64, expected, found: format!("{length} bytes") })
}

impl<T: Copy + Debug + PartialOrd> Numbers<T> {
    fn check(&self, values: &[T], width: usize) -> Result<(), Misfit> {
        let (low, high) = self.range;
        // Without an early end, the compiler makes vector instructions of it.
        if !values.iter().fold(true, |fits, value| fits & (low <= *value) & (*value <= high)) {
            let wrong = |value: &T| !(low <= *value && *value <= high);
            let index = values.iter().position(wrong).unwrap_or(0);
            return Err(misfit(values, index, format!("numbers from {low:?} to {high:?}")));
        }
        if self.columns.is_empty() {
            return Ok(());
        }
        for (row, numbers) in values.chunks(width.max(1)).enumerate() {
            for column in &self.columns {
                let cells = numbers.get(column.from..column.to).unwrap_or_default();
                let Some(wrong) = cells.iter().position(|value| !column.permit.allows(*value)) else { continue };
                let index = row * width + column.from + wrong;
                return Err(misfit(values, index, column.permit.expected(column.from + wrong + 1)));
            }
        }
        Ok(())
    }
}

fn misfit<T: Debug>(values: &[T], index: usize, expected: String) -> Misfit {
    let found = values.get(index).map_or_else(String::new, |value| format!("{value:?}"));
    Misfit { index: index as u64, expected, found }
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
}

impl Number for f32 {
    fn widest(_: Dtype) -> (Self, Self) {
        (Self::MIN, Self::MAX)
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
