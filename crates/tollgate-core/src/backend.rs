//! Models that run inside the gateway, as the gateway sees them.

use std::pin::Pin;

use crate::call::{Call, Dtype, Tensor};
use crate::ruling::Fault;

/// A boxed future: one allocation a call, against milliseconds of inference.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A model inside the process.
pub trait Backend: Send + Sync {
    /// Names, types and shapes: the default contract.
    fn signature(&self) -> &Signature;

    /// Whether it can answer now.
    fn ready(&self) -> bool;

    /// Runs the call. Never on the caller's thread: an implementation hands it to its own bounded pool.
    fn infer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Output, Fault>>;
}

/// What a model takes and gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// Names of the classes, in the order of the last dimension of the first output; empty if it has none.
    pub labels: Vec<Box<str>>,
    /// Whether the plain dialect gives it a text (`{"text": …}`), which the backend tokenises itself.
    pub text: bool,
    /// Ranges that the model's inputs were made for; an input without one takes every value of its type.
    pub ranges: Vec<PortRange>,
}

impl Signature {
    /// Least and greatest value of an input.
    #[must_use]
    pub fn range_of(&self, input: &str) -> Option<[f64; 2]> {
        self.ranges.iter().find(|range| *range.input == *input).map(|range| [range.low, range.high])
    }
}

/// Which values an input was made for.
#[derive(Clone, Debug, PartialEq)]
pub struct PortRange {
    /// Name of the input.
    pub input: Box<str>,
    /// The least value.
    pub low: f64,
    /// The greatest value.
    pub high: f64,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: Box<str>,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions.
    pub dims: Vec<Dim>,
}

/// A dimension of a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Dim {
    /// Always this many.
    Fixed(u64),
    /// Any number, equal wherever the name stands again; the first of a model is its batch.
    Symbolic(Box<str>),
}

/// What a model gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Its tensors.
    pub tensors: Vec<Tensor>,
    /// Microseconds that the run itself took on the compute pool.
    pub compute_us: u64,
}
