//! A parsed inference request, the same for every dialect.

use std::fmt;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Place of a model in the policy's table.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ModelId(pub u32);

impl ModelId {
    /// Its place in tables indexed by model.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Element type of a tensor, in the spelling of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Dtype {
    /// bfloat16; has no JSON form.
    Bf16,
    /// `true` or `false`.
    Bool,
    /// Text or binary strings.
    Bytes,
    /// IEEE 754 half; has no JSON form.
    Fp16,
    /// IEEE 754 single.
    Fp32,
    /// IEEE 754 double.
    Fp64,
    /// Signed 8 bits.
    Int8,
    /// Signed 16 bits.
    Int16,
    /// Signed 32 bits.
    Int32,
    /// Signed 64 bits.
    Int64,
    /// Unsigned 8 bits.
    Uint8,
    /// Unsigned 16 bits.
    Uint16,
    /// Unsigned 32 bits.
    Uint32,
    /// Unsigned 64 bits.
    Uint64,
}

impl Dtype {
    /// The spelling of the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "BF16",
            Self::Bool => "BOOL",
            Self::Bytes => "BYTES",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
        }
    }

    /// The type of that exact spelling.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        const ALL: [Dtype; 14] = [
            Dtype::Fp32,
            Dtype::Int64,
            Dtype::Bytes,
            Dtype::Fp64,
            Dtype::Int32,
            Dtype::Bool,
            Dtype::Uint8,
            Dtype::Int8,
            Dtype::Int16,
            Dtype::Uint16,
            Dtype::Uint32,
            Dtype::Uint64,
            Dtype::Fp16,
            Dtype::Bf16,
        ];
        ALL.into_iter().find(|dtype| dtype.name().as_bytes() == name)
    }

    /// Bytes of one element; `None` for `BYTES`, whose elements differ.
    #[must_use]
    pub const fn width(self) -> Option<u64> {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => Some(1),
            Self::Bf16 | Self::Fp16 | Self::Int16 | Self::Uint16 => Some(2),
            Self::Fp32 | Self::Int32 | Self::Uint32 => Some(4),
            Self::Fp64 | Self::Int64 | Self::Uint64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of a tensor, flat, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `BOOL`.
    Bool(Vec<bool>),
    /// `BYTES`: decoded strings.
    Bytes(Vec<Box<[u8]>>),
    /// `FP32`: each was finite as a single.
    F32(Vec<f32>),
    /// `FP64`.
    F64(Vec<f64>),
    /// Every signed integer type.
    Int(Vec<i64>),
    /// Every unsigned integer type.
    Uint(Vec<u64>),
}

impl Values {
    /// How many elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Uint(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A named tensor of a call or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: Box<str>,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions as declared; for a plain body, as nested.
    pub shape: Vec<u64>,
    /// Its values.
    pub values: Values,
    /// Where its data stands in the body.
    pub at: Range<usize>,
}

/// Which words the request was spoken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dialect {
    /// Open Inference Protocol v2, REST.
    Oip,
    /// Not looked into.
    #[default]
    Other,
    /// One JSON object whose members are the model's inputs.
    Plain,
}

/// A parsed inference request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The words it was spoken in.
    pub dialect: Dialect,
    /// The model it is for; `None` where the route names none.
    pub model: Option<ModelId>,
    /// The id that the client gave it: `id` of OIP, `request_id` of a plain body. Safe characters only.
    pub id: Option<Box<str>>,
    /// Its tensors; text comes as `BYTES`.
    pub inputs: Vec<Tensor>,
    /// Outputs that the client asked for; empty means all.
    pub outputs: Vec<Box<str>>,
    /// Bytes of the decoded body.
    pub body_bytes: u64,
    /// Members that no contract names.
    pub unknown_members: u32,
}

impl Call {
    /// Elements of all inputs.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.inputs.iter().map(|tensor| tensor.values.len() as u64).fold(0, u64::saturating_add)
    }

    /// The first dimension of the first input that has one; 1 without.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.inputs.first().and_then(|tensor| tensor.shape.first().copied()).unwrap_or(1)
    }
}
