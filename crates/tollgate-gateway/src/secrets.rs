//! Opens references to secrets: environment and files. Vault and systemd arrive with their own issue.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};

use crate::config::SecretSource;

/// The most bytes of a secret.
const MOST: u64 = 65_536;

/// Opens references, and remembers what it opened for the redactor.
pub struct Vault<'a> {
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    opened: Vec<Secret>,
}

impl<'a> Vault<'a> {
    /// References to files are relative to `base`.
    #[must_use]
    pub const fn new(base: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { base, env, opened: Vec::new() }
    }

    /// Opens a reference, or reports why it cannot be opened; never the value.
    pub fn open(&mut self, reference: &SecretRef, at: &str, check: &mut Checker) -> Option<Secret> {
        let source = match SecretSource::parse(&reference.0) {
            Ok(source) => source,
            Err(unfit) => {
                check.problem_hint(at, unfit.message, unfit.hint.unwrap_or_default());
                return None;
            }
        };
        if matches!(source, SecretSource::Env { .. }) {
            check.warn(at, "a secret in the environment is visible to every process of this user; use a file");
        }
        match self.value(&source) {
            Ok((value, trimmed)) => {
                if trimmed {
                    check.warn(at, format!("`{source}` ends in a line break, which is not part of the secret"));
                }
                self.opened.push(value.clone());
                Some(value)
            }
            Err(why) => {
                check.problem(at, format!("`{source}` {why}"));
                None
            }
        }
    }

    /// Everything that was opened.
    #[must_use]
    pub fn opened(self) -> Vec<Secret> {
        self.opened
    }

    fn value(&self, source: &SecretSource) -> Result<(Secret, bool), String> {
        let mut bytes = match source {
            SecretSource::Env { name } => (self.env)(name).ok_or("is not set")?.into_bytes(),
            SecretSource::File { path } => read(&self.base.join(path))?,
        };
        let trimmed = bytes.last() == Some(&b'\n') && bytes.iter().filter(|byte| **byte == b'\n').count() == 1;
        if trimmed {
            bytes.pop();
        }
        let value = Secret::new(bytes);
        match value.expose() {
            [] => Err("is empty".to_owned()),
            bytes if bytes.contains(&0) => Err("holds a NUL byte".to_owned()),
            _ => Ok((value, trimmed)),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let about = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err("can be read by others: `chmod 600` it".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err("is larger than 64 KiB".to_owned());
    }
    Ok(bytes)
}
