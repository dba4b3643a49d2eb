//! The worst megabyte that a client can send, and small requests beside it: no worker may stall.

use std::path::Path;

use super::super::super::process::{Core, pinned};
use super::place::{Gateway, Place, Run, Shape, load, median, number, with_rules};
use super::{Effort, Found, Line, Tools};

const SIZE: &str = "1000000";
/// Milliseconds that a small request may wait.
const BAR: f64 = 5.0;
/// Small requests per second.
const RATE: &str = "500";
/// Hostile ones.
const HOSTILE_RATE: &str = "2";
/// Seconds: the deadline of a request.
const DEADLINE: f64 = 30.0;

/// Of one round.
struct Round {
    /// Milliseconds that small requests waited at most, and one in a thousand.
    most: f64,
    p999: f64,
    /// Milliseconds that the hostile ones took at most.
    hostile: f64,
    failed: f64,
}

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &[], effort.keep)?;
    let body = place.dir.join("worst");
    let mut command = pinned(Core::Load, &tools.client);
    command.args(["worst", "--size", SIZE, "--out"]).arg(&body).env("TOLLGATE_CRS_DIR", &tools.crs);
    let worst = Run::start(command)?.report()?;
    let waf = with_rules(tools);
    let shape = Shape { name: "ruled", waf: &waf, more: "flood: { mode: \"off\" }", workers: 1, core: Core::Both };
    let gateway = place.gateway(tools, shape)?;
    let kind = worst["content_type"].as_str().unwrap_or_default();
    let (mut calm, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        calm.push(round(tools, &gateway, effort, None)?);
        beside.push(round(tools, &gateway, effort, Some((&body, kind)))?);
    }
    let of = |rounds: &[Round], value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let families = worst["families"].as_array().map_or(0, Vec::len);
    let told = |family: &serde_json::Value| {
        let ms = family["ms"].as_f64().unwrap_or_default();
        format!("{}: {ms:.0} ms of CPU", family["family"].as_str().unwrap_or_default())
    };
    let most = beside.iter().map(|round| round.hostile).fold(0.0, f64::max);
    Ok(Found {
        how: format!(
            "{families} families of hostile text of 1 MB through the engine in this process, with the budget that the gateway has; \
             the dearest then goes through the gateway, {HOSTILE_RATE} of it per second, beside {RATE} small GET/s in the open loop. \
             One worker, one thread for large inspections, Core Rule Set and pack blocking at level 1; {} interleaved rounds, medians.",
            effort.rounds
        ),
        lines: vec![
            Line::stated("the dearest", told(&worst["families"][0])),
            Line::stated("the next", told(&worst["families"][1])),
            Line::stated("the third", told(&worst["families"][2])),
            Line::stated(
                "small GETs alone",
                format!("p99.9 {:.2} ms, most {:.2} ms", of(&calm, |it| it.p999), of(&calm, |it| it.most)),
            ),
            Line::stated(
                "small GETs beside it",
                format!("p99.9 {:.2} ms, most {:.2} ms", of(&beside, |it| it.p999), of(&beside, |it| it.most)),
            ),
            Line::at_most("longest wait of a small GET", (of(&beside, |it| it.most), "ms"), BAR),
            Line::at_most("failed requests", (of(&beside, |it| it.failed), ""), 0.0),
            Line::at_most("answer to the hostile one, at most", (most / 1_000.0, "s"), DEADLINE),
        ],
    })
}

fn round(tools: &Tools, gateway: &Gateway, effort: Effort, hostile: Option<(&Path, &str)>) -> anyhow::Result<Round> {
    let seconds = if effort.quick { "3" } else { "8" };
    let times = ["--warmup", "0.5", "--seconds", seconds];
    let beside = hostile
        .map(|(body, kind)| {
            let (kind, body) = (format!("content-type: {kind}"), body.to_string_lossy());
            let args = ["-H", &kind, "--body", &body, "--connections", "2", "--rate", HOSTILE_RATE];
            let accept = ["--accept", "403", "--accept", "503", "--path", "/note"];
            Run::start(load(tools, gateway, &[&args[..], &accept[..], &times[..]].concat()))
        })
        .transpose()?;
    let args = ["--method", "GET", "--path", "/v1/models", "--connections", "4", "--rate", RATE];
    let report = Run::start(load(tools, gateway, &[&args[..], &times[..]].concat()))?.report()?;
    let mut failed = number(&report, "/bad")? + number(&report, "/errors")?;
    let mut longest = 0.0;
    if let Some(beside) = beside {
        let report = beside.report()?;
        failed += number(&report, "/bad")? + number(&report, "/errors")?;
        longest = number(&report, "/latency_us/max")? / 1_000.0;
    }
    let ms = |name: &str| Ok::<f64, anyhow::Error>(number(&report, &format!("/latency_us/{name}"))? / 1_000.0);
    Ok(Round { most: ms("max")?, p999: ms("p999")?, hostile: longest, failed })
}
