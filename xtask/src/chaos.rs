//! `cargo xtask chaos`: a gateway before model servers that misbehave, for as long as one likes.

use anyhow::{Context, Result, bail, ensure};

use crate::project::Project;

/// Ten minutes unless told.
const MINUTES: u64 = 10;

/// Runs the chaos test of the gateway for `--minutes N`, from `--seed N`. Everything is on loopback and ends by itself.
///
/// # Errors
/// An argument that is none, or what did not hold.
pub(crate) fn run(project: &Project, args: &[String]) -> Result<()> {
    let (mut minutes, mut seed) = (MINUTES, 1);
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let number = args.next().and_then(|text| text.parse().ok());
        let number: u64 = number.with_context(|| format!("`{flag}` wants a number"))?;
        match flag.as_str() {
            "--minutes" => minutes = number,
            "--seed" => seed = number,
            _ => bail!("`{flag}` is neither `--minutes` nor `--seed`"),
        }
    }
    ensure!((1..=120).contains(&minutes), "between 1 and 120 minutes");
    let args = ["test", "--package", "tollgate-gateway", "--test", "chaos", "--", "--nocapture"];
    let mut command = project.cargo(&args);
    command.env("TOLLGATE_CHAOS_SECONDS", (minutes * 60).to_string()).env("TOLLGATE_CHAOS_SEED", seed.to_string());
    ensure!(command.status()?.success(), "something did not hold");
    Ok(())
}
