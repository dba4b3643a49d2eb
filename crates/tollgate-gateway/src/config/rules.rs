//! Rule files on disk, for the loader of layer `waf`: names relative to the configuration, directories and patterns.

use std::path::{Path, PathBuf};

use tollgate_layers::waf::Source;

use super::disk::{list_directory, read_up_to};

/// How large one rule file, or one of its data files, may be.
const LARGEST: u64 = 16 << 20;
/// How many files one entry may name.
const MOST_FILES: usize = 10_000;

/// Rule files on disk.
#[derive(Clone, Debug)]
pub struct RuleFiles {
    base: PathBuf,
}

impl RuleFiles {
    /// Names are relative to `base`.
    #[must_use]
    pub fn new(base: &Path) -> Self {
        Self { base: base.to_owned() }
    }
}

impl Source for RuleFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        read_up_to(&self.base.join(path), LARGEST).map_err(|error| format!("it cannot be read: {error}"))
    }

    /// A directory stands for its `*.conf`; `*` and `?` match within one name of a path.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        if !pattern.contains(['*', '?']) {
            let path = self.base.join(pattern);
            if path.is_dir() {
                return self.glob(&format!("{}/*.conf", pattern.trim_end_matches('/')));
            }
            return if path.is_file() { Ok(vec![pattern.to_owned()]) } else { Err("there is no such file".to_owned()) };
        }
        let absolute = pattern.starts_with('/');
        let mut found = vec![if absolute { "/".to_owned() } else { String::new() }];
        for name in pattern.split('/').filter(|name| !name.is_empty()) {
            found = found.into_iter().flat_map(|folder| self.step(&folder, name)).collect();
            if found.len() > MOST_FILES {
                return Err(format!("it names more than {MOST_FILES} files"));
            }
        }
        found.retain(|path| self.base.join(path).is_file());
        found.sort_unstable();
        Ok(found)
    }
}

impl RuleFiles {
    /// Every path below `folder` whose next name fits.
    fn step(&self, folder: &str, name: &str) -> Vec<String> {
        let below = |name: &str| match folder {
            "" => name.to_owned(),
            folder if folder.ends_with('/') => format!("{folder}{name}"),
            folder => format!("{folder}/{name}"),
        };
        if !name.contains(['*', '?']) {
            return vec![below(name)];
        }
        let names = list_directory(&self.base.join(folder)).unwrap_or_default();
        let fits = |found: &&String| !found.starts_with('.') && matches(name.as_bytes(), found.as_bytes());
        names.iter().filter(fits).map(|found| below(found)).collect()
    }
}

/// Whether `name` fits `pattern`, in time that grows with their product.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => {
                star = Some((rest, name));
                pattern = rest;
            }
            ([b'?', rest @ ..], [_, after @ ..]) => (pattern, name) = (rest, after),
            ([wanted, rest @ ..], [found, after @ ..]) if wanted == found => (pattern, name) = (rest, after),
            ([], []) => return true,
            _ => match star {
                Some((rest, [_, after @ ..])) => {
                    star = Some((rest, after));
                    (pattern, name) = (rest, after);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.conf.example", false),
            ("REQUEST-9??-*.conf", "REQUEST-901-INITIALIZATION.conf", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
