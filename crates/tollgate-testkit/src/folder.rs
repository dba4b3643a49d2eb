//! A directory of one test, gone when the test is over.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Folder {
    /// A fresh, empty directory.
    ///
    /// # Panics
    /// If the system gives none.
    #[must_use]
    pub fn fresh() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tollgate-test-{}-{number}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of it: whole or not at all, so that a reader never sees half of it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let fresh = self.0.join(format!("{name}.half"));
        drop(std::fs::remove_file(&fresh));
        // Keys of others are refused, so every file is its owner's alone.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&fresh);
        file.and_then(|mut file| file.write_all(text.as_ref())).expect("a file of the test");
        std::fs::rename(&fresh, self.0.join(name)).expect("a file of the test");
    }

    /// A file of it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
