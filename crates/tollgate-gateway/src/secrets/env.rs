//! `secret://env/NAME`: the environment as it was when the process began.

use super::Unopened;

/// What every such reference is told.
pub(super) const WARNING: &str = "a secret in the environment is visible to every process of this user; use a file";

/// The value of a variable.
pub(super) fn read(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<u8>, Unopened> {
    env(name).map(String::into_bytes).ok_or_else(|| "is not set".to_owned())
}
