//! Secrets: references are opened when a policy is compiled, and watched from then on. What a source says anew goes round by
//! compiling the last good configuration again, so that a policy and its secrets are always of one piece.
//!
//! One file for each provider; `opener` is one compilation's desk. Nothing here writes a value anywhere, and no error holds
//! one.

pub mod config;
mod env;
mod exec;
mod file;
mod held;
mod opener;
mod systemd;

pub use config::SecretsConfig;
pub use held::{Secrets, watch};
pub use opener::{Opened, Opener};

use tollgate_core::secret::Secret;

#[cfg(test)]
mod tests;

/// The most bytes of a secret.
const MOST: u64 = 65_536;

/// Why a reference cannot be opened: words to follow it, `secret://… cannot be read`.
type Unopened = String;

/// Judges what a source gave, and cuts off one line break at its end; `true` where there was one.
fn value(mut bytes: Vec<u8>) -> Result<(Secret, bool), Unopened> {
    let trimmed = bytes.last() == Some(&b'\n') && bytes.iter().filter(|byte| **byte == b'\n').count() == 1;
    if trimmed {
        bytes.pop();
    }
    let value = Secret::new(bytes);
    match value.expose() {
        [] => Err("is empty".to_owned()),
        bytes if bytes.len() as u64 > MOST => Err("is larger than 64 KiB".to_owned()),
        bytes if bytes.contains(&0) => Err("holds a NUL byte".to_owned()),
        _ => Ok((value, trimmed)),
    }
}
