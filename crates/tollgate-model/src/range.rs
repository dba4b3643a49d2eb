//! Ranges of values, as plain data: the gateway makes a contract from them. Nothing is checked here.

use std::ops::RangeInclusive;

/// Which values an input takes.
#[derive(Clone, Debug, PartialEq)]
pub struct PortRange {
    /// Name of the input.
    pub input: Box<str>,
    /// The least value.
    pub lo: f64,
    /// The greatest value.
    pub hi: f64,
    /// Columns of the last dimension that take only certain values.
    pub columns: Vec<ColumnSet>,
}

/// Columns that take only certain values.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSet {
    /// Which columns, counted from 1.
    pub at: RangeInclusive<usize>,
    /// The values they take.
    pub one_of: Vec<f64>,
}

impl PortRange {
    /// Its bounds alone, as the contract of the model takes them over.
    pub(crate) fn bounds(&self) -> tollgate_core::backend::PortRange {
        tollgate_core::backend::PortRange { input: self.input.clone(), low: self.lo, high: self.hi }
    }

    /// Every value from `lo` to `hi`, in every column.
    #[must_use]
    pub fn between(input: impl Into<Box<str>>, lo: f64, hi: f64) -> Self {
        Self { input: input.into(), lo, hi, columns: Vec::new() }
    }
}
