//! `cargo xtask test`: every check of the project in order, each with a heading and its time.
//!
//! A check that cannot run is never passed in silence: it is named, counted as skipped, and a peer test that cannot run
//! fails in CI.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::project::{Project, answers, output};
use crate::tally::{Tally, say};
use crate::{docs, fuzz, load, needs, peers, schema, shape, stores};

/// How a step ended.
pub(crate) enum Done {
    /// Well, with a remark.
    Passed(String),
    /// Well or not, with counts of its own.
    Counted(Tally),
    /// Not at all, and why.
    NotRun(String),
}

type Step = (&'static str, fn(&Project) -> Result<Done>);

const STEPS: [Step; 17] = [
    ("system packages", needs::run),
    ("format", |project| quiet(&mut project.cargo(&["fmt", "--all", "--check"]))),
    ("build", build),
    ("clippy", |project| {
        quiet(&mut project.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    }),
    ("unit tests, integration tests, doctests", tests),
    ("Core Rule Set", core_rule_set),
    ("store of shared budgets against Valkey", stores::run),
    ("shape", |project| shape::run(project).map(Done::Passed)),
    ("schema drift", |project| schema::run(project, true).map(|()| Done::Passed(String::new()))),
    ("docs drift", |project| docs::run(project, true).map(|()| Done::Passed(String::new()))),
    ("configurations of README, docs and examples", load::run),
    ("fuzz targets keep their corpus", |project| fuzz::corpora(project).map(Done::Passed)),
    ("one crypto provider", one_provider),
    ("demo", demo),
    ("real peers", peers),
    ("cargo deny", |project| extra(project, "deny", &["check"])),
    ("typos", typos),
];

/// Steps without which no other means anything.
const FIRST: &str = "build";

/// Runs every step.
pub(crate) fn run(project: &Project) -> Result<ExitCode> {
    let (began, mut total, mut remarks) = (now(), Tally::default(), Vec::new());
    for (name, step) in STEPS {
        say(&format!("\n== {name}"));
        let started = now();
        let (tally, verdict) = match step(project) {
            Ok(Done::Passed(remark)) if remark.is_empty() => (Tally::PASSED, "passed".to_owned()),
            Ok(Done::Passed(remark)) => (Tally::PASSED, format!("passed: {remark}")),
            Ok(Done::Counted(tally)) if tally.failed > 0 => (tally, format!("FAILED: {tally}")),
            Ok(Done::Counted(tally)) if tally.skipped > 0 => (tally, format!("NOT ALL RUN: {tally}")),
            Ok(Done::Counted(tally)) => (tally, format!("passed: {tally}")),
            Ok(Done::NotRun(why)) => (Tally::SKIPPED, format!("NOT RUN: {why}")),
            Err(error) => (Tally::FAILED, format!("FAILED: {error:#}")),
        };
        say(&format!("   {verdict} ({})", seconds(started.elapsed())));
        total += tally;
        if tally.failed > 0 || tally.skipped > 0 {
            remarks.push(format!("   {name}: {verdict}"));
        }
        if tally.failed > 0 && name == FIRST {
            break;
        }
    }
    say(&format!("\n== result after {}", seconds(began.elapsed())));
    for remark in remarks {
        say(&remark);
    }
    Ok(verdict(&total))
}

/// The closing line, and the exit code.
pub(crate) fn verdict(total: &Tally) -> ExitCode {
    say(&format!("xtask: {total}"));
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A command that speaks for itself.
fn quiet(command: &mut Command) -> Result<Done> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let what = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let status = command.status().with_context(|| format!("`{what}` cannot be started"))?;
    if status.success() { Ok(Done::Passed(String::new())) } else { bail!("`{what}`") }
}

/// Builds programs and tests with one set of features, so that what is tested is what the later steps run.
fn build(project: &Project) -> Result<Done> {
    let done = quiet(&mut project.cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    project.is_built.set(true);
    Ok(done)
}

/// Runs every test and adds up what each test program says.
fn tests(project: &Project) -> Result<Done> {
    let mut command = project.cargo(&["test", "--workspace", "--no-fail-fast"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().context("the output is piped")?).lines();
    let mut total = Tally::default();
    for line in lines {
        let line = line?;
        if let Some(tally) = Tally::of_line(&line) {
            total += tally;
        } else if line.is_empty() || line.starts_with("running ") || line.ends_with("... ok") {
            continue;
        }
        say(&line);
    }
    // A test program that did not build or was killed has no line of its own.
    if !child.wait()?.success() && total.failed == 0 {
        total.failed = 1;
    }
    Ok(Done::Counted(total))
}

/// The tests of the Core Rule Set ran among the others; here they say how many passed, of which kind.
fn core_rule_set(project: &Project) -> Result<Done> {
    let args = ["test", "--package", "tollgate-seclang", "--test", "crs", "--test", "suites", "--", "--nocapture"];
    let text = output(&mut project.cargo(&args))?;
    let (mut counted, mut not_run) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some((_, why)) = line.split_once("not run: ") {
            not_run.push(why.to_owned());
        } else if let Some((_, count)) = line.split_once("crs: ").or_else(|| line.split_once("suites: ")) {
            counted.push(count.to_owned());
        }
    }
    not_run.dedup();
    if not_run.is_empty() { Ok(Done::Passed(counted.join("; "))) } else { Ok(Done::NotRun(not_run.join("; "))) }
}

/// `ring` would be a second crypto provider, and rustls would then ask which of them is meant.
fn one_provider(project: &Project) -> Result<Done> {
    let args = ["tree", "--workspace", "--edges", "normal,build,dev", "--invert", "ring"];
    let done = project.cargo(&args).output()?;
    let text = String::from_utf8_lossy(&done.stdout);
    let unknown = String::from_utf8_lossy(&done.stderr).contains("did not match any packages");
    if !done.status.success() && !unknown {
        bail!("`cargo tree` failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    if text.trim().is_empty() { Ok(Done::Passed("no `ring`".into())) } else { bail!("`ring` is used:\n{text}") }
}

/// The tour that the README promises, from the tests' own build.
fn demo(project: &Project) -> Result<Done> {
    const PATIENCE: Duration = Duration::from_mins(3);
    let program = project.tollgate()?;
    let folder = project.scratch("demo")?;
    let mut child = project.command(program, &["demo", "--once"]).current_dir(folder).spawn()?;
    let began = now();
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(Done::Passed(String::new())) } else { bail!("it ended with {status}") };
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("it was still running after {}", seconds(PATIENCE));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Tests against other servers and clients.
fn peers(project: &Project) -> Result<Done> {
    peer_tally(project, &[]).map(Done::Counted)
}

/// `cargo xtask peers`: only them, or only some of them.
pub(crate) fn peers_alone(project: &Project, suites: &[String]) -> Result<ExitCode> {
    let tally = peer_tally(project, suites)?;
    say(&format!("xtask: {tally}"));
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// In CI, a peer test that cannot run has failed.
fn peer_tally(project: &Project, suites: &[String]) -> Result<Tally> {
    let outcome = peers::run(project, suites)?;
    for what in &outcome.not_run {
        say(&format!("   NOT RUN: {what}"));
    }
    let Tally { passed, failed, skipped: not_run } = outcome.tally();
    let (failed, skipped) = if is_ci() { (failed + not_run, 0) } else { (failed, not_run) };
    Ok(Tally { passed, failed, skipped })
}

pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// A checker of cargo that not everybody has.
fn extra(project: &Project, name: &str, args: &[&str]) -> Result<Done> {
    if output(&mut project.cargo(&[name, "--version"])).is_err() {
        return Ok(Done::NotRun(format!("`cargo install --locked cargo-{name}` would give it")));
    }
    quiet(project.cargo(&[name]).args(args))
}

/// Installs the checker where the machine has none.
fn typos(project: &Project) -> Result<Done> {
    if answers("typos", &["--version"]) {
        return quiet(&mut project.command("typos", &[]));
    }
    match peers::python(project, "typos") {
        Ok(python) => quiet(&mut project.command(python.with_file_name("typos"), &[])),
        Err(error) => Ok(Done::NotRun(format!("{error:#}"))),
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver measures how long its steps take")]
fn now() -> Instant {
    Instant::now()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
