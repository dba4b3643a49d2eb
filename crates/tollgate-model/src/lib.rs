//! ONNX models inside the gateway: [`Model`] is a [`tollgate_core::backend::Backend`] on the engine `rten`.
//!
//! The crate reads the signature from the model file, refuses files that are not what they claim, runs calls on a
//! bounded [`Pool`] of compute threads, and carries three demo models with held-out samples. It knows nothing of HTTP
//! and no dialect, and it does not repeat the contract: what reaches [`Model`] has been checked by the gateway, and
//! what it checks again is what the engine would otherwise get wrong.

pub mod catalog;
mod convert;
mod error;
mod load;
mod model;
mod onnx;
mod pool;
mod range;
pub mod samples;
pub mod tokens;
mod wire;

pub use error::LoadError;
pub use load::LoadOptions;
pub use model::Model;
pub use pool::{Pool, PoolCounts, PoolOptions, Worker};
pub use range::{ColumnSet, PortRange};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
