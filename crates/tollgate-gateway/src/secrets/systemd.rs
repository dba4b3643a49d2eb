//! `secret://systemd/NAME`: a credential that systemd hands to the service, in the directory that it names.

use std::path::{Path, PathBuf};

use super::{Unopened, file};

/// The variable that names the directory.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where the credential is.
pub(super) fn path(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Unopened> {
    let directory = env(DIRECTORY).filter(|directory| directory.starts_with('/'));
    let directory = directory.ok_or("needs `LoadCredential=` in the unit: `CREDENTIALS_DIRECTORY` is not set")?;
    Ok(Path::new(&directory).join(name))
}

/// The bytes of a credential. systemd may let the service in by an access list, whose mask shows as rights of the group.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Unopened> {
    file::read_but_for(path, 0o007)
}
