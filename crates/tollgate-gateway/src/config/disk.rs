//! Reads configuration files from disk, for the callers of `load` that have one. Bounded; follows no pattern itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::text::MOST_BYTES;

/// The bytes of a file: no more than one above what `load` accepts, however large the file.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names in a directory, in no order; names that are not UTF-8 are left out, as no pattern can mean them.
///
/// # Errors
/// When the directory cannot be read.
pub fn list_directory(path: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// The bytes of a file of at most `most` bytes.
///
/// # Errors
/// When the file cannot be opened or read, or is larger.
pub(crate) fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}
