//! Counting by a model's own `tokenizer.json`, in the format of Hugging Face.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer;

use super::Unloadable;

/// The largest file: vocabularies of 256 000 entries take 35 MB.
const MAX_BYTES: u64 = 64 << 20;

/// A loaded `tokenizer.json`.
#[derive(Clone)]
pub struct Custom(Arc<Tokenizer>);

impl Custom {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is larger than 64 MiB, or is no tokenizer.
    pub(super) fn load(path: &Path) -> Result<Self, Unloadable> {
        let unusable = |error: &dyn fmt::Display| Unloadable::File(error.to_string().into());
        let length = std::fs::metadata(path).map_err(|error| unusable(&error))?.len();
        if length > MAX_BYTES {
            return Err(unusable(&"it is larger than 64 MiB"));
        }
        let mut tokenizer = Tokenizer::from_file(path).map_err(|error| unusable(&error))?;
        // A file that truncates or pads would count its own limit, whatever the text.
        tokenizer.with_truncation(None).map_err(|error| unusable(&error))?;
        tokenizer.with_padding(None);
        Ok(Self(Arc::new(tokenizer)))
    }

    /// A text that the tokenizer gives up on counts a token per byte.
    pub(super) fn count(&self, text: &str) -> u64 {
        self.0.encode_fast(text, false).map_or(text.len() as u64, |encoding| encoding.len() as u64)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("words", &self.0.get_vocab_size(true)).finish_non_exhaustive()
    }
}
