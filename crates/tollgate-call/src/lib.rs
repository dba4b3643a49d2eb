//! A parsed inference request, the same for every dialect.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
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

/// Writes the enum and its tables from one list: variant, spelling, bytes of one element.
macro_rules! dtypes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $width:expr;)+) => {
        /// Element type of a tensor, in the spelling of the Open Inference Protocol.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "UPPERCASE")]
        pub enum Dtype { $($(#[doc = $doc])+ $variant,)+ }

        impl Dtype {
            /// The spelling of the protocol.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The type of that exact spelling.
            #[must_use]
            pub fn from_name(name: &[u8]) -> Option<Self> {
                [$(Self::$variant,)+].into_iter().find(|dtype| dtype.name().as_bytes() == name)
            }

            /// Bytes of one element; `None` for `BYTES`, whose elements differ.
            #[must_use]
            pub const fn width(self) -> Option<u64> {
                match self { $(Self::$variant => $width,)+ }
            }
        }
    };
}

dtypes! {
    /// bfloat16; has no JSON form.
    Bf16 = "BF16", Some(2);
    /// `true` or `false`.
    Bool = "BOOL", Some(1);
    /// Text or binary strings.
    Bytes = "BYTES", None;
    /// IEEE 754 half; has no JSON form.
    Fp16 = "FP16", Some(2);
    /// IEEE 754 single.
    Fp32 = "FP32", Some(4);
    /// IEEE 754 double.
    Fp64 = "FP64", Some(8);
    /// Signed 8 bits.
    Int8 = "INT8", Some(1);
    /// Signed 16 bits.
    Int16 = "INT16", Some(2);
    /// Signed 32 bits.
    Int32 = "INT32", Some(4);
    /// Signed 64 bits.
    Int64 = "INT64", Some(8);
    /// Unsigned 8 bits.
    Uint8 = "UINT8", Some(1);
    /// Unsigned 16 bits.
    Uint16 = "UINT16", Some(2);
    /// Unsigned 32 bits.
    Uint32 = "UINT32", Some(4);
    /// Unsigned 64 bits.
    Uint64 = "UINT64", Some(8);
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
    /// Little-endian elements as they stand in a binary body, and how many: decoded by nobody who only forwards them.
    Raw(Bytes, usize),
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
            Self::Raw(_, count) => *count,
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
    /// Where its data stands in the body; empty where it stands in pieces, a row here and a row there.
    pub at: Range<usize>,
}

/// Which words the request was spoken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dialect {
    /// Anthropic's messages.
    Anthropic,
    /// Any JSON, held to a JSON Schema.
    Json,
    /// KServe v1, and the rows of TensorFlow Serving.
    KserveV1,
    /// Ollama's native API.
    Ollama,
    /// Open Inference Protocol v2, REST.
    Oip,
    /// Open Inference Protocol v2, gRPC.
    OipGrpc,
    /// OpenAI's chat completions, completions, embeddings and responses.
    OpenAi,
    /// Not looked into.
    #[default]
    Other,
    /// One JSON object whose members are the model's inputs.
    Plain,
    /// The columns of TensorFlow Serving.
    TfColumns,
    /// Files: a form, or one image or sound.
    Upload,
}

/// A text that the model will read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prompt {
    /// Who is said to speak.
    pub role: Role,
    /// The text, unescaped.
    pub text: Box<str>,
    /// Where its JSON string stands in the body, quotes included.
    pub at: Range<usize>,
}

/// Who is said to speak in a [`Prompt`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The model, in an earlier turn.
    Assistant,
    /// A document to rank or to embed.
    Document,
    /// Whoever set the model up.
    System,
    /// What a tool gave back.
    Tool,
    /// The caller.
    User,
}

/// An image, a sound or a film inside a call, as its header describes it. Nothing is decoded further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Media {
    /// What it is, as a media type: `image/png`.
    pub kind: &'static str,
    /// Columns and rows of pixels; 0 for sound.
    pub size: [u32; 2],
    /// Pictures in it: 1 unless it is animated.
    pub frames: u32,
    /// Milliseconds, where the header tells.
    pub duration_ms: Option<u64>,
    /// Bytes, decoded from base64 where it was.
    pub bytes: u64,
    /// Where it stands in the body.
    pub at: Range<usize>,
}

impl Media {
    /// The kind of a medium that the server would fetch from a URL: nothing else is known of it.
    pub const FETCHED: &'static str = "url";

    /// Bits of a second of sound at the lowest rate that anybody sends: Opus at its least (RFC 6716 §2).
    const LEAST_BITS_PER_SECOND: u64 = 6_000;

    /// The most milliseconds that it may last: as its header tells, else as its size would make it at the lowest
    /// plausible rate; 0 for what is neither sound nor film.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        let sounds = self.kind.starts_with("audio/") || self.kind.starts_with("video/");
        let worst = self.bytes.saturating_mul(8 * 1_000).div_ceil(Self::LEAST_BITS_PER_SECOND);
        self.duration_ms.unwrap_or(if sounds { worst } else { 0 })
    }

    /// Pixels of all its pictures.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        let [columns, rows] = self.size.map(u64::from);
        columns.saturating_mul(rows).saturating_mul(u64::from(self.frames))
    }
}

/// A part of a form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The name of its field.
    pub name: Box<str>,
    /// The place of its medium in the call, if it is a file.
    pub file: Option<usize>,
    /// Where its content stands in the body.
    pub at: Range<usize>,
}

/// What a generating call asks for, as far as it makes the call dear.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Knobs {
    /// The answer comes in pieces.
    pub stream: bool,
    /// The client asked for a usage chunk of its own accord.
    pub usage: bool,
    /// The most tokens of one answer; `None` where nothing bounds it.
    pub output_tokens: Option<u64>,
    /// The same in the body that goes up, where the contract puts in a default or lowers it.
    pub output_cap: Option<u64>,
    /// Answers that are made: `n` or `best_of`, times prompts; 0 where no text is written.
    pub choices: u64,
    /// Tokens of everything the model reads, counted or estimated from bytes.
    pub input_tokens: u64,
    /// Numbers that a contract bounds.
    pub asked: Vec<Asked>,
    /// Members that are refused unless the contract names them, or that the protocol does not have.
    pub extras: Vec<Extra>,
}

impl Knobs {
    /// Whether the model writes a text.
    #[must_use]
    pub const fn generates(&self) -> bool {
        self.choices > 0
    }
}

/// A number that a contract bounds, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// What is counted.
    pub what: Ask,
    /// Its JSON Pointer.
    pub pointer: Box<str>,
    /// How many.
    pub value: u64,
}

/// What an [`Asked`] counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// `best_of`
    BestOf,
    /// `n`
    Choices,
    /// Entries of `logit_bias`.
    LogitBias,
    /// `logprobs`, `top_logprobs`
    Logprobs,
    /// Messages of a chat, items of an input.
    Messages,
    /// `max_tokens` in any spelling.
    OutputTokens,
    /// Prompts, or texts to embed, in one request.
    Prompts,
    /// Bytes of one schema or grammar.
    SchemaBytes,
    /// Stop sequences.
    Stops,
    /// Prompts given as token ids: how many ids.
    TokenIds,
    /// Tools that the model may call.
    Tools,
}

/// A member at the top of a body that the contract has to name, or to pass over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extra {
    /// Its name.
    pub name: Box<str>,
    /// Whether the protocol knows it, and it is refused unless named: it reaches into the server.
    pub known: bool,
}

/// A change to the body on its way to the model: ranges do not overlap and come in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    /// What is taken out; empty where something is only put in.
    pub at: Range<usize>,
    /// What stands there instead.
    pub with: Box<[u8]>,
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
    /// Texts that the model will read, in order.
    pub prompts: Vec<Prompt>,
    /// Images and sounds, in order.
    pub media: Vec<Media>,
    /// Parts of a form, in order.
    pub parts: Vec<Part>,
    /// What a generating call asks for.
    pub knobs: Knobs,
    /// What the gateway changes of the body.
    pub edits: Vec<Edit>,
    /// The whole document, where a schema judges it.
    pub document: Option<Box<serde_json::Value>>,
    /// Bytes of the decoded body.
    pub body_bytes: u64,
    /// Members that no contract names.
    pub unknown_members: u32,
    /// Whether what a server reads by rows came as columns.
    pub columns: bool,
}

impl Call {
    /// Elements of all inputs.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.inputs.iter().map(|tensor| tensor.values.len() as u64).fold(0, u64::saturating_add)
    }

    /// Pixels of all media.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.media.iter().map(Media::pixels).fold(0, u64::saturating_add)
    }

    /// Milliseconds of all sounds and films, at most.
    #[must_use]
    pub fn media_ms(&self) -> u64 {
        self.media.iter().map(Media::longest_ms).fold(0, u64::saturating_add)
    }

    /// The first dimension of the first input that has one; 1 without.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.inputs.first().and_then(|tensor| tensor.shape.first().copied()).unwrap_or(1)
    }
}
