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
        if !is_pattern(pattern) {
            return Ok(vec![pattern.to_owned()]);
        }
        Ok(self.files.keys().filter(|path| fits(pattern, path)).cloned().collect())
    }
}

/// Whether the path is a pattern: `*` stands for any part of a name, `?` for one byte of it.
#[must_use]
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// Whether the path is one that the pattern means. Neither sign stands for a slash, nor for the dot that hides a file.
#[must_use]
pub fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('/');
    let mut names = path.split('/');
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if name.starts_with('.') && !part.starts_with('.') => return part == name,
            (Some(part), Some(name)) if name_fits(part.as_bytes(), name.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// Greedy with one point to come back to, so that no pattern is slow.
fn name_fits(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut retry = None;
    loop {
        match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, name));
                pattern = rest;
            }
            ([sign, rest @ ..], [byte, behind @ ..]) if *sign == b'?' || sign == byte => {
                pattern = rest;
                name = behind;
            }
            _ => {
                let Some((rest, [_, behind @ ..])) = retry else { return false };
                retry = Some((rest, behind));
                pattern = rest;
                name = behind;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::{beside, fits};

    #[test]
    fn a_pattern_names_files_of_its_own_folder() {
        for (pattern, path, expected) in [
            ("a.conf", "a.conf", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.example", false),
            ("*.conf", "r/a.conf", false),
            ("r/*.conf", "r/a.conf", true),
            ("*/*.conf", "r/a.conf", true),
            ("r/*", "r/a/b", false),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("R*-9?0-*.conf", "REQUEST-920-A.conf", true),
            ("R*-9?0-*.conf", "REQUEST-9200-A.conf", false),
            ("*a*b*c", "xaxbxbc", true),
            ("*a*b*c", "xaxbxbcd", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_is_relative_to_the_file_that_names_it() {
        for (file, path, expected) in [
            ("main.conf", "a.data", "a.data"),
            ("etc/main.conf", "a.data", "etc/a.data"),
            ("etc/main.conf", "./r/a.data", "etc/r/a.data"),
            ("etc/main.conf", "../a.data", "etc/../a.data"),
            ("etc/main.conf", "/a.data", "/a.data"),
        ] {
            assert_eq!(beside(file, path), expected, "{file} {path}");
        }
    }
}
