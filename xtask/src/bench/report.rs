//! The result: a table for people, a document for machines, and whether the promises were kept.

use std::fmt;

use serde_json::{Value, json};

use super::cells::Cell;
use super::load::Open;
use super::machine::Machine;
use super::proxy::{Latency, Measured, Round};
use super::scene::Scene;
use super::spread::Spread;

#[derive(Debug)]
pub(super) struct Report {
    pub(super) peer: String,
    pub(super) control: bool,
    pub(super) pinned: bool,
    pub(super) streams: usize,
    pub(super) seconds: f64,
    pub(super) machine: Machine,
    pub(super) measured: Vec<(Cell, Result<Measured, String>)>,
    pub(super) idle: Memory,
    pub(super) after: Memory,
}

/// Megabytes of each side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// nginx, master and worker, shared pages divided.
    peer: f64,
    bare: f64,
    all: f64,
}

/// What became of a promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    AimMissed,
    Missed,
    NoBar,
    Pass,
}

impl Memory {
    pub(super) fn of(scene: &Scene) -> Self {
        Self { peer: scene.peer.pss_mb(), bare: scene.bare.rss_mb(), all: scene.all.rss_mb() }
    }

    fn json(self) -> Value {
        json!({ "nginx_pss_mb": self.peer, "bare_rss_mb": self.bare, "all_rss_mb": self.all })
    }
}

impl Measured {
    fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of)).unwrap_or_default()
    }

    /// The ratio that is judged: of each round, less what the bar leaves out.
    fn ratio(&self) -> Spread {
        let free = self.cell.bar().map_or(0.0, |bar| bar.free_us);
        self.spread(|round| (round.ours.cpu_us - free) / round.peer.cpu_us)
    }

    fn verdict(&self) -> Verdict {
        match self.cell.bar() {
            None => Verdict::NoBar,
            Some(bar) if self.ratio().within(bar.ratio) => Verdict::Pass,
            Some(bar) if bar.aim => Verdict::AimMissed,
            Some(_) => Verdict::Missed,
        }
    }

    /// The median of the passes, in microseconds.
    fn wait(&self, of: impl Fn(&Latency) -> Option<f64>) -> Option<f64> {
        Spread::of(self.latency.iter().filter_map(of)).map(|spread| spread.median)
    }

    fn json(&self) -> Value {
        let open = |of: &dyn Fn(&Latency) -> Option<Open>| {
            json!({
                "p50": self.wait(|latency| of(latency).map(|open| open.p50)),
                "p99": self.wait(|latency| of(latency).map(|open| open.p99)),
                "p999": self.wait(|latency| of(latency).map(|open| open.p999)),
            })
        };
        json!({
            "cell": self.cell.to_string(),
            "nginx_cpu_us": self.spread(|round| round.peer.cpu_us).json(),
            "ours_cpu_us": self.spread(|round| round.ours.cpu_us).json(),
            "ratio": self.spread(|round| round.ours.cpu_us / round.peer.cpu_us).json(),
            "judged_ratio": self.ratio().json(),
            "bar": self.cell.bar().map(|bar| bar.ratio),
            "verdict": self.verdict().name(),
            "nginx_per_second": self.spread(|round| round.peer.per_second).json(),
            "ours_per_second": self.spread(|round| round.ours.per_second).json(),
            "open_loop_rate": self.cell.rate(),
            "direct_us": open(&|latency| latency.direct),
            "nginx_us": open(&|latency| Some(latency.peer)),
            "ours_us": open(&|latency| Some(latency.ours)),
            "rounds": self.rounds.iter().map(|round| [round.peer.cpu_us, round.ours.cpu_us]).collect::<Vec<_>>(),
        })
    }
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::AimMissed => "aim missed",
            Self::Missed => "MISSED",
            Self::NoBar => "stated",
            Self::Pass => "pass",
        }
    }
}

impl Report {
    pub(super) fn invalid(&self) -> usize {
        self.measured.iter().filter(|(_, result)| result.is_err()).count()
    }

    pub(super) fn missed(&self) -> usize {
        let missed = |result: &Measured| result.verdict() == Verdict::Missed;
        if self.control { 0 } else { self.good().filter(|result| missed(result)).count() }
    }

    pub(super) fn json(&self) -> Value {
        let cells = self.measured.iter().map(|(cell, result)| match result {
            Ok(measured) => measured.json(),
            Err(error) => json!({ "cell": cell.to_string(), "invalid": error }),
        });
        json!({
            "bench": "proxy",
            "peer": self.peer,
            "control": self.control,
            "pinned": self.pinned,
            "h2_streams": self.streams,
            "machine": self.machine.json(),
            "cells": cells.collect::<Vec<_>>(),
            "memory_idle": self.idle.json(),
            "memory_after": self.after.json(),
        })
    }

    fn good(&self) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter_map(|(_, result)| result.as_ref().ok())
    }

    const fn ours(&self) -> &'static str {
        if self.control { "nginx again" } else { "Tollgate" }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec![
            "cell".to_owned(),
            "nginx CPU µs".to_owned(),
            format!("{} CPU µs", self.ours()),
            "ratio".to_owned(),
            "bar".to_owned(),
            String::new(),
            "req/s".to_owned(),
        ]];
        for (cell, result) in &self.measured {
            let mut row = vec![cell.to_string()];
            match result {
                Ok(measured) => {
                    let ratio = measured.spread(|round| round.ours.cpu_us / round.peer.cpu_us);
                    let bar = cell.bar().filter(|_| !self.control);
                    row.push(measured.spread(|round| round.peer.cpu_us).to_string());
                    row.push(measured.spread(|round| round.ours.cpu_us).to_string());
                    row.push(ratio.to_string());
                    row.push(bar.map_or_else(String::new, |bar| bar.to_string()));
                    row.push(if self.control { String::new() } else { measured.verdict().name().to_owned() });
                    let per_second = |of: fn(&Round) -> f64| measured.spread(of).median.round();
                    let (peer, ours) = (per_second(|r| r.peer.per_second), per_second(|r| r.ours.per_second));
                    row.push(format!("{peer} / {ours}"));
                }
                Err(_) => row.push("INVALID".to_owned()),
            }
            rows.push(row);
        }
        rows
    }

    fn waits(&self) -> Vec<Vec<String>> {
        let heads = ["cell", "req/s", "direct p50 / p99 µs", "nginx p50 / p99 µs"].map(ToOwned::to_owned);
        let mut rows = vec![[&heads[..], &[format!("{} p50 / p99 µs", self.ours())]].concat()];
        for measured in self.good().filter(|measured| !measured.latency.is_empty()) {
            let both = |of: &dyn Fn(&Latency) -> Option<Open>| {
                let p50 = measured.wait(|latency| of(latency).map(|open| open.p50));
                let p99 = measured.wait(|latency| of(latency).map(|open| open.p99));
                p50.zip(p99).map_or_else(|| "–".to_owned(), |(p50, p99)| format!("{p50:.0} / {p99:.0}"))
            };
            rows.push(vec![
                measured.cell.to_string(),
                measured.cell.rate().to_string(),
                both(&|latency| latency.direct),
                both(&|latency| Some(latency.peer)),
                both(&|latency| Some(latency.ours)),
            ]);
        }
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.good().map(|measured| measured.rounds.len()).max().unwrap_or(0);
        let (ours, seconds, streams) = (self.ours(), self.seconds, self.streams);
        writeln!(f, "Closed loop: 64 requests at once (HTTP/2: {streams} on each connection), {rounds} interleaved")?;
        writeln!(f, "rounds of {seconds} s; CPU time of all processes of the gateway for each request.\n")?;
        table(f, &self.rows())?;
        let waits = self.waits();
        if waits.len() > 1 {
            writeln!(f, "\nOpen loop: 32 connections at a fixed rate, latency from when a request was due.\n")?;
            table(f, &waits)?;
        }
        let Memory { peer, bare, all } = self.idle;
        write!(f, "\nMemory in MB, idle → after: nginx {peer:.1} → {:.1} (PSS), ", self.after.peer)?;
        write!(
            f,
            "{ours} bare {bare:.1} → {:.1}, all stages {all:.1} → {:.1} (RSS).\n\n",
            self.after.bare, self.after.all
        )?;
        let pinned =
            if self.pinned { "gateway on core 0, generator and mock on core 1" } else { "NOT pinned to cores" };
        writeln!(f, "{}; {}; {pinned}.", self.machine, self.peer)?;
        if self.machine.was_busy() {
            writeln!(f, "\nThe machine was busy with something else: do not quote these figures.")?;
        }
        for (cell, result) in &self.measured {
            if let Err(error) = result {
                writeln!(f, "\nINVALID: {cell}: {error}")?;
            }
        }
        Ok(())
    }
}

/// A table that reads well as it is and as Markdown.
pub(super) fn table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (place, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            write!(f, "| {:width$} ", cell(row, column))?;
        }
        writeln!(f, "|")?;
        if place == 0 {
            widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
            writeln!(f, "|")?;
        }
    }
    Ok(())
}
