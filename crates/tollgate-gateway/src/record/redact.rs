//! Masks every loaded secret in text that a sink writes.

use std::borrow::Cow;

use arc_swap::ArcSwap;
use tollgate_core::secret::Secret;

/// Shorter values would mask ordinary words.
const SHORTEST: usize = 8;

/// Knows the secrets that must never be written.
#[derive(Default)]
pub struct Redactor {
    secrets: ArcSwap<Vec<String>>,
}

impl Redactor {
    /// Replaces the set of secrets.
    pub fn learn<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        let known = secrets
            .into_iter()
            .filter_map(|secret| std::str::from_utf8(secret.expose()).ok())
            .filter(|text| text.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        self.secrets.store(std::sync::Arc::new(known));
    }

    /// `text` without secrets.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in self.secrets.load().iter() {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), "[redacted]"));
            }
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_secret_is_masked_wherever_it_stands() {
        let redactor = Redactor::default();
        redactor.learn([&Secret::new(b"correct-horse".to_vec()), &Secret::new(b"abc".to_vec())]);
        assert_eq!(redactor.clean("abc xcorrect-horsex"), "abc x[redacted]x");
    }
}
