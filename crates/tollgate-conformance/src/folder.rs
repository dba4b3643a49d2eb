//! Finds the Core Rule Set on this machine. It is not in our repository.

use std::path::{Path, PathBuf};

/// A folder with `crs-setup.conf.example` and `rules/`, and perhaps `tests/regression/tests/`.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that `TOLLGATE_CRS_DIR` names, else the one beside the repository.
    ///
    /// # Errors
    /// What to do when there is none.
    pub fn find() -> Result<Self, String> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/crs");
        let path = std::env::var_os("TOLLGATE_CRS_DIR").map_or(beside, PathBuf::from);
        if path.join("rules").is_dir() && path.join("crs-setup.conf.example").is_file() {
            return Ok(Self(path));
        }
        Err("no Core Rule Set: let `TOLLGATE_CRS_DIR` name a folder with `rules` and `crs-setup.conf.example`"
            .to_owned())
    }

    /// Debian's package `modsecurity-crs` (3.3): the folder of its rules.
    #[must_use]
    pub fn debian() -> Option<Self> {
        let path = Path::new("/usr/share/modsecurity-crs");
        path.join("rules").is_dir().then(|| Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The regression tests, where they are there.
    #[must_use]
    pub fn tests(&self) -> Option<PathBuf> {
        let path = self.0.join("tests/regression/tests");
        path.is_dir().then_some(path)
    }
}

/// Whether a missing corpus is a failure.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}
