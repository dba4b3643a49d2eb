//! `cargo xtask bench`: runs the benchmarks and keeps their page, `docs/benchmarks.md`.
//!
//! `proxy`, `waf`, `contracts`, `fairness`, `nodes` and `streams` are driven from here: they need peers, pinned cores and interleaved rounds. The others are programs of
//! `bench/` that need nobody; they are built, run and written down.

mod build;
mod cells;
mod contracts;
mod fairness;
mod load;
mod machine;
mod nodes;
pub(crate) mod page;
mod process;
mod proxy;
mod report;
mod scene;
mod spread;
mod streams;
mod waf;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::tally::say;

/// Benchmarks that are programs of their own.
const PROGRAMS: [&str; 6] = ["auth", "authz", "embedded", "keys", "limits", "parse"];

const USAGE: &str = "\
usage: cargo xtask bench proxy [OPTIONS]        nginx and Tollgate side by side
       cargo xtask bench limits [OPTIONS]       nanoseconds of a decision, beside governor
       cargo xtask bench auth [OPTIONS]         knowing who asks: a key, a token seen before, a new one
       cargo xtask bench authz [OPTIONS]        microseconds of a decision with 4, 200 and 2000 policies
       cargo xtask bench keys [OPTIONS]         a key among a million, and whether the time of a refusal tells why
       cargo xtask bench embedded|parse [OPTIONS]
       cargo xtask bench contracts [OPTIONS]    bodies held to their contracts, beside pydantic and numpy
       cargo xtask bench fairness [OPTIONS]     a flood of dear requests before eight places, beside nginx,
                                                Envoy and LiteLLM
       cargo xtask bench nodes [OPTIONS]        gateway processes that share a limit in one redis-server
       cargo xtask bench streams [OPTIONS]      ten thousand streams of events at once
       cargo xtask bench waf [OPTIONS]          the Core Rule Set in Tollgate and in nginx with libmodsecurity
       cargo xtask bench waf --callgrind [--pin]
                                                instructions of four bodies, beside those of bench/waf-counts.txt
       cargo xtask bench waf --linear           every shape of input, doubled up to 10 MB
       cargo xtask bench waf --memory --reload --load --stall --stream --pack
                                                each, or all: numbers besides CPU time, each beside its bar; needs no nginx

  --write          put the result into docs/benchmarks.md, with the machine described
  --json           print one JSON document instead of a table
  --quick          under a minute (building excluded), for a look: bars are shown, and only bad answers fail

proxy only:
  --rounds N       interleaved rounds of each cell (default 7)
  --seconds S      measured seconds of each run (default 3, after 1 of warm-up)
  --only TEXT      only cells whose name contains TEXT, such as `plain`, `12KB` or `all`; may be repeated
  --streams N      HTTP/2 streams at once on each connection; 64 requests at once in any case (default 1)
  --no-latency     leave out the open loop
  --control        nginx against itself: how far from 1 this machine is without any difference
  --tollgate FILE  that binary instead of a build of this tree
  --keep           leave configurations and logs where they are

fairness: --seconds S (default 60), --deaf (the server works on for clients that have left), and
  --tollgate FILE, --flood FILE
                   those programs instead of builds of this tree

nodes: --seconds S (default 15), --store FILE (a valkey-server, instead of `redis-server`), --tollgate FILE

contracts: --rounds as above; streams: --streams N (default 10000), --seconds S (default 60); both:
  --programs DIR   programs of that folder instead of a build of this tree

waf only: --rounds, --seconds, --only and --keep as above, and
  --programs DIR   `waf`, `mock` and `tollgate` of that folder instead of a build of this tree";

/// Runs the benchmark that `args` names.
///
/// # Errors
/// Unknown arguments, something that could not be built, started or measured, an answer that was not as it should be,
/// and, unless it was a quick look, a missed bar.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let Some((which, rest)) = args.split_first() else { bail!("{USAGE}") };
    match which.as_str() {
        "-h" | "--help" => {
            say(USAGE);
            Ok(())
        }
        "proxy" => proxy::run(&proxy::Options::parse(rest).with_context(|| USAGE)?),
        "contracts" => contracts::run(&contracts::Options::parse(rest).with_context(|| USAGE)?),
        "fairness" => fairness::run(&fairness::Options::parse(rest).with_context(|| USAGE)?),
        "nodes" => nodes::run(&nodes::Options::parse(rest).with_context(|| USAGE)?),
        "streams" => streams::run(&streams::Options::parse(rest).with_context(|| USAGE)?),
        "waf" => waf::run(&waf::Options::parse(rest).with_context(|| USAGE)?),
        program if PROGRAMS.contains(&program) => run_program(program, rest),
        other => bail!("no benchmark is called `{other}`\n{USAGE}"),
    }
}

fn run_program(program: &str, args: &[String]) -> anyhow::Result<()> {
    let built = build::build(&[("tollgate-bench", program)])?;
    let passed: Vec<&String> = args.iter().filter(|arg| *arg != "--write").collect();
    let output = Command::new(&built[0]).args(&passed).current_dir(root()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    say(text.trim_end());
    if passed.len() < args.len() {
        ensure!(!passed.iter().any(|arg| *arg == "--json"), "`--write` writes the table: leave out `--json`");
        page::write(&root(), program, &format!("```text\n{}\n```\n\n{}", text.trim_end(), machine::Machine::read()))?;
    }
    ensure!(output.status.success(), "`{program}` failed\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Builds one program with the profile `release`: what decides there is how it decides, not how fast.
pub(crate) fn build_release(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    build::build_with("release", &[(package, program)])?.pop().context("no program was built")
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}
