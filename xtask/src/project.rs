//! Where the project is, and how its programs are started.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The checked-out project.
pub(crate) struct Project {
    /// The folder of the workspace.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// What `cargo metadata` says.
    pub(crate) metadata: Value,
    /// Whether the `tollgate` program of the tests' own build is there: no second profile, no second feature set.
    pub(crate) is_built: Cell<bool>,
    cargo: OsString,
}

impl Project {
    /// Finds the workspace that this program belongs to.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in the workspace")?;
        let metadata = Command::new(&cargo)
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("`cargo metadata` cannot be started")?;
        ensure!(metadata.status.success(), "`cargo metadata` failed");
        let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
        let target = metadata["target_directory"].as_str().context("cargo names its target folder")?.into();
        Ok(Self { root: root.to_owned(), target, metadata, is_built: Cell::new(false), cargo })
    }

    /// A cargo command in the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        self.command(&self.cargo, args)
    }

    /// A command in the workspace.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// The `tollgate` program, built if need be.
    pub(crate) fn tollgate(&self) -> Result<PathBuf> {
        if !self.is_built.get() {
            let built = self.cargo(&["build", "--quiet", "--package", "tollgate"]).status()?;
            ensure!(built.success(), "`tollgate` does not build");
        }
        let program = self.target.join("debug/tollgate");
        ensure!(program.exists(), "`{}` was not built", program.display());
        Ok(program)
    }

    /// An empty folder for one step.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join("xtask").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Writes a generated file, or, if `check`, says that it is not as generated.
    pub(crate) fn generated(&self, path: &str, text: &str, check: bool, verb: &str) -> Result<()> {
        let file = self.root.join(path);
        if !check {
            fs::create_dir_all(file.parent().context("a file stands in a folder")?)?;
            return fs::write(&file, text).with_context(|| format!("`{path}` cannot be written"));
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        if written == text {
            return Ok(());
        }
        let differs = written.lines().zip(text.lines()).position(|(old, new)| old != new);
        let line = differs.unwrap_or_else(|| written.lines().count().min(text.lines().count())) + 1;
        bail!("`{path}` is not as generated, from line {line} on; run `cargo xtask {verb}`")
    }
}

/// What a command printed, if it went well.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let what = format!("{command:?}");
    let done = command.output().with_context(|| format!("{what} cannot be started"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "{what} failed: {text}{}", String::from_utf8_lossy(&done.stderr).trim_end());
    Ok(text)
}

/// Whether a program answers, whatever it says.
pub(crate) fn answers(program: &str, args: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// Every file below `folder` whose name ends in `.{ending}`, in order; not those of builds and of version control.
pub(crate) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("`{}` cannot be read", folder.display()))?
        .collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, ending)?);
            }
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    Ok(found)
}
