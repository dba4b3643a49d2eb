//! Files of an authority: each is written whole or not at all, for its owner alone, and never over another.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::CaError;

/// The largest file that is read.
const MOST: u64 = 64 << 20;

/// Makes a directory for its owner alone, if it is not there.
pub(super) fn make(directory: &Path) -> Result<(), CaError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| CaError::System(directory.to_owned(), error))
}

/// Waits until nobody else works in a directory.
pub(super) fn turn(directory: &Path) -> Result<File, CaError> {
    let path = directory.join("lock");
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| CaError::System(path, error))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// Where one is there, or what the system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let fresh = fresh(path, bytes)?;
    // A link fails where a name is taken, which a rename would not.
    let linked = fs::hard_link(&fresh, path);
    let removed = fs::remove_file(&fresh);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CaError::Refused(format!("`{}` is there, and nothing is overwritten", path.display())))
        }
        linked => linked.and(removed).and_then(|()| settle(path)).map_err(|error| CaError::System(path.into(), error)),
    }
}

/// Writes a file in the place of what is there.
///
/// # Errors
/// What the system says.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let fresh = fresh(path, bytes)?;
    let renamed = fs::rename(&fresh, path).and_then(|()| settle(path));
    renamed.map_err(|error| CaError::System(path.into(), error))
}

/// A file beside `path` that holds all of `bytes` on disk.
fn fresh(path: &Path, bytes: &[u8]) -> Result<PathBuf, CaError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let _left_over = fs::remove_file(&fresh);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&fresh);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(fresh),
        Err(error) => Err(CaError::System(fresh, error)),
    }
}

/// Until its directory is on disk, a name is not.
fn settle(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// A text file.
pub(super) fn read(path: &Path) -> Result<String, CaError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|error| CaError::System(path.into(), error))?;
    Ok(text)
}

/// A key, which nobody but its owner may be able to read.
pub(super) fn read_key(path: &Path) -> Result<String, CaError> {
    let about = fs::metadata(path).map_err(|error| CaError::System(path.into(), error))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(CaError::Refused(format!("`{}` can be read by others: `chmod 600` it", path.display())));
    }
    read(path)
}
