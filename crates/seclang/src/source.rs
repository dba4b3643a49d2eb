//! Where rule files come from. The crate itself opens none.

use std::collections::BTreeMap;

/// Reads rule files and data files for the loader.
pub trait Source {
    /// The bytes of a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words for the rule author.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The files that a path or a glob pattern names, sorted by name. A plain path names itself.
    ///
    /// # Errors
    /// Why the pattern cannot be resolved.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Rule files in memory: for tests, and for rules that ship inside a program.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// With one more file.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Source for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some((before, after)) = pattern.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
        let fits = |name: &&String| {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        };
        Ok(self.files.keys().filter(fits).cloned().collect())
    }
}

/// The path that `path` means when `file` names it: relative to the folder of `file`.
#[must_use]
pub fn beside(file: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}
