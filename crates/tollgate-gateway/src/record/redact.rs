//! Masks every loaded secret in text that leaves the gateway other than as an answer of a model.
//!
//! It finds values as they are, the lines of those that have several, and the password inside an address; not what somebody
//! encoded or cut up. Layers write no secrets: this is the net below them.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tollgate_core::secret::Secret;

/// Shorter values would mask ordinary words.
const SHORTEST: usize = 8;
/// Lines of a key in PEM that are shorter say nothing.
const SHORTEST_LINE: usize = 24;
/// What stands in their place.
const MASK: &str = "[redacted]";

/// Knows the secrets that must never be written.
#[derive(Default)]
pub struct Redactor {
    /// Longest first: one may hold another.
    secrets: ArcSwap<Vec<Secret>>,
}

impl Redactor {
    /// Replaces the set of secrets.
    pub fn learn<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        let mut known: Vec<Secret> = secrets.into_iter().flat_map(masked).collect();
        known.sort_by(|a, b| b.expose().len().cmp(&a.expose().len()).then_with(|| a.expose().cmp(b.expose())));
        known.dedup();
        self.secrets.store(Arc::new(known));
    }

    /// `text` without secrets.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in self.secrets.load().iter() {
            if let Ok(secret) = str::from_utf8(secret.expose())
                && clean.contains(secret)
            {
                clean = Cow::Owned(clean.replace(secret, MASK));
            }
        }
        clean
    }
}

/// A secret and the parts of it that are secrets as well.
fn masked(secret: &Secret) -> Vec<Secret> {
    let Ok(text) = str::from_utf8(secret.expose()) else { return Vec::new() };
    let own = |part: &str| Secret::new(part.as_bytes().to_vec());
    let mut all = Vec::new();
    if text.len() >= SHORTEST {
        all.push(secret.clone());
    }
    if text.contains('\n') {
        let lines =
            text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
        all.extend(lines.map(own));
    }
    all.extend(password(text).filter(|password| password.len() >= SHORTEST).map(own));
    all
}

/// The password of `scheme://user:password@host`.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (user, _) = rest.get(..rest.find('/').unwrap_or(rest.len()))?.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(text.as_bytes().to_vec())).collect();
        redactor.learn(&secrets);
        redactor
    }

    #[test]
    fn a_loaded_secret_is_masked_wherever_it_stands() {
        let redactor = knows(&["correct-horse", "abc"]);
        assert_eq!(redactor.clean("abc xcorrect-horsex"), "abc x[redacted]x");
    }

    #[test]
    fn a_secret_that_begins_another_leaves_nothing_of_it() {
        let redactor = knows(&["correct-horse", "correct-horse-battery"]);
        assert_eq!(redactor.clean("correct-horse-battery correct-horse"), "[redacted] [redacted]");
    }

    #[test]
    fn the_lines_of_a_key_and_the_password_of_an_address_are_secrets_as_well() {
        let redactor = knows(&[
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\nshort\n-----END PRIVATE KEY-----\n",
            "rediss://gate:of-the-store-1@cache:6379/0",
        ]);
        assert_eq!(redactor.clean("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"), MASK);
        assert_eq!(redactor.clean("-----BEGIN PRIVATE KEY----- short"), "-----BEGIN PRIVATE KEY----- short");
        assert_eq!(redactor.clean("password of-the-store-1 refused by cache"), "password [redacted] refused by cache");
    }
}
