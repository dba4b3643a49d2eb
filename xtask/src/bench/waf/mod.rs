//! `cargo xtask bench waf`: what the Core Rule Set costs in Tollgate and in nginx with libmodsecurity, request by request.
//!
//! Four gateways take turns in every round: nginx without and with rules, Tollgate without and with. What a request costs
//! with rules less what it costs without is the figure. `--callgrind` counts instructions instead, `--linear` looks for
//! input whose time grows faster than its length, and `bars` measures what is not CPU time.

mod bars;
mod counts;
mod report;
mod rows;
mod scene;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::build::{self, Nginx};
use super::machine::Machine;
use super::process::{Core, pinned};
use super::{page, root};
use crate::tally::say;

use bars::{Bar, Effort, Tools};
use report::Report;
use rows::Row;
use scene::{Scene, Side};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    quick: bool,
    json: bool,
    write: bool,
    keep: bool,
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    programs: Option<PathBuf>,
    what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    /// Other numbers than CPU time.
    Bars(Vec<Bar>),
    /// Count instructions, and compare them with those that are kept, or keep them.
    Callgrind { pin: bool },
    /// Gateways, then engines in one process.
    Gateways,
    /// Growth of time.
    Linear,
}

/// One row, measured: CPU microseconds of a request in every round, without and with rules.
#[derive(Clone, Debug)]
struct Measured {
    row: Row,
    rounds: Vec<Round>,
}

/// What one round gave.
#[derive(Clone, Copy, Debug)]
struct Round {
    nginx: Cost,
    ours: Cost,
}

/// The rules' share, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    median: f64,
    /// Of the dearest request.
    most: f64,
    /// Without rules.
    bare: f64,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let quick = args.iter().any(|arg| arg == "--quick");
        let mut options = Self {
            quick,
            json: false,
            write: false,
            keep: false,
            rounds: if quick { 3 } else { 7 },
            seconds: if quick { 0.3 } else { 0.8 },
            only: Vec::new(),
            programs: None,
            what: What::Gateways,
        };
        let bars: Vec<Bar> = args.iter().filter_map(|arg| Bar::named(arg)).collect();
        if !bars.is_empty() {
            options.what = What::Bars(bars);
        }
        let mut args = args.iter().filter(|arg| Bar::named(arg).is_none());
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => {}
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--keep" => options.keep = true,
                "--callgrind" if options.what == What::Gateways => options.what = What::Callgrind { pin: false },
                "--linear" => options.what = What::Linear,
                "--pin" => options.what = What::Callgrind { pin: true },
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--only" => options.only.push(value()?.clone()),
                "--programs" => options.programs = Some(value()?.into()),
                "--callgrind" => {}
                other => bail!("`bench waf` takes no `{other}`"),
            }
        }
        ensure!((1..=100).contains(&options.rounds), "`--rounds` from 1 to 100");
        ensure!((0.05..=60.0).contains(&options.seconds), "`--seconds` from 0.05 to 60");
        Ok(options)
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        What::Bars(bars) => {
            let effort = Effort { quick: options.quick, rounds: options.rounds, keep: options.keep };
            bars::run(bars, &options.find_tools()?, effort, (options.json, options.write))
        }
        What::Callgrind { pin } => counts::run(*pin),
        What::Gateways => gateways(options),
        What::Linear => linear(),
    }
}

fn gateways(options: &Options) -> anyhow::Result<()> {
    let crs = crs()?;
    let (client, mock, tollgate) = options.find_programs()?;
    let (nginx, machine) = (Nginx::find()?, Machine::read());
    let scene = Scene::set((&mock, &nginx, &tollgate), &crs, options.keep)?;
    let rows: Vec<Row> = Row::all().into_iter().filter(|row| options.measures(row)).collect();
    ensure!(!rows.is_empty(), "no row is called so");
    let mut measured = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        if !options.json {
            say(&format!("measuring {}", row.name));
        }
        let round = |round: usize| measure(options, &client, &scene, (&row, number * 1_000 + round));
        let rounds = (0..options.rounds).map(round).collect::<anyhow::Result<_>>();
        measured.push(Measured { row: row.clone(), rounds: rounds.with_context(|| row.name.to_owned())? });
    }
    let memory = (scene.rss_mb(Side::NginxRules), scene.rss_mb(Side::OurRules));
    drop(scene);
    let engines = if options.only.is_empty() { engines(&client)? } else { Value::Null };
    let report = Report { peer: nginx.version, machine, measured, engines, memory };
    let text = report.to_string();
    if options.json {
        say(&format!("{:#}", report.json()));
    } else {
        say(&text);
    }
    if options.write {
        page::write(&root(), "waf", &text)?;
    }
    let missed = report.missed();
    ensure!(missed == 0 || options.quick, "{missed} bars were missed");
    Ok(())
}

impl Options {
    /// The client, the mock model server and the gateway.
    fn find_programs(&self) -> anyhow::Result<(PathBuf, PathBuf, PathBuf)> {
        if let Some(folder) = &self.programs {
            return Ok((folder.join("waf"), folder.join("mock"), folder.join("tollgate")));
        }
        let built = build::build(&[("tollgate-bench", "waf"), ("tollgate-bench", "mock"), ("tollgate", "tollgate")])?;
        let [client, mock, tollgate] = built.as_slice() else { bail!("a program is missing") };
        Ok((client.clone(), mock.clone(), tollgate.clone()))
    }

    /// What the bars need; nginx is not among it.
    fn find_tools(&self) -> anyhow::Result<Tools> {
        let crs = crs()?;
        if let Some(folder) = &self.programs {
            let [client, load, mock, tollgate] = ["waf", "load", "mock", "tollgate"].map(|name| folder.join(name));
            return Ok(Tools { client, load, mock, tollgate, crs });
        }
        let programs = [("tollgate-bench", "waf"), ("tollgate-bench", "load"), ("tollgate-bench", "mock")];
        let built = build::build(&[&programs[..], &[("tollgate", "tollgate")]].concat())?;
        let [client, load, mock, tollgate] = built.as_slice() else { bail!("a program is missing") };
        let [client, load, mock, tollgate] = [client, load, mock, tollgate].map(Clone::clone);
        Ok(Tools { client, load, mock, tollgate, crs })
    }

    fn measures(&self, row: &Row) -> bool {
        let named = self.only.iter().any(|text| row.name.contains(text.as_str()));
        if self.only.is_empty() { !self.quick || row.is_telling() } else { named }
    }
}

/// One round: all four sides, the same requests.
fn measure(options: &Options, client: &Path, scene: &Scene, (row, seed): (&Row, usize)) -> anyhow::Result<Round> {
    let side = |side: Side| -> anyhow::Result<(f64, f64)> {
        let mut command = pinned(Core::Load, client);
        command.args(["client", "--page", row.name, "--seed", &seed.to_string()]);
        command.args(["--port", &scene.port(side).to_string(), "--seconds", &options.seconds.to_string()]);
        for pid in scene.pids(side) {
            command.args(["--watch", &pid.to_string()]);
        }
        let output = command.output().context("no client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{side:?}: {said}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let count = |name: &str| report[name].as_u64().context("a report of another form");
        // Words drawn by lot now and then look like an attack, to either side, at the end of phase 2: it costs the same.
        let is_prose = row.name.starts_with("prose");
        ensure!(is_prose || count("refused")? == 0, "{side:?}: ordinary traffic was refused: {report}");
        let number = |name: &str| report["cpu_us"][name].as_f64().context("a report of another form");
        Ok((number("p50")?, number("max")?))
    };
    let cost =
        |(bare, _): (f64, f64), (median, most): (f64, f64)| Cost { median: median - bare, most: most - bare, bare };
    let nginx = cost(side(Side::Nginx)?, side(Side::NginxRules)?);
    let ours = cost(side(Side::Ours)?, side(Side::OurRules)?);
    Ok(Round { nginx, ours })
}

/// The engines alone.
fn engines(program: &Path) -> anyhow::Result<Value> {
    let output = pinned(Core::Gateway, program).arg("engines").output()?;
    ensure!(output.status.success(), "`engines` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn linear() -> anyhow::Result<()> {
    let built = build::build(&[("tollgate-conformance", "counted")])?;
    let status = Command::new(&built[0]).arg("linear").env("TOLLGATE_CRS_DIR", crs()?).status()?;
    ensure!(status.success(), "time grows faster than length");
    Ok(())
}

/// The Core Rule Set: both sides run the same files.
fn crs() -> anyhow::Result<PathBuf> {
    let beside = || root().join("../shared/crs");
    let path = std::env::var_os("TOLLGATE_CRS_DIR").map_or_else(beside, PathBuf::from);
    ensure!(path.join("rules").is_dir(), "no Core Rule Set: let `TOLLGATE_CRS_DIR` name its folder");
    Ok(path.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::{Bar, Options, What};

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn instructions_are_counted_and_kept_when_that_is_asked() {
        assert_eq!(parse("").expect("sound").what, What::Gateways);
        assert_eq!(parse("--callgrind").expect("sound").what, What::Callgrind { pin: false });
        for line in ["--callgrind --pin", "--pin --callgrind"] {
            assert_eq!(parse(line).expect("sound").what, What::Callgrind { pin: true });
        }
        assert_eq!(parse("--stall --memory").expect("sound").what, What::Bars(vec![Bar::Stall, Bar::Memory]));
        for line in ["--rounds", "--rounds 0", "--seconds 0", "--fast"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
