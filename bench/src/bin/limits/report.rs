//! The results as a table for people and as one JSON document for machines, and whether the bars were met.

use std::fmt;

use serde_json::{Value, json};

use crate::rounds::{Lane, Spread};
use crate::scenes::{FIVE_LEVELS, Fill, Overshoot, Uniform};

/// Our time by the rival's, at a million keys.
const TIME_BAR: f64 = 0.5;
/// Bytes for a key at load 0.7.
const BYTES_BAR: f64 = 12.0;
/// Nanoseconds for five levels.
const LEVELS_BAR: f64 = 150.0;
/// What 500 requests at once may reserve of a budget.
const OVERSHOOT_BAR: f64 = 1.0;
const JUDGED_KEYS: usize = 1_000_000;

pub(crate) struct Report {
    pub(crate) uniform: Vec<Uniform>,
    pub(crate) hot: Vec<Lane>,
    pub(crate) levels: Vec<Lane>,
    pub(crate) accounts: Vec<Lane>,
    pub(crate) overshoot: Overshoot,
    pub(crate) fill: [Fill; 2],
}

/// One promise and what became of it.
struct Bar {
    what: &'static str,
    figure: Spread,
    bar: f64,
}

impl Report {
    pub(crate) fn passes(&self) -> bool {
        self.bars().iter().all(|bar| bar.figure.within(bar.bar))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "bench": "limits",
            "uniform": self.uniform.iter().map(|scene| json!({
                "keys": scene.keys,
                "lanes": lanes(&scene.lanes),
                "evictions": scene.evictions,
                "bytes_per_key": scene.bytes_per_key,
                "bytes_per_slot": scene.bytes_per_slot,
                "governor_bytes_per_key": scene.rival_bytes_per_key,
                "ratio": spread(scene.ratio()),
                "ratio_with_hash": spread(scene.ratio_with_hash()),
            })).collect::<Vec<_>>(),
            "hot_key": lanes(&self.hot),
            "five_levels": lanes(&self.levels),
            "accounts": lanes(&self.accounts),
            "overshoot": { "reserved": self.overshoot.reserved, "settled": self.overshoot.settled },
            "fill": self.fill.iter().map(|fill| json!({
                "load": fill.load, "keys": fill.keys, "evictions": fill.evictions,
            })).collect::<Vec<_>>(),
            "bars": self.bars().iter().map(|bar| json!({
                "what": bar.what, "figure": spread(bar.figure), "bar": bar.bar, "pass": bar.figure.within(bar.bar),
            })).collect::<Vec<_>>(),
        })
    }

    fn bars(&self) -> Vec<Bar> {
        let exactly = |figure: f64| Spread { median: figure, iqr: 0.0 };
        let mut bars = Vec::new();
        for scene in self.uniform.iter().filter(|scene| scene.keys == JUDGED_KEYS) {
            bars.push(Bar { what: "time ÷ governor, 1 M keys", figure: scene.ratio(), bar: TIME_BAR });
            bars.push(Bar { what: "bytes per key, load 0.7", figure: exactly(scene.bytes_per_key), bar: BYTES_BAR });
        }
        for lane in self.levels.iter().filter(|lane| lane.name == FIVE_LEVELS) {
            bars.push(Bar { what: "ns, five levels", figure: lane.spread(), bar: LEVELS_BAR });
        }
        let overshoot = exactly(self.overshoot.reserved);
        bars.push(Bar { what: "500 at once: reserved ÷ budget", figure: overshoot, bar: OVERSHOOT_BAR });
        let ours = |lane: &&Lane| !lane.name.starts_with("governor") && !lane.name.ends_with("threads");
        let lanes = self.uniform.iter().flat_map(|scene| &scene.lanes).chain(&self.hot).chain(&self.levels);
        let allocations: usize = lanes.filter(ours).map(|lane| lane.allocations).sum();
        bars.push(Bar { what: "allocations", figure: exactly(allocations as f64), bar: 0.0 });
        bars
    }
}

impl Uniform {
    fn ratio(&self) -> Spread {
        self.lanes[0].ratio(&self.lanes[2])
    }

    fn ratio_with_hash(&self) -> Spread {
        self.lanes[1].ratio(&self.lanes[2])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Limiter, median of 7 interleaved rounds ± IQR; CPU time of the thread. Both sides are given the time.\n"
        )?;
        writeln!(f, "{:<34}{:>12}{:>16}{:>14}", "uniform keys, all live", "ns/decision", "÷ governor", "bytes/key")?;
        for scene in &self.uniform {
            let bytes = [scene.bytes_per_key, scene.bytes_per_key, scene.rival_bytes_per_key];
            for (lane, bytes) in scene.lanes.iter().zip(bytes) {
                let name = format!("  {} {}", thousands(scene.keys), lane.name);
                let ratio = lane.ratio(&scene.lanes[2]);
                writeln!(f, "{name:<34}{:>12}{:>16}{bytes:>14.1}", show(lane.spread(), 1), show(ratio, 2))?;
            }
        }
        writeln!(f, "\n{:<34}{:>12}", "one hot key", "ns/decision")?;
        for lane in self.hot.iter().chain(&self.levels).chain(&self.accounts) {
            writeln!(f, "  {:<32}{:>12}", lane.name, show(lane.spread(), 1))?;
        }
        let Overshoot { reserved, settled } = self.overshoot;
        writeln!(f, "\n{:<34}{:>12}{:>12}", "500 at once, of the budget", "reserved", "settled")?;
        writeln!(f, "  {:<32}{reserved:>12.4}{settled:>12.4}", "worst of 20 rounds")?;
        writeln!(f, "\n{:<34}{:>12}", "filling the table", "evictions")?;
        for fill in &self.fill {
            writeln!(f, "  {:<32}{:>12}", format!("{} at load {}", thousands(fill.keys), fill.load), fill.evictions)?;
        }
        writeln!(f, "\n{:<34}{:>12}{:>8}", "bars", "measured", "bar")?;
        for bar in self.bars() {
            let verdict = if bar.figure.within(bar.bar) { "pass" } else { "MISSED" };
            writeln!(f, "  {:<32}{:>12}{:>8}  {verdict}", bar.what, show(bar.figure, 2), bar.bar)?;
        }
        Ok(())
    }
}

fn lanes(lanes: &[Lane]) -> Value {
    let lane = |lane: &Lane| json!({ "name": lane.name, "ns": spread(lane.spread()), "allocations": lane.allocations });
    lanes.iter().map(lane).collect()
}

fn spread(spread: Spread) -> Value {
    json!({ "median": spread.median, "iqr": spread.iqr })
}

fn show(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", spread.median, spread.iqr)
}

fn thousands(n: usize) -> String {
    if n >= 1_000_000 { format!("{} M", n / 1_000_000) } else { format!("{} k", n / 1_000) }
}
