//! The table: each figure beside its bar.

use std::fmt;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::machine::Machine;
use super::super::spread::Spread;
use super::Round;
use super::memory::Held;

/// The most that a held body may cost, beside its own bytes.
const MEMORY: f64 = 1.3;
/// How often our time should fit into theirs, at least.
const AIM: f64 = 20.0;

pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) versions: String,
    pub(super) rounds: usize,
    pub(super) rows: Vec<Row>,
    pub(super) memory: Vec<Held>,
}

/// Something timed.
pub(super) struct Row {
    what: &'static str,
    us: Spread,
    bar: f64,
    /// Theirs, and how often ours fits into it.
    theirs: Option<(Spread, Spread)>,
}

impl Row {
    pub(super) fn all(rounds: &[Round]) -> anyhow::Result<Vec<Self>> {
        let rows = [
            ("floats_768", "OIP JSON, 768 floats of 17 digits", 12.0),
            ("floats_10000", "OIP JSON, 10,000 floats of 17 digits", 150.0),
            ("image", "OIP binary, 3×224×224 FP32, no NaN", 40.0),
            ("chat", "chat of 4 KB, tokens counted (o200k)", 90.0),
        ];
        let spread = |values: Vec<Option<f64>>| Spread::of(values.into_iter().flatten()).context("no rounds");
        let mut all = Vec::new();
        for (name, what, bar) in rows {
            let (ours, theirs) =
                (|round: &Round| round.ours[name].as_f64(), |round: &Round| round.theirs[name].as_f64());
            let us = spread(rounds.iter().map(ours).collect())?;
            let them = spread(rounds.iter().map(theirs).collect())?;
            let ratio = spread(rounds.iter().map(|round| Some(theirs(round)? / ours(round)?)).collect())?;
            all.push(Self { what, us, bar, theirs: Some((them, ratio)) });
        }
        let added = spread(rounds.iter().map(|round| round.first["added_us"].as_f64()).collect())?;
        all.push(Self { what: "first event of a stream, delayed by", us: added, bar: 50.0, theirs: None });
        Ok(all)
    }
}

impl Report {
    pub(super) fn missed(&self) -> usize {
        let late = self.rows.iter().filter(|row| !row.us.within(row.bar)).count();
        late + self.memory.iter().filter(|held| held.times > MEMORY).count()
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "what": row.what, "us": row.us.json(), "bar_us": row.bar, "pass": row.us.within(row.bar),
                "theirs_us": row.theirs.map(|(theirs, _)| theirs.json()),
                "ratio": row.theirs.map(|(_, ratio)| ratio.json()),
            })
        };
        let held = |held: &Held| json!({ "what": held.what, "bytes": held.bytes, "times": held.times, "bar": MEMORY });
        json!({
            "bench": "contracts", "machine": self.machine.json(), "versions": self.versions, "rounds": self.rounds,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(held).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |pass: bool| if pass { "pass" } else { "MISSED" };
        writeln!(f, "{} interleaved rounds; medians ± half the interquartile range; one thread.\n", self.rounds)?;
        writeln!(f, "| body | Tollgate µs | bar µs | | {} µs | ratio (aim ≥ {AIM}) |", self.versions)?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Row { what, us, bar, theirs } in &self.rows {
            let (theirs, ratio) =
                theirs.map_or_else(Default::default, |(theirs, ratio)| (theirs.to_string(), ratio.to_string()));
            writeln!(f, "| {what} | {us} | ≤ {bar} | {} | {theirs} | {ratio} |", verdict(us.within(*bar)))?;
        }
        writeln!(f, "\n| held body | bytes | peak, in bodies | bar | |\n|---|---|---|---|---|")?;
        for Held { what, bytes, times } in &self.memory {
            writeln!(f, "| {what} | {bytes} | {times:.2} | ≤ {MEMORY} | {} |", verdict(*times <= MEMORY))?;
        }
        write!(f, "\n{}", self.machine)?;
        if self.machine.was_busy() {
            write!(f, "\n\nThe machine was busy: the figures deserve less trust.")
        } else {
            Ok(())
        }
    }
}
