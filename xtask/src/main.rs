//! The project's one driver: `cargo xtask test` is what the README, contributors and CI run.
//!
//! It starts programs, reads what they print and adds it up. It holds no knowledge of the product beyond the names of
//! its crates and files.

mod bench;
mod chaos;
mod docs;
mod fuzz;
mod load;
mod loom;
mod needs;
mod peers;
mod project;
mod schema;
mod shape;
mod sim;
mod stores;
mod tally;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

use project::Project;
use tally::say;

const USAGE: &str = "\
usage: cargo xtask VERB

  test                    every check, in order: what CI runs
  shape                   crate arrows, layer folders, size rules
  schema [--check]        write schema/tollgate.schema.json, or say whether it is as generated
  docs [--check]          write docs/reference, or say whether it is as generated
  fuzz [TARGET…] [--seconds N]
                          run the fuzz targets, 60 seconds each unless told
  chaos [--minutes N] [--seed N]
                          the gateway before servers that hang, reset, lie, disappear and return; 10 minutes unless told
  loom                    the limiter's lock-free protocol in every order of its steps, under a minute once built
  peers [SUITE…]          the gateway against real clients and real servers
  stores                  the tests of the store of shared budgets against Valkey
  bench …                 run a benchmark; `bench --help` says which
  sim admission …         what admission buys, simulated with the code that ships; `sim` says more
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((verb, rest)) = args.split_first() else { bail!("what to do?\n{USAGE}") };
    let check = match rest {
        [] => false,
        [flag] if flag == "--check" => true,
        _ if matches!(verb.as_str(), "bench" | "chaos" | "fuzz" | "peers" | "sim") => false,
        _ => bail!("`{}` is not for `{verb}`\n{USAGE}", rest.join(" ")),
    };
    let project = Project::find()?;
    match verb.as_str() {
        "bench" => bench::run(rest)?,
        "chaos" => chaos::run(&project, rest)?,
        "docs" => docs::run(&project, check)?,
        "fuzz" => fuzz::run(&project, rest)?,
        "loom" => loom::run(&project)?,
        "peers" => return test::peers_alone(&project, rest),
        "schema" => schema::run(&project, check)?,
        "shape" => say(&shape::run(&project)?),
        "sim" => sim::run(rest)?,
        "stores" => match stores::run(&project)? {
            test::Done::Counted(tally) => return Ok(test::verdict(&tally)),
            test::Done::NotRun(why) | test::Done::Passed(why) => say(&format!("NOT RUN: {why}")),
        },
        "test" => return test::run(&project),
        "help" | "-h" | "--help" => say(USAGE),
        _ => bail!("no verb `{verb}`\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
