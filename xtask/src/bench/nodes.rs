//! `cargo xtask bench nodes`: two and four gateway processes that share a limit in one redis-server, under more load than it
//! allows; the server is killed and started again in mid-load.

mod clients;
mod crew;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use self::clients::{Load, Seen};
use self::crew::{Budget, Crew};
use super::machine::Machine;
use super::scene::Folder;
use super::{build, page, root};
use crate::tally::say;

/// What is offered is so many times what is allowed.
const FLOOD: u64 = 10;
/// Of all processes together; each of them asks for half a second of it at once, at most.
const TIGHT: Budget = Budget { burst: 300, rate: 300 };
/// Enough for whatever is offered: then every request is admitted.
const WIDE: Budget = Budget { burst: 100_000, rate: 100_000 };
/// What is offered to that, a second.
const CALM: u64 = 1_500;

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(3);

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    json: bool,
    write: bool,
    quick: bool,
    seconds: u32,
    store: Option<PathBuf>,
    tollgate: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { json: false, write: false, quick: false, seconds: 15, store: None, tollgate: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => (options.quick, options.seconds) = (true, 4),
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--seconds" => options.seconds = value()?.parse()?,
                "--store" => options.store = Some(value()?.into()),
                "--tollgate" => options.tollgate = Some(value()?.into()),
                other => bail!("`bench nodes` takes no `{other}`"),
            }
        }
        ensure!(
            (3..=25).contains(&options.seconds),
            "`--seconds` from 3 to 25: five runs are to end within three minutes"
        );
        Ok(options)
    }
}

/// What happens to the store during a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Killed,
    Stays,
}

/// What a run found.
#[derive(Clone, Copy, Debug)]
struct Row {
    nodes: usize,
    fate: Fate,
    /// Admitted ÷ allowed.
    ratio: f64,
    /// What was offered ÷ allowed.
    offered: f64,
    /// Decisions without a round trip, of all that were admitted by a lease.
    at_once: f64,
    /// Waits for the store: how many, how many longer than 5 ms, and how many decisions there were.
    waits: Waits,
    seen: Seen,
    /// How long after the server accepted again the last process was on leases.
    back: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    all: f64,
    long: f64,
    decisions: f64,
}

/// One line of the report, and whether it met its bar.
struct Bar {
    what: String,
    measured: String,
    bar: &'static str,
    met: Option<bool>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let tollgate = match &options.tollgate {
        Some(program) => program.clone(),
        None => build::build(&[("tollgate", "tollgate")])?.pop().context("no program")?,
    };
    let store = options.store.clone().unwrap_or_else(|| "redis-server".into());
    let version = crew::version(&store)?;
    let (machine, folder) = (Machine::read(), Folder::make(false)?);
    let seconds = Duration::from_secs(options.seconds.into());
    let mut rows = Vec::new();
    let start = |nodes, budget| Crew::start((&tollgate, &store), (nodes, budget), folder.path());
    for (nodes, fate) in [(2, Fate::Stays), (4, Fate::Stays), (2, Fate::Killed), (4, Fate::Killed)] {
        say(&format!("{nodes} processes, the store {}, {seconds:?} …", fate.word()));
        let mut crew = start(nodes, TIGHT)?;
        rows.push(flood(&mut crew, fate, seconds)?);
    }
    say(&format!("2 processes and a limit that refuses nobody, {seconds:?} …"));
    let wide = flood(&mut start(2, WIDE)?, Fate::Stays, seconds)?;
    let bars: Vec<_> = rows.iter().flat_map(Row::bars).chain([wide.at_once_bar()]).collect();
    let text = text(&bars, (&rows, options), &version, &machine);
    if options.json {
        let rows: Vec<_> = rows.iter().chain([&wide]).map(Row::json).collect();
        say(&format!("{:#}", json!({ "bench": "nodes", "machine": machine.json(), "store": version, "rows": rows })));
    } else {
        say(&text);
    }
    if options.write {
        page::write(&root(), "nodes", &text)?;
    }
    let missed: Vec<_> = bars.iter().filter(|bar| bar.met == Some(false)).map(|bar| bar.what.as_str()).collect();
    ensure!(options.quick || missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// Loads all processes for a while, during which the store has its fate.
fn flood(crew: &mut Crew, fate: Fate, seconds: Duration) -> anyhow::Result<Row> {
    let budget = crew.budget;
    let per_second = if budget.rate == TIGHT.rate { budget.rate * FLOOD } else { CALM };
    let load = Load::start(&crew.ports(), per_second)?;
    let mut back = None;
    let rest = match fate {
        Fate::Stays => seconds,
        Fate::Killed => {
            std::thread::sleep(seconds / 3);
            crew.kill_the_store();
            std::thread::sleep(AWAY);
            back = Some(crew.restore()?);
            seconds / 3
        }
    };
    std::thread::sleep(rest);
    let (seen, took) = load.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let (allowed, admitted, offered) = (
        budget.burst as f64 + budget.rate as f64 * took.as_secs_f64(),
        seen.admitted as f64,
        (seen.admitted + seen.refused) as f64,
    );
    let (leased, waited) = (crew.judged(&["leased"])?, crew.judged(&["waited"])?);
    let waits = Waits {
        all: crew.sum("tollgate_store_wait_seconds_count")?,
        long: crew.sum("tollgate_store_wait_seconds_count")?
            - crew.sum("tollgate_store_wait_seconds_bucket{le=\"0.005\"}")?,
        decisions: crew.judged(&["leased", "waited", "recalled", "away", "late", "strict"])?,
    };
    let nodes = crew.gateways.len();
    let (ratio, offered, at_once) = (admitted / allowed, offered / allowed, leased / (leased + waited));
    Ok(Row { nodes, fate, ratio, offered, at_once, waits, seen, back })
}

impl Fate {
    const fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed and started again",
            Self::Stays => "stays",
        }
    }
}

impl Row {
    fn bars(&self) -> Vec<Bar> {
        let (whole, name) = (0.97..=1.0, format!("{} processes, the store {}", self.nodes, self.fate.word()));
        let (bar, met) = match self.fate {
            Fate::Stays => ("0.97–1.00", whole.contains(&self.ratio)),
            Fate::Killed => ("0.8–1.1", (0.8..=1.1).contains(&self.ratio)),
        };
        let Waits { all, long, decisions } = self.waits;
        let mut bars = vec![
            Bar {
                what: format!("{name}: admitted ÷ allowed"),
                measured: format!("{:.4} of {:.1} offered", self.ratio, self.offered),
                bar,
                met: Some(met),
            },
            Bar {
                what: format!("{name}: decisions that waited over 5 ms for it"),
                measured: format!(
                    "{long} of {all} waits ({:.2} %), {decisions} decisions; a sleep of 3 ms: {:.2} %",
                    100.0 * long / all.max(1.0),
                    100.0 * self.seen.asleep
                ),
                bar: "0, or no larger part than of the sleeps",
                met: Some(long / all.max(1.0) <= self.seen.asleep),
            },
            Bar {
                what: format!("{name}: answers after more than 5 ms, with the budget and without"),
                measured: format!("{:.2} %, {:.2} %", 100.0 * self.seen.slow, 100.0 * self.seen.slow_without),
                bar: "stated",
                met: None,
            },
        ];
        bars.extend(self.back.map(|back| Bar {
            what: format!("{name}: on leases after it accepts again"),
            measured: format!("{} ms", back.as_millis()),
            bar: "≤ 1 s",
            met: Some(back <= Duration::from_secs(1)),
        }));
        bars
    }

    fn at_once_bar(&self) -> Bar {
        Bar {
            what: "2 processes, nobody refused: admitted without a round trip".to_owned(),
            measured: format!("{:.2} % of {}", 100.0 * self.at_once, self.seen.admitted),
            bar: "≥ 95 %",
            met: Some(self.at_once >= 0.95 && self.seen.refused == 0),
        }
    }

    fn json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "store": self.fate.word(),
            "admitted_by_allowed": self.ratio,
            "offered_by_allowed": self.offered,
            "without_round_trip": self.at_once,
            "waits": self.waits.all,
            "waits_over_5_ms": self.waits.long,
            "decisions": self.waits.decisions,
            "sleeps_over_5_ms": self.seen.asleep,
            "slow_answers": self.seen.slow,
            "slow_answers_without_budget": self.seen.slow_without,
            "back_ms": self.back.map(|back| u64::try_from(back.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

fn text(bars: &[Bar], (rows, options): (&[Row], &Options), version: &str, machine: &Machine) -> String {
    let mut lines = vec![
        format!(
            "A `per: global` budget of {} requests a second and a burst of {}, {FLOOD} times as much offered, {} s each; {version} \
             on loopback, killed with SIGKILL and away for {AWAY:?}. \"Waited\" is the gateways' own `tollgate_store_wait_seconds`: \
             from when a request begins to wait until its task runs again, so a thread that is not scheduled counts as a wait. \
             Beside it stands a thread of the benchmark that sleeps for 3 ms, as long as a gateway sets its timer for, at the same time. \
             Every fourth request of each connection goes to a route without a budget: the control of the last rows.\n",
            TIGHT.rate, TIGHT.burst, options.seconds
        ),
        "| | measured | bar | |\n|---|---|---|---|".to_owned(),
    ];
    for bar in bars {
        let met = match bar.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        lines.push(format!("| {} | {} | {} | {met} |", bar.what, bar.measured, bar.bar));
    }
    let late = rows.iter().map(|row| row.seen.unsent).max().unwrap_or_default();
    if late > 0 {
        lines.push(format!("\nThe clients could not send up to {late} requests of a run in time."));
    }
    let busy = if machine.was_busy() { "\n\nThe machine was busy: the figures deserve less trust." } else { "" };
    format!("{}\n\n{machine}{busy}", lines.join("\n"))
}
