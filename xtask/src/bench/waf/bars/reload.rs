//! The rules read again, compiled and swapped under load: nobody may notice.

use std::time::Duration;

use anyhow::ensure;

use super::super::super::process::Core;
use super::super::super::spread::Spread;
use super::place::{Gateway, Place, Run, Shape, load, number, with_rules};
use super::{Effort, Found, Line, Tools};

/// Requests per second, in the open loop.
const RATE: f64 = 1_000.0;
/// Seconds from one reload to the next.
const EVERY: f64 = 1.5;
/// By which the 99th percentile may differ.
const BAR: f64 = 20.0;

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &[], effort.keep)?;
    let waf = with_rules(tools);
    let shape = Shape { name: "ruled", waf: &waf, more: "flood: { mode: \"off\" }", workers: 1, core: Core::Both };
    let gateway = place.gateway(tools, shape)?;
    let (mut calm, mut reloading, mut failed) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..effort.rounds {
        for (reload, p99s) in [(false, &mut calm), (true, &mut reloading)] {
            let (p99, bad) = round(tools, &gateway, effort, reload)?;
            p99s.push(p99);
            failed += bad;
        }
    }
    let reloads = gateway.reloads()?;
    let changes = calm.iter().zip(&reloading).map(|(calm, reloading)| (reloading / calm - 1.0) * 100.0);
    let change = Spread::of(changes).unwrap_or_default();
    let (calm, reloading) = (Spread::of(calm).unwrap_or_default(), Spread::of(reloading).unwrap_or_default());
    // Scatter speaks for a figure only as far as it is smaller than the bar itself.
    let within = change.median.abs() - change.iqr / 2.0 <= BAR && change.iqr / 2.0 <= BAR;
    let bar = Line {
        what: "change of p99".to_owned(),
        measured: format!("{change} %"),
        bar: format!("within ±{BAR} %"),
        met: Some(within),
    };
    Ok(Found {
        how: format!(
            "Open loop, {RATE} GET/s on 8 connections, one worker, Core Rule Set and pack blocking at level 1; SIGHUP every {EVERY} \
             s reads and compiles all rules again. {} interleaved rounds with and without.",
            effort.rounds
        ),
        lines: vec![
            Line::stated("reloads that took place", reloads.to_string()),
            Line::at_most("failed requests", (failed, ""), 0.0),
            Line::stated("p99 without reloads", format!("{calm} µs")),
            Line::stated("p99 with reloads", format!("{reloading} µs")),
            bar,
        ],
    })
}

/// 99th percentile in microseconds, and how many requests failed.
fn round(tools: &Tools, gateway: &Gateway, effort: Effort, reload: bool) -> anyhow::Result<(f64, f64)> {
    let seconds = if effort.quick { "3" } else { "9" };
    let rate = RATE.to_string();
    let args = ["--method", "GET", "--path", "/v1/models", "--connections", "8", "--rate", &rate];
    let times = ["--warmup", "0.5", "--seconds", seconds];
    let before = gateway.reloads()?;
    let mut run = Run::start(load(tools, gateway, &[&args[..], &times[..]].concat()))?;
    let mut asked = 0;
    if reload {
        std::thread::sleep(Duration::from_millis(700));
        while !run.has_ended()? {
            gateway.hang_up()?;
            asked += 1;
            std::thread::sleep(Duration::from_secs_f64(EVERY));
        }
    }
    let report = run.report()?;
    std::thread::sleep(Duration::from_secs(2));
    ensure!(gateway.reloads()? - before == asked, "{asked} reloads were asked for, others took place");
    let bad = number(&report, "/bad")? + number(&report, "/errors")?;
    Ok((number(&report, "/latency_us/p99")?, bad))
}
