//! `cargo xtask bench proxy`: nginx and Tollgate, one after the other in every round, in front of the same mock server.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use super::build::{self, Nginx};
use super::cells::{Cell, Size, Transport};
use super::load::{Closed, Open, Run};
use super::machine::Machine;
use super::report::{Memory, Report};
use super::scene::{Gateway, Programs, Scene};
use super::{page, process, root};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    quick: bool,
    json: bool,
    write: bool,
    control: bool,
    keep: bool,
    latency: bool,
    rounds: usize,
    warmup: f64,
    seconds: f64,
    streams: usize,
    only: Vec<String>,
    tollgate: Option<PathBuf>,
}

/// One cell, measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) cell: Cell,
    pub(super) rounds: Vec<Round>,
    pub(super) latency: Vec<Latency>,
}

/// Both sides, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) peer: Closed,
    pub(super) ours: Closed,
}

/// The open loop, through each and through none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    /// Straight to the mock server, which speaks no TLS.
    pub(super) direct: Option<Open>,
    pub(super) peer: Open,
    pub(super) ours: Open,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let quick = args.iter().any(|arg| arg == "--quick");
        let mut options = Self {
            quick,
            json: false,
            write: false,
            control: false,
            keep: false,
            latency: true,
            rounds: if quick { 3 } else { 7 },
            warmup: if quick { 0.25 } else { 1.0 },
            seconds: if quick { 0.6 } else { 3.0 },
            streams: 1,
            only: Vec::new(),
            tollgate: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => {}
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--control" => options.control = true,
                "--keep" => options.keep = true,
                "--no-latency" => options.latency = false,
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--streams" => options.streams = value()?.parse()?,
                "--only" => options.only.push(value()?.clone()),
                "--tollgate" => options.tollgate = Some(value()?.into()),
                other => bail!("`bench proxy` takes no `{other}`"),
            }
        }
        ensure!((1..=100).contains(&options.rounds), "`--rounds` from 1 to 100");
        ensure!((0.1..=60.0).contains(&options.seconds), "`--seconds` from 0.1 to 60");
        ensure!((1..=64).contains(&options.streams), "`--streams` from 1 to 64");
        ensure!(!(options.write && options.control), "a control is not written down");
        Ok(options)
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = Cell::all(self.quick);
        let named = |cell: &Cell| self.only.iter().any(|text| cell.to_string().contains(text.as_str()));
        cells.retain(|cell| self.only.is_empty() || named(cell));
        cells
    }

    fn programs(&self) -> anyhow::Result<Programs> {
        let mut wanted = vec![("tollgate-bench", "load"), ("tollgate-bench", "mock"), ("tollgate-bench", "fixtures")];
        if self.tollgate.is_none() && !self.control {
            wanted.push(("tollgate", "tollgate"));
        }
        let mut built = build::build(&wanted)?.into_iter();
        let mut next = || built.next().context("a program is missing");
        let (load, mock, fixtures) = (next()?, next()?, next()?);
        let tollgate = if self.control { None } else { self.tollgate.clone().or_else(|| built.next()) };
        Ok(Programs { nginx: Nginx::find()?, load, mock, fixtures, tollgate })
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let cells = options.cells();
    ensure!(!cells.is_empty(), "no cell is called so");
    let programs = options.programs()?;
    let machine = Machine::read();
    let scene = Scene::set(&programs, options.keep)?;
    let idle = Memory::of(&scene);
    let bench = Bench { options, programs: &programs, scene: &scene };
    let measured: Vec<_> = cells.iter().map(|cell| (*cell, bench.cell(*cell))).collect();
    let report = Report {
        peer: programs.nginx.version.clone(),
        control: options.control,
        pinned: process::can_pin(),
        streams: options.streams,
        seconds: options.seconds,
        machine,
        measured: measured
            .into_iter()
            .map(|(cell, result)| (cell, result.map_err(|error| format!("{error:#}"))))
            .collect(),
        idle,
        after: Memory::of(&scene),
    };
    if options.json {
        println!("{:#}", report.json());
    } else {
        println!("{report}");
    }
    if options.keep {
        println!("configurations and logs: {}", scene.folder.path().display());
    }
    if options.write {
        page::write(&root(), "proxy", &report.to_string())?;
    }
    let (invalid, missed) = (report.invalid(), report.missed());
    ensure!(invalid == 0, "{invalid} cells are invalid");
    ensure!(missed == 0 || options.quick, "{missed} bars were missed");
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    programs: &'a Programs,
    scene: &'a Scene,
}

impl Bench<'_> {
    fn cell(&self, cell: Cell) -> anyhow::Result<Measured> {
        if !self.options.json {
            println!("measuring {cell}");
        }
        let rounds = (0..self.options.rounds).map(|_| self.round(cell)).collect::<anyhow::Result<_>>()?;
        let latency = if self.options.latency && self.is_timed(cell) {
            (0..if self.options.quick { 1 } else { 3 }).map(|_| self.latency(cell)).collect::<anyhow::Result<_>>()?
        } else {
            Vec::new()
        };
        Ok(Measured { cell, rounds, latency })
    }

    fn round(&self, cell: Cell) -> anyhow::Result<Round> {
        let side = |gateway: &Gateway| {
            let run = self.load(cell, gateway.port(cell.transport));
            run.closed(self.options.streams, &gateway.pids())
        };
        let round = Round { peer: side(&self.scene.peer)?, ours: side(self.scene.ours(cell))? };
        self.scene.truncate_log()?;
        Ok(round)
    }

    fn latency(&self, cell: Cell) -> anyhow::Result<Latency> {
        let open = |port| {
            let mut run = self.load(cell, port);
            (run.warmup, run.seconds) = (run.warmup / 2.0, run.seconds.min(2.0));
            run.open()
        };
        let transport = cell.transport;
        Ok(Latency {
            direct: (transport == Transport::Plain).then(|| open(self.scene.mock)).transpose()?,
            peer: open(self.scene.peer.port(transport))?,
            ours: open(self.scene.ours(cell).port(transport))?,
        })
    }

    fn load(&self, cell: Cell, port: u16) -> Run<'_> {
        Run {
            program: &self.programs.load,
            dir: self.scene.folder.path(),
            cell,
            port,
            warmup: self.options.warmup,
            seconds: self.options.seconds,
        }
    }

    /// A quick look has time for the latency of two cells.
    fn is_timed(&self, cell: Cell) -> bool {
        !self.options.quick || (cell.transport == Transport::Plain && cell.size == Size::B100)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_quick_look_measures_less_and_the_rest_overrides_it() {
        let options = parse("--rounds 5 --quick --only plain").expect("sound");
        assert_eq!((options.rounds, options.cells().len()), (5, 5));
        assert!(options.seconds < 1.0 && parse("").expect("sound").seconds == 3.0);
        assert_eq!(parse("--only all --only 1MB").expect("sound").cells().len(), 12);
        assert_eq!(parse("--only 7KB").expect("sound").cells().len(), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--rounds", "--rounds 0", "--rounds x", "--seconds 1e9", "--fast", "--write --control"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
