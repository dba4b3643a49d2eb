//! What of a call makes it dear, as the numbers that a prediction is made of. Read off what the parser knows already: no
//! text is counted here, and nothing depends on how long the body is.

use serde::{Deserialize, Serialize};
use tollgate_core::call::{Ask, Call, Dialect, Dtype};

/// How many numbers describe a call.
pub const FEATURES: usize = 7;

/// Names of the numbers, in their order, as configurations and reports spell them.
pub const NAMES: [&str; FEATURES] = [
    "fixed",
    "thousand_input_tokens",
    "thousand_output_tokens",
    "megapixels",
    "million_elements",
    "rows",
    "thousand_million_squared_input_tokens",
];

/// Bytes of a token where nothing counted them and nothing was learned: about what prose has.
const BYTES_PER_TOKEN: f64 = 4.2;

/// A second of sound or film counts as so many tokens read: as many positions as Whisper's encoder has for one.
const TOKENS_PER_SECOND: f64 = 50.0;

/// No count is larger than this: more of anything cannot be meant.
const MOST: f64 = 1e9;

/// The numbers that describe a call: one, thousands of input tokens, thousands of output tokens, millions of pixels,
/// millions of elements, rows, and the square of the input tokens in thousand millions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Features(pub [f64; FEATURES]);

/// What is known of a call before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Tokens that the model will read: counted, or guessed from bytes.
    pub input_tokens: f64,
    /// Whether a tokenizer counted them; otherwise a learned ratio corrects them.
    pub counted: bool,
    /// Pixels of all pictures.
    pub pixels: f64,
    /// Elements of all tensors.
    pub elements: f64,
    /// Rows of the batch; prompts, where texts are embedded or gone on with.
    pub rows: f64,
    /// What answer is wished for; `None` where no text is written.
    pub wish: Option<Wish>,
}

/// How long an answer may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Answers that are made.
    pub answers: f64,
    /// The most tokens of each, whoever said so; infinite where nobody did.
    pub cap: f64,
    /// The most tokens of each, as far as the caller said so.
    pub declared: Option<f64>,
}

impl Shape {
    /// The shape of a call to a model, whose tokens may be `counted` by a tokenizer.
    #[must_use]
    pub fn of(call: &Call, counted: bool) -> Self {
        let spoken = matches!(call.dialect, Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAi);
        let knobs = &call.knobs;
        let written = call.inputs.iter().any(|tensor| tensor.dtype == Dtype::Bytes);
        let unread = call.inputs.is_empty() && call.media.is_empty() && call.prompts.is_empty();
        let (text, counted) = if knobs.input_tokens > 0 || spoken {
            (count(knobs.input_tokens), counted)
        } else if written || unread {
            // Nobody counted its words: the body is what there is to go by.
            (count(call.body_bytes) / BYTES_PER_TOKEN, false)
        } else {
            (0.0, true)
        };
        let heard = count(call.media_ms()) / 1e3 * TOKENS_PER_SECOND;
        let rows = if spoken { asked(call, Ask::Prompts).unwrap_or(1) } else { call.batch() };
        Self {
            input_tokens: bounded(text + heard),
            counted,
            pixels: count(call.pixels()),
            elements: count(call.elements()),
            rows: count(rows.max(1)),
            wish: knobs.generates().then(|| Wish::of(call)),
        }
    }

    /// Its features, if the model reads `input_tokens` and writes `output_tokens`.
    #[must_use]
    pub fn features(&self, input_tokens: f64, output_tokens: f64) -> Features {
        let (read, written) = (bounded(input_tokens) / 1e3, bounded(output_tokens) / 1e3);
        let [pixels, elements] = [self.pixels, self.elements].map(|count| bounded(count) / 1e6);
        Features([1.0, read, written, pixels, elements, bounded(self.rows), read * read / 1e3])
    }
}

impl Wish {
    fn of(call: &Call) -> Self {
        let knobs = &call.knobs;
        let cap = knobs.output_cap.or(knobs.output_tokens).map_or(f64::INFINITY, count);
        Self {
            answers: count(knobs.choices.max(1)),
            cap,
            declared: knobs.output_tokens.map(|declared| count(declared).min(cap)),
        }
    }
}

impl Features {
    /// What it costs at these prices, in microseconds.
    #[must_use]
    pub fn at(&self, prices: &[f64; FEATURES]) -> f64 {
        self.0.iter().zip(prices).map(|(feature, price)| feature * price).sum()
    }
}

/// A count within its bounds; what is no number is none.
#[must_use]
pub(super) fn bounded(count: f64) -> f64 {
    if count > 0.0 { count.min(MOST) } else { 0.0 }
}

/// A whole number as a count.
#[must_use]
pub(super) fn count(whole: u64) -> f64 {
    bounded(whole as f64)
}

fn asked(call: &Call, what: Ask) -> Option<u64> {
    call.knobs.asked.iter().find(|asked| asked.what == what).map(|asked| asked.value)
}
