//! `cargo xtask bench contracts`: what it costs to hold a body to its contract, beside pydantic, numpy and tiktoken doing
//! the same checks on the same bodies, and what a held body costs in memory and a stream in delay.
//!
//! In every round the three take turns: our layers in one process, theirs in another, a stream straight and through.

mod memory;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::machine::Machine;
use super::process::{Core, pinned};
use super::scene::Folder;
use super::streams::Chat;
use super::{build, page, root};
use crate::peers;
use crate::project::Project;
use crate::tally::say;

use report::{Report, Row};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    quick: bool,
    json: bool,
    write: bool,
    rounds: usize,
    programs: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let quick = args.iter().any(|arg| arg == "--quick");
        let rounds = if quick { 3 } else { 7 };
        let mut options = Self { quick, json: false, write: false, rounds, programs: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => {}
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--programs" => options.programs = Some(value()?.into()),
                other => bail!("`bench contracts` takes no `{other}`"),
            }
        }
        ensure!((1..=100).contains(&options.rounds), "`--rounds` from 1 to 100");
        Ok(options)
    }
}

/// The programs.
struct Programs {
    contracts: PathBuf,
    streams: PathBuf,
    mock: PathBuf,
    tollgate: PathBuf,
    python: PathBuf,
}

impl Programs {
    fn find(options: &Options) -> anyhow::Result<Self> {
        let python = peers::python(&Project::find()?, "llamacpp")?;
        let of = |built: &[PathBuf]| match built {
            [contracts, streams, mock, tollgate] => Ok(Self {
                contracts: contracts.clone(),
                streams: streams.clone(),
                mock: mock.clone(),
                tollgate: tollgate.clone(),
                python,
            }),
            _ => bail!("a program is missing"),
        };
        if let Some(folder) = &options.programs {
            return of(&["contracts", "streams", "mock", "tollgate"].map(|name| folder.join(name)));
        }
        let bench = |name| ("tollgate-bench", name);
        of(&build::build(&[bench("contracts"), bench("streams"), bench("mock"), ("tollgate", "tollgate")])?)
    }
}

/// One round.
#[derive(Clone, Debug)]
struct Round {
    ours: Value,
    theirs: Value,
    first: Value,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find(options)?;
    let machine = Machine::read();
    let folder = Folder::make(false)?;
    let made = Command::new(&programs.contracts).arg("bodies").arg(folder.path()).status()?;
    ensure!(made.success(), "the bodies could not be written");
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        if !options.json {
            say(&format!("round {number} of {}", options.rounds));
        }
        rounds.push(round(options, &programs, folder.path())?);
    }
    let memory = memory::measure(&programs.mock, &programs.tollgate, folder.path())?;
    let versions = versions(&programs.python)?;
    let report = Report { machine, versions, rounds: options.rounds, rows: Row::all(&rounds)?, memory };
    if options.json {
        say(&format!("{:#}", report.json()));
    } else {
        say(&report.to_string());
    }
    if options.write {
        page::write(&root(), "contracts", &report.to_string())?;
    }
    let missed = report.missed();
    ensure!(missed == 0 || options.quick, "{missed} bars were missed");
    Ok(())
}

fn round(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Round> {
    let ms = if options.quick { "50" } else { "200" };
    let said = |mut command: Command| -> anyhow::Result<Value> {
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let mut ours = pinned(Core::Gateway, &programs.contracts);
    ours.args(["time", "--ms", ms]);
    let mut theirs = pinned(Core::Gateway, &programs.python);
    theirs.arg("-B").arg(root().join("bench/peers/contracts.py")).arg(folder).arg(ms);
    let (ours, theirs) = (said(ours)?, said(theirs)?);
    let count = if options.quick { "200" } else { "500" };
    let first = Chat::set(&programs.streams, &["first", "--count", count], &programs.tollgate, folder)?.report()?;
    Ok(Round { ours, theirs, first })
}

/// The versions of the other side.
fn versions(python: &Path) -> anyhow::Result<String> {
    let ask = "import sys, pydantic, numpy, tiktoken; print('Python %d.%d' % sys.version_info[:2], \
               'pydantic', pydantic.VERSION, 'numpy', numpy.__version__, 'tiktoken', tiktoken.__version__)";
    let output = Command::new(python).args(["-c", ask]).output()?;
    ensure!(output.status.success(), "the other side does not say its versions");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
