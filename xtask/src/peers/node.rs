//! The packages of npm that peers need: installed once, as `package-lock.json` pins them, below `target/peers`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::project::answers;
use crate::tally::say;

/// Where the packages are; nothing where they cannot be had, which the driver then says.
pub(super) fn packages(home: &Path, listed: &Path) -> Result<Option<PathBuf>> {
    let mut hasher = DefaultHasher::new();
    fs::read(listed.join("package-lock.json")).context("reading the list of packages")?.hash(&mut hasher);
    let folder = home.join(format!("node-{:016x}", hasher.finish()));
    // Written last: a folder without it was interrupted.
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(Some(folder));
    }
    if !answers("node", &["--version"]) || !answers("npm", &["--version"]) {
        return Ok(None);
    }
    fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(listed.join(name), folder.join(name)).context("copying the list of packages")?;
    }
    say(&format!("installing the packages of `{}`, once", listed.display()));
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    let done = npm.stdin(Stdio::null()).output().context("running npm")?;
    if !done.status.success() {
        say(&format!("npm: {}", String::from_utf8_lossy(&done.stderr).trim()));
        return Ok(None);
    }
    fs::write(&complete, "").context("marking the packages")?;
    Ok(Some(folder))
}
