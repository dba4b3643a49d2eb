//! Unpacks an archive that somebody else made: regular files only, below one directory, bounded in number and size.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

/// How much all files may hold together.
const MOST_BYTES: u64 = 64 << 20;
/// How many entries an archive may have.
const MOST_ENTRIES: usize = 20_000;

/// The files of a gzipped tar archive, without the directory that holds them all.
///
/// # Errors
/// Why the archive is refused: a path that leads out, a link, a device, or more than fits.
pub(super) fn unpack(archive: &[u8]) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    // What a bomb becomes is bounded here, whatever its entries say of themselves.
    let plain = GzDecoder::new(archive).take(MOST_BYTES);
    let mut archive = Archive::new(plain);
    let mut files = BTreeMap::new();
    let mut count = 0;
    for entry in archive.entries().context("this is no tar archive")? {
        let mut entry = entry.context("the archive is damaged, or larger than 64 MiB")?;
        count += 1;
        ensure!(count <= MOST_ENTRIES, "it has more than {MOST_ENTRIES} entries");
        let path = entry.path().context("a path that is none")?.into_owned();
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => continue,
            EntryType::Directory => drop(inside(&path)?),
            EntryType::Regular => {
                let Some(path) = inside(&path)? else { bail!("`{}` stands beside the directory", path.display()) };
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).context("the archive is damaged, or larger than 64 MiB")?;
                ensure!(files.insert(path.clone(), bytes).is_none(), "`{}` is there twice", path.display());
            }
            kind => bail!("`{}` is neither a file nor a directory, but {kind:?}", path.display()),
        }
    }
    let holds = |name: &str| files.keys().any(|path| path.starts_with(name));
    ensure!(holds("crs-setup.conf.example") && holds("rules"), "it holds no Core Rule Set");
    Ok(files)
}

/// A path without its first directory; `None` for that directory itself. Nothing may lead out of it.
fn inside(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) if part.to_str().is_some_and(is_plain) => parts.push(part),
            Component::CurDir => {}
            _ => bail!("`{}` is not a plain path", path.display()),
        }
    }
    ensure!(parts.len() <= 16, "`{}` lies too deep", path.display());
    let path: PathBuf = parts.iter().skip(1).collect();
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}

fn is_plain(name: &str) -> bool {
    name.len() <= 255 && !name.chars().any(|c| c.is_control() || c == '\\')
}

/// Writes the files below a new directory, which appears whole or not at all. Returns their number.
///
/// # Errors
/// What the system said.
pub(super) fn write(files: &BTreeMap<PathBuf, Vec<u8>>, into: &Path) -> anyhow::Result<usize> {
    let name = into.file_name().and_then(|name| name.to_str()).context("the directory has no name")?;
    let making = into.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::create_dir(&making).with_context(|| format!("making `{}`", making.display()))?;
    let written = fill(files, &making).and_then(|()| {
        ensure!(into.symlink_metadata().is_err(), "`{}` exists already", into.display());
        fs::rename(&making, into).with_context(|| format!("making `{}`", into.display()))
    });
    if written.is_err() {
        // What cannot be taken away is left under its hidden name, and harms nobody.
        drop(fs::remove_dir_all(&making));
    }
    written.map(|()| files.len())
}

fn fill(files: &BTreeMap<PathBuf, Vec<u8>>, directory: &Path) -> anyhow::Result<()> {
    for (path, bytes) in files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making `{}`", parent.display()))?;
        }
        fs::write(&path, bytes).with_context(|| format!("writing `{}`", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, kind, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").expect("a link");
            }
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.extend([0; 1024]);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).expect("memory");
        gzip.finish().expect("memory")
    }

    const SETUP: (&str, EntryType, &[u8]) = ("crs/crs-setup.conf.example", EntryType::Regular, b"# setup\n");
    const RULE: (&str, EntryType, &[u8]) = ("crs/rules/a.conf", EntryType::Regular, b"# rule\n");

    #[test]
    fn files_come_without_the_directory_that_holds_them() {
        let good = archive(&[("crs/", EntryType::Directory, b""), SETUP, RULE]);
        let files = unpack(&good).expect("a rule set");
        let names: Vec<_> = files.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["crs-setup.conf.example", "rules/a.conf"]);
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        for (path, kind) in [
            ("crs/../../evil", EntryType::Regular),
            ("/etc/cron.d/evil", EntryType::Regular),
            ("crs/rules/link", EntryType::Symlink),
            ("crs/rules/link", EntryType::Link),
            ("crs/rules/pipe", EntryType::Fifo),
            ("crs/a\\b", EntryType::Regular),
            ("beside", EntryType::Regular),
        ] {
            let bad = archive(&[SETUP, RULE, (path, kind, b"")]);
            assert!(unpack(&bad).is_err(), "{path} {kind:?}");
        }
    }

    #[test]
    fn a_bomb_a_double_and_what_is_no_rule_set_are_refused() {
        let zeros = vec![0; (MOST_BYTES + 1) as usize];
        assert!(unpack(&archive(&[SETUP, RULE, ("crs/zeros", EntryType::Regular, &zeros)])).is_err());
        assert!(unpack(&archive(&[SETUP, RULE, RULE])).is_err());
        assert!(unpack(&archive(&[SETUP])).is_err());
        assert!(unpack(b"not an archive").is_err());
    }
}
