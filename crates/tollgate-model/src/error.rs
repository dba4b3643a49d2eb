//! Why a model file was not loaded.

use std::time::Duration;

use thiserror::Error;

use crate::wire::WireError;

/// Why a model file was not loaded.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not those that the operator pinned.
    #[error("the file's sha256 is `{found}`, not the one given")]
    Digest {
        /// The hash of the file, in hexadecimal.
        found: String,
    },
    /// The engine sees other inputs or outputs than the file declares.
    #[error("the engine reads other {what} than the file declares")]
    Disagreement {
        /// `inputs` or `outputs`.
        what: &'static str,
    },
    /// The engine refused the model.
    #[error("the engine refuses the model: {0}")]
    Engine(String),
    /// The file is not a well-formed ONNX model.
    #[error("not a well-formed ONNX file: {0}")]
    Format(String),
    /// The labels given do not fit the model's first output.
    #[error("{labels} labels were given and the model's first output has {classes} columns")]
    Labels {
        /// How many labels were given.
        labels: usize,
        /// Last dimension of the first output; 0 if it is not fixed.
        classes: u64,
    },
    /// The file or something in it is larger than the bound.
    #[error("{what} is over the bound of {bound}")]
    Large {
        /// What is too large.
        what: &'static str,
        /// The bound.
        bound: u64,
    },
    /// The engine did not answer in time. Its thread cannot be ended and is left behind.
    #[error("the engine did not load the model within {} ms", .0.as_millis())]
    Late(Duration),
    /// The engine panicked.
    #[error("the engine failed while it loaded the model")]
    Panicked,
    /// The model was declared to take text and has no input for token ids.
    #[error("a text model takes one INT64 input of shape [batch, length], this one does not")]
    Text,
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(String),
    /// A port has a type that cannot be given to the engine without loss.
    #[error("`{port}` has the element type {dtype}, which is not supported")]
    Type {
        /// Name of the input or output.
        port: String,
        /// The type, as ONNX spells it or its number.
        dtype: String,
    },
}

impl LoadError {
    pub(crate) fn format(why: impl Into<String>) -> Self {
        Self::Format(why.into())
    }
}

impl From<WireError> for LoadError {
    fn from(error: WireError) -> Self {
        Self::Format(error.to_string())
    }
}
