//! `cargo xtask loom`: the lock-free protocol of the limiter in every order of its steps.

use anyhow::{Result, ensure};

use crate::project::Project;

/// Builds the limiter with loom's atomics, in a target directory of its own, and runs the models.
///
/// # Errors
/// A model that fails, or that does not build.
pub(crate) fn run(project: &Project) -> Result<()> {
    let directory = project.target.join("loom");
    let directory = directory.to_string_lossy();
    let args = ["test", "--release", "--package", "tollgate-limit", "--lib", "--target-dir", &directory, "loom"];
    let status = project.cargo(&args).env("RUSTFLAGS", "--cfg loom").status()?;
    ensure!(status.success(), "a model failed");
    Ok(())
}
