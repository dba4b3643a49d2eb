//! `cargo xtask sim admission`: builds and runs the simulation, and keeps its table and its plot in `docs`.

use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::bench::{build_release, page, root};
use crate::tally::say;

const USAGE: &str = "\
usage: cargo xtask sim admission [--write] [OPTIONS]

The table of policies under floods, with the ledger, queue and limiter that ship, under injected time.

  --write             put the table into docs/benchmarks.md and the plot into docs/admission.svg
  --trace FILE        JSON lines of one's own under each policy
  --svg FILE          the plot
  --write-trace F     print the scene with an F-fold flood as JSON lines
  --slots N, --seconds S, --seeds N";

/// Runs the simulation that `args` names.
///
/// # Errors
/// Unknown arguments, or something that could not be built or run.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let Some((which, rest)) = args.split_first() else { bail!("{USAGE}") };
    ensure!(which == "admission", "{USAGE}");
    let built = build_release("tollgate-sim", "admission")?;
    let passed: Vec<&String> = rest.iter().filter(|arg| *arg != "--write").collect();
    let writes = passed.len() < rest.len();
    let mut command = Command::new(&built);
    command.args(&passed);
    if writes {
        ensure!(passed.is_empty(), "`--write` writes the scenes of the design: leave out the rest");
        command.arg("--svg").arg(root().join("docs/admission.svg"));
    }
    let output = command.output().context("the simulation cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    say(text.trim_end());
    ensure!(output.status.success(), "it failed\n{}", String::from_utf8_lossy(&output.stderr));
    if writes {
        page::write(&root(), "admission", text.trim_end())?;
    }
    Ok(())
}
