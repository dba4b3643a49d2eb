//! Benign GETs in the open loop through the Core Rule Set, generator and mock model server on the same two cores.

use super::super::super::process::Core;
use super::place::{Gateway, Place, Run, Shape, load, number, with_rules};
use super::{Effort, Found, Line, Tools};

/// Requests per second that are promised.
const BAR: f64 = 10_000.0;
/// Rates that are tried, highest first, until one is sustained.
const RATES: [f64; 9] = [10_000.0, 9_000.0, 8_000.0, 7_000.0, 6_000.0, 5_000.0, 4_000.0, 3_000.0, 2_000.0];
/// A rate is sustained when nothing failed, as much was answered as was due, and nobody waited in a queue that grows.
const SHARE: f64 = 0.995;
const P99_MS: f64 = 50.0;

/// What one rate gave.
struct Tried {
    rate: f64,
    answered: f64,
    p50: f64,
    p99: f64,
    failed: f64,
}

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &[], effort.keep)?;
    let waf = with_rules(tools);
    let shape = Shape { name: "ruled", waf: &waf, more: "flood: { mode: \"off\" }", workers: 2, core: Core::Both };
    let gateway = place.gateway(tools, shape)?;
    let cpu = cpu_us(tools, &gateway)?;
    let mut lines = vec![Line::stated("CPU of the gateway for one request", format!("{cpu:.1} µs"))];
    let mut sustained = 0.0;
    for rate in RATES {
        let tried = open(tools, &gateway, (rate, effort))?;
        let holds = tried.failed == 0.0 && tried.answered >= rate * SHARE && tried.p99 <= P99_MS * 1_000.0;
        lines.push(Line::stated(
            format!("{} GET/s due", tried.rate),
            format!(
                "{:.0}/s answered, p50 {:.0} µs, p99 {:.0} µs, {} failed",
                tried.answered, tried.p50, tried.p99, tried.failed
            ),
        ));
        if holds {
            sustained = rate;
            break;
        }
    }
    lines.push(Line {
        what: "highest rate sustained".to_owned(),
        measured: format!("{sustained} GET/s"),
        bar: format!("≥ {BAR} GET/s"),
        met: Some(sustained >= BAR),
    });
    Ok(Found {
        how: format!(
            "GET, open loop on 64 connections, Core Rule Set and pack blocking at level 1, two workers; gateway, generator and \
             mock share two cores. Sustained: nothing failed, {:.1} % of what was due was answered, p99 within {P99_MS} ms.",
            SHARE * 100.0
        ),
        lines,
    })
}

fn open(tools: &Tools, gateway: &Gateway, (rate, effort): (f64, Effort)) -> anyhow::Result<Tried> {
    let (due, seconds) = (rate.to_string(), if effort.quick { "3" } else { "10" });
    let args = ["--method", "GET", "--path", "/v1/models", "--connections", "64", "--rate", &due];
    let times = ["--warmup", "1", "--seconds", seconds];
    let report = Run::start(load(tools, gateway, &[&args[..], &times[..]].concat()))?.report()?;
    Ok(Tried {
        rate,
        answered: number(&report, "/completed")? / number(&report, "/seconds")?,
        p50: number(&report, "/latency_us/p50")?,
        p99: number(&report, "/latency_us/p99")?,
        failed: number(&report, "/bad")? + number(&report, "/errors")?,
    })
}

/// In the closed loop, where the gateway is busy all the time.
fn cpu_us(tools: &Tools, gateway: &Gateway) -> anyhow::Result<f64> {
    let watched: Vec<String> = gateway.pids().iter().map(u32::to_string).collect();
    let mut command = load(tools, gateway, &["--method", "GET", "--path", "/v1/models", "--connections", "32"]);
    command.args(["--warmup", "1", "--seconds", "3"]);
    watched.iter().for_each(|pid| {
        command.args(["--watch", pid]);
    });
    number(&Run::start(command)?.report()?, "/cpu/us_per_request")
}
