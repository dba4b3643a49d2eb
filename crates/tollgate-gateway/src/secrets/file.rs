//! `secret://file/PATH`: a file that only its owner can read. Its path was judged when the reference was parsed.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{MOST, Unopened};

/// The bytes of a file that nobody but its owner may read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Unopened> {
    read_but_for(path, 0o077)
}

/// The bytes of a file that has none of the permissions `refused`.
pub(super) fn read_but_for(path: &Path, refused: u32) -> Result<Vec<u8>, Unopened> {
    let unread = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait for whoever writes to it.
    if !path.metadata().map_err(unread)?.is_file() {
        return Err("is no file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    if about.permissions().mode() & refused != 0 {
        return Err("can be read by others: `chmod 600` it".to_owned());
    }
    // Room for all at once: growing would leave copies behind that nobody wipes.
    let room = usize::try_from(about.len().min(MOST)).unwrap_or(0) + 2;
    let mut bytes = Vec::with_capacity(room);
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > MOST {
        return Err("is larger than 64 KiB".to_owned());
    }
    Ok(bytes)
}
