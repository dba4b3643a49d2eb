//! The table.

use std::fmt;

use serde_json::{Value, json};

use super::super::machine::Machine;
use super::super::report::table;
use super::super::spread::Spread;
use super::{Cost, Measured, Round};

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) peer: String,
    pub(super) machine: Machine,
    pub(super) measured: Vec<Measured>,
    /// Of `waf engines`.
    pub(super) engines: Value,
    /// Megabytes of the process that runs the rules: nginx, ours.
    pub(super) memory: (f64, f64),
}

impl Measured {
    fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of)).unwrap_or_default()
    }

    fn ours(&self) -> Spread {
        self.spread(|round| round.ours.median)
    }

    fn ratio(&self) -> Spread {
        self.spread(|round| round.nginx.median / round.ours.median.max(0.1))
    }

    /// The dearest request of the middle round: one that the machine disturbed says nothing of the rules.
    fn most(&self) -> Spread {
        self.spread(|round| round.ours.most)
    }

    fn misses(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if let Some(bar) = self.row.bar.filter(|bar| !self.ours().within(*bar)) {
            missed.push(format!("{bar} µs"));
        }
        if let Some(bar) = self.row.most.filter(|bar| !self.most().within(*bar)) {
            missed.push(format!("never above {bar} µs"));
        }
        let ratio = self.ratio();
        if let Some(bar) = self.row.ratio.filter(|bar| ratio.median + ratio.iqr / 2.0 < *bar) {
            missed.push(format!("{bar} times less"));
        }
        missed
    }

    fn cells(&self) -> Vec<String> {
        let bars = [
            self.row.bar.map(|bar| format!("≤ {bar} µs")),
            self.row.most.map(|bar| format!("never > {bar}")),
            self.row.ratio.map(|bar| format!("≥ {bar} ×")),
        ];
        let bars: Vec<String> = bars.into_iter().flatten().collect();
        let misses = self.misses();
        let verdict = match (bars.is_empty(), misses.is_empty()) {
            (true, _) => "stated".to_owned(),
            (_, true) => "pass".to_owned(),
            _ => format!("MISSED: {}", misses.join(", ")),
        };
        vec![
            self.row.title.to_owned(),
            self.spread(|round| round.nginx.median).to_string(),
            self.ours().to_string(),
            self.most().to_string(),
            self.ratio().to_string(),
            bars.join(", "),
            verdict,
        ]
    }
}

impl Report {
    pub(super) fn missed(&self) -> usize {
        self.measured.iter().filter(|measured| !measured.misses().is_empty()).count()
    }

    pub(super) fn json(&self) -> Value {
        let cost = |cost: &Cost| json!({ "median": cost.median, "most": cost.most, "without": cost.bare });
        let round = |round: &Round| json!({ "nginx": cost(&round.nginx), "ours": cost(&round.ours) });
        let row = |measured: &Measured| {
            let rounds: Vec<Value> = measured.rounds.iter().map(round).collect();
            json!({
                "row": measured.row.name,
                "ours": measured.ours().json(),
                "ratio": measured.ratio().json(),
                "missed": measured.misses(),
                "rounds": rounds,
            })
        };
        let rows: Vec<Value> = self.measured.iter().map(row).collect();
        json!({ "rows": rows, "engines": self.engines, "machine": self.machine.to_string(), "peer": self.peer })
    }

    /// One line for each row: microseconds of each engine, at the median.
    fn engine_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![["in one process", "seclang µs", "zentinel-modsec µs"].map(str::to_owned).to_vec()];
        for row in self.engines["rows"].as_array().into_iter().flatten() {
            let median =
                |engine: &str| row[engine]["us"]["p50"].as_f64().map_or_else(String::new, |us| format!("{us:.1}"));
            rows.push(vec![
                row["page"].as_str().unwrap_or_default().to_owned(),
                median("seclang"),
                median("zentinel-modsec"),
            ]);
        }
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.measured.iter().map(|measured| measured.rounds.len()).max().unwrap_or(0);
        writeln!(
            f,
            "CPU time of one request that the rules cost, in microseconds: with rules less without, one request at"
        )?;
        writeln!(
            f,
            "a time, {rounds} interleaved rounds; Core Rule Set 4, blocking, paranoia level 1, the same files and"
        )?;
        writeln!(f, "requests on both sides, every text new.\n")?;
        let head = ["request", "nginx + libmodsecurity", "Tollgate", "dearest", "times less", "bar", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.measured.iter().map(Measured::cells));
        table(f, &rows)?;
        writeln!(f)?;
        table(f, &self.engine_rows())?;
        let (theirs, ours) = self.memory;
        writeln!(f, "\nMemory of the worker with rules: nginx {theirs:.0} MB, Tollgate {ours:.0} MB.\n")?;
        writeln!(f, "{}; {}.", self.machine, self.peer)?;
        if self.machine.was_busy() {
            writeln!(f, "\nThe machine was busy with something else: do not quote these figures.")?;
        }
        Ok(())
    }
}
