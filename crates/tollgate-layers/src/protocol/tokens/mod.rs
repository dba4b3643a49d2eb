//! Counting tokens: what a model will read, in its own measure, before it reads it.
//!
//! A limit on tokens alone bounds no size (a tokenizer may make one token of 64 KiB, or none), so callers bound bytes
//! first, by [`Counter::range`], and count only what may pass. Counting is linear in the bytes.

#[cfg(feature = "tokenizers")]
mod custom;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

#[cfg(feature = "tokenizers")]
pub use self::custom::Custom;

/// Bytes of a token where nothing is known of a model: about what English prose has. Other texts have fewer.
pub const BYTES_PER_TOKEN: f64 = 4.2;

/// The longest token of either of OpenAI's vocabularies, in bytes: a run of spaces.
#[cfg(feature = "tokens")]
const LONGEST: u64 = 128;

/// A way to count the tokens of a text. Loaded with the configuration; counting does not fail.
#[derive(Clone, Debug)]
pub enum Counter {
    /// An estimate from the length.
    Bytes {
        /// How many bytes a token has: finite, at least 0.25.
        per_token: f64,
    },
    /// OpenAI's `cl100k_base`: GPT-4, GPT-3.5, their embeddings.
    #[cfg(feature = "tokens")]
    Cl100k,
    /// A `tokenizer.json`.
    #[cfg(feature = "tokenizers")]
    Custom(Custom),
    /// OpenAI's `o200k_base`: GPT-4o and what came after.
    #[cfg(feature = "tokens")]
    O200k,
}

impl Default for Counter {
    fn default() -> Self {
        Self::Bytes { per_token: BYTES_PER_TOKEN }
    }
}

impl Counter {
    /// Loads a counter by the name that a configuration gives it: `bytes`, `o200k`, `cl100k`, or the path of a
    /// `tokenizer.json`. Takes 20 to 100 ms and reads the file of a path.
    ///
    /// # Errors
    /// No such counter, one that this build leaves out, or a file that cannot be read.
    pub fn load(name: &str) -> Result<Self, Unloadable> {
        let is_path = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        match name {
            "bytes" => Ok(Self::default()),
            "cl100k" | "cl100k_base" => vocabulary(Vocabulary::Cl100k),
            "o200k" | "o200k_base" => vocabulary(Vocabulary::O200k),
            path if is_path => file(Path::new(path)),
            _ => Err(Unloadable::Unknown),
        }
    }

    /// Whether it counts, and does not guess.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        !matches!(self, Self::Bytes { .. })
    }

    /// An estimate of that many bytes a token, as learned or configured.
    ///
    /// # Errors
    /// The ratio is none: not finite, or below a quarter of a byte.
    pub fn bytes(per_token: f64) -> Result<Self, Unloadable> {
        if per_token.is_finite() && per_token >= 0.25 { Ok(Self::Bytes { per_token }) } else { Err(Unloadable::Ratio) }
    }

    /// The fewest and the most tokens that a text of `bytes` can have: what lies outside a limit with all of it needs
    /// no counting.
    #[must_use]
    pub fn range(&self, bytes: u64) -> RangeInclusive<u64> {
        match self {
            Self::Bytes { per_token } => {
                let tokens = estimate(bytes, *per_token);
                tokens..=tokens
            }
            // Byte-level: a token is a byte at least.
            #[cfg(feature = "tokens")]
            Self::Cl100k | Self::O200k => bytes.div_ceil(LONGEST)..=bytes,
            // A normalizer may make more of a text, or nothing.
            #[cfg(feature = "tokenizers")]
            Self::Custom(_) => 0..=u64::MAX,
        }
    }

    /// How many tokens `text` has. Special tokens in it count as the text they are; those that a chat template adds
    /// are the caller's.
    #[must_use]
    pub fn count(&self, text: &str) -> u64 {
        match self {
            Self::Bytes { per_token } => estimate(text.len() as u64, *per_token),
            #[cfg(feature = "tokens")]
            Self::Cl100k => bpe_openai::cl100k_base().count(text) as u64,
            #[cfg(feature = "tokenizers")]
            Self::Custom(custom) => custom.count(text),
            #[cfg(feature = "tokens")]
            Self::O200k => bpe_openai::o200k_base().count(text) as u64,
        }
    }
}

/// Why a counter cannot be loaded. Says nothing of the name: whoever asked knows it.
#[derive(Debug, thiserror::Error)]
pub enum Unloadable {
    /// The file is no `tokenizer.json`, or cannot be read.
    #[error("no `tokenizer.json` that can be used: {0}")]
    File(Box<str>),
    /// This build has no such counter.
    #[error("left out of this build; hint: build with `--features {0}`")]
    LeftOut(&'static str),
    /// No bytes per token.
    #[error("bytes per token have to be a finite number of at least 0.25")]
    Ratio,
    /// There is none of that name.
    #[error("no such counter; there are `bytes`, `o200k`, `cl100k`, and paths that end in `.json`")]
    Unknown,
}

#[derive(Clone, Copy)]
enum Vocabulary {
    Cl100k,
    O200k,
}

/// Touches the vocabulary, so that no request waits for it.
#[cfg(feature = "tokens")]
fn vocabulary(which: Vocabulary) -> Result<Counter, Unloadable> {
    let counter = match which {
        Vocabulary::Cl100k => Counter::Cl100k,
        Vocabulary::O200k => Counter::O200k,
    };
    let _ = counter.count("a");
    Ok(counter)
}

#[cfg(not(feature = "tokens"))]
const fn vocabulary(_: Vocabulary) -> Result<Counter, Unloadable> {
    Err(Unloadable::LeftOut("tokens"))
}

#[cfg(feature = "tokenizers")]
fn file(path: &Path) -> Result<Counter, Unloadable> {
    Custom::load(path).map(Counter::Custom)
}

#[cfg(not(feature = "tokenizers"))]
const fn file(_: &Path) -> Result<Counter, Unloadable> {
    Err(Unloadable::LeftOut("tokenizers"))
}

/// At least one token where there is a byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate; the cast of a float saturates"
)]
fn estimate(bytes: u64, per_token: f64) -> u64 {
    (bytes as f64 / per_token.max(0.25)).ceil() as u64
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { per_token } => write!(f, "bytes / {per_token}"),
            #[cfg(feature = "tokens")]
            Self::Cl100k => f.write_str("cl100k"),
            #[cfg(feature = "tokenizers")]
            Self::Custom(_) => f.write_str("tokenizer.json"),
            #[cfg(feature = "tokens")]
            Self::O200k => f.write_str("o200k"),
        }
    }
}

#[cfg(test)]
mod tests;
