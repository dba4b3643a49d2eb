//! Secrets: the values, which nothing prints, and the references to them, which may stand in a file.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

/// A reference such as `secret://env/NAME` or `secret://file/path`. A literal secret is refused when the configuration
/// is checked.
#[derive(Clone, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(transparent)]
pub struct SecretRef(pub String);

/// The bytes of a secret: wiped when dropped, never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A literal may stand here by mistake: only what is surely a reference is printed.
        if self.0.starts_with("secret://") { write!(f, "SecretRef({})", self.0) } else { f.write_str("SecretRef(…)") }
    }
}
