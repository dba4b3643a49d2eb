//! `cargo xtask bench waf --memory`, `--reload`, `--load`, `--stall`, `--stream`, `--pack`: what rules cost besides CPU time of
//! ordinary requests. Each runs gateways with and without rules that differ in nothing else, and sets a number beside its
//! bar.

mod load;
mod memory;
mod pack;
mod place;
mod reload;
mod stall;
mod stream;

use std::fmt;
use std::path::PathBuf;

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::machine::Machine;
use super::super::page;
use super::super::report::table;
use super::super::root;
use crate::tally::say;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bar {
    Load,
    Memory,
    Pack,
    Reload,
    Stall,
    Stream,
}

/// Programs and files that are used.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    /// `bench/src/bin/waf`
    pub(super) client: PathBuf,
    pub(super) load: PathBuf,
    pub(super) mock: PathBuf,
    pub(super) tollgate: PathBuf,
    pub(super) crs: PathBuf,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) quick: bool,
    pub(super) rounds: usize,
    pub(super) keep: bool,
}

/// One number beside its bar.
#[derive(Clone, Debug)]
struct Line {
    what: String,
    measured: String,
    bar: String,
    /// `None`: stated, without a bar.
    met: Option<bool>,
}

/// What one of them found.
#[derive(Clone, Debug, Default)]
struct Found {
    /// How it was measured, for the page.
    how: String,
    lines: Vec<Line>,
}

/// What is printed and kept.
struct Report<'a> {
    found: &'a Found,
    machine: &'a Machine,
}

impl Bar {
    /// That of an option of the command line.
    pub(super) fn named(option: &str) -> Option<Self> {
        let all = [Self::Load, Self::Memory, Self::Pack, Self::Reload, Self::Stall, Self::Stream];
        all.into_iter().find(|bar| option.strip_prefix("--") == Some(bar.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Memory => "memory",
            Self::Pack => "pack",
            Self::Reload => "reload",
            Self::Stall => "stall",
            Self::Stream => "stream",
        }
    }

    fn measure(self, tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
        match self {
            Self::Load => load::measure(tools, effort),
            Self::Memory => memory::measure(tools, effort),
            Self::Pack => pack::measure(tools, effort),
            Self::Reload => reload::measure(tools, effort),
            Self::Stall => stall::measure(tools, effort),
            Self::Stream => stream::measure(tools, effort),
        }
    }
}

/// Measures each, prints it, and keeps it in a section of its own where that was asked.
///
/// # Errors
/// What could not be measured; a missed bar, unless it was a quick look.
pub(super) fn run(bars: &[Bar], tools: &Tools, effort: Effort, (as_json, write): (bool, bool)) -> anyhow::Result<()> {
    let mut missed = 0;
    for bar in bars {
        let machine = Machine::read();
        let found = bar.measure(tools, effort)?;
        let report = Report { found: &found, machine: &machine };
        if as_json {
            say(&format!("{:#}", report.json(bar.name())));
        } else {
            say(&report.to_string());
        }
        if write {
            page::write(&root(), &format!("waf {}", bar.name()), &report.to_string())?;
        }
        missed += found.lines.iter().filter(|line| line.met == Some(false)).count();
    }
    ensure!(missed == 0 || effort.quick, "{missed} bars were missed");
    Ok(())
}

impl Line {
    /// A number that must not be above its bar.
    fn at_most(what: impl Into<String>, (value, unit): (f64, &str), bar: f64) -> Self {
        Self {
            what: what.into(),
            measured: shown(value, unit),
            bar: format!("≤ {}", shown(bar, unit)),
            met: Some(value <= bar),
        }
    }

    fn stated(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), bar: String::new(), met: None }
    }
}

fn shown(value: f64, unit: &str) -> String {
    let digits = if value.fract() == 0.0 { 0 } else { 1 + usize::from(value.abs() < 10.0) };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

impl Report<'_> {
    fn json(&self, name: &str) -> Value {
        let line =
            |line: &Line| json!({ "what": line.what, "measured": line.measured, "bar": line.bar, "met": line.met });
        let lines: Vec<Value> = self.found.lines.iter().map(line).collect();
        json!({ "bench": name, "how": self.found.how, "lines": lines, "machine": self.machine.json() })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.found.how)?;
        let mut rows = vec![["what", "measured", "bar", ""].map(str::to_owned).to_vec()];
        for line in &self.found.lines {
            let verdict = match line.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "stated",
            };
            rows.push(vec![line.what.clone(), line.measured.clone(), line.bar.clone(), verdict.to_owned()]);
        }
        table(f, &rows)?;
        writeln!(f, "\n{}.", self.machine)?;
        if self.machine.was_busy() {
            writeln!(f, "\nThe machine was busy with something else: do not quote these figures.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Line};

    #[test]
    fn an_option_names_what_is_measured() {
        assert_eq!(Bar::named("--memory"), Some(Bar::Memory));
        assert_eq!(Bar::named("--stall"), Some(Bar::Stall));
        assert_eq!(Bar::named("memory"), None);
        assert_eq!(Bar::named("--memories"), None);
    }

    #[test]
    fn a_number_is_told_with_its_unit_and_held_against_its_bar() {
        let line = Line::at_most("x", (0.994, "ms"), 1.0);
        assert_eq!((line.measured.as_str(), line.bar.as_str(), line.met), ("0.99 ms", "≤ 1 ms", Some(true)));
        let line = Line::at_most("x", (12.34, "ms"), 5.0);
        assert_eq!((line.measured.as_str(), line.met), ("12.3 ms", Some(false)));
        assert_eq!(Line::at_most("x", (0.0, ""), 0.0).measured, "0");
    }
}
