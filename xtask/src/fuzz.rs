//! `cargo xtask fuzz`: runs the targets of `fuzz/` on the project's own toolchain.
//!
//! The engine is libFuzzer, linked into each target. All it needs beyond rustup is a C++ compiler; nothing is installed
//! here. Inputs that are found go below the build folder; `fuzz/corpus` holds chosen seeds, which a test replays.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::project::{Project, answers, output};
use crate::tally::say;

/// What cargo-fuzz would pass without a sanitizer: coverage counters and the operands of comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
const SECONDS: u64 = 60;

/// Runs the named targets, or all.
pub(crate) fn run(project: &Project, args: &[String]) -> Result<()> {
    let all = targets(project)?;
    let (mut wanted, mut seconds) = (Vec::new(), SECONDS);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            seconds = args.next().and_then(|value| value.parse().ok()).context("`--seconds` takes a number")?;
        } else if all.contains(arg) {
            wanted.push(arg.clone());
        } else {
            bail!("no target `{arg}`; there are {}", all.join(", "));
        }
    }
    ensure!(answers("c++", &["--version"]), "the engine needs a C++ compiler; on Debian: apt-get install -y g++");
    let triple = host(project)?;
    // What is fuzzed is what ships: the same versions.
    fs::copy(project.root.join("Cargo.lock"), project.root.join("fuzz/Cargo.lock"))?;
    let target = project.target.join("fuzz");
    let built = project
        .cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", FLAGS)
        .status()?;
    ensure!(built.success(), "the targets do not build");
    let mut findings = Vec::new();
    for name in if wanted.is_empty() { &all } else { &wanted } {
        let found = target.join("corpus").join(name);
        let artifacts = project.root.join("fuzz/artifacts").join(name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&artifacts)?;
        say(&format!("== {name}, {seconds} s"));
        let status = Command::new(target.join(&triple).join("release").join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"])
            .arg(&found)
            .arg(project.root.join("fuzz/corpus").join(name))
            .status()?;
        if !status.success() {
            findings.push(format!("{name} (input in {})", artifacts.display()));
        }
    }
    ensure!(findings.is_empty(), "findings: {}", findings.join(", "));
    Ok(())
}

/// Every target has seeds, and they are small; a test of the gateway replays them.
pub(crate) fn corpora(project: &Project) -> Result<String> {
    const MOST_BYTES: u64 = 64 * 1024;
    let all = targets(project)?;
    let mut seeds = 0;
    for name in &all {
        let folder = project.root.join("fuzz/corpus").join(name);
        let (mut here, mut bytes) = (0, 0);
        for entry in fs::read_dir(&folder).with_context(|| format!("target `{name}` has no corpus"))? {
            here += 1;
            bytes += entry?.metadata()?.len();
        }
        ensure!(here > 0, "target `{name}` has no seed");
        ensure!(bytes <= MOST_BYTES, "the seeds of `{name}` are {bytes} bytes, more than {MOST_BYTES}");
        seeds += here;
    }
    Ok(format!("{} targets, {seeds} seeds, replayed among the tests", all.len()))
}

fn targets(project: &Project) -> Result<Vec<String>> {
    let files = crate::project::files(&project.root.join("fuzz/targets"), "rs")?;
    Ok(files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect())
}

/// The machine's own triple: naming it keeps the flags away from build scripts.
fn host(project: &Project) -> Result<String> {
    let about = output(&mut project.command("rustc", &["-vV"]))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names its host")?.to_owned())
}
