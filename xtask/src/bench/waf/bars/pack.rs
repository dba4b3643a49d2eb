//! What runs where the configuration says nothing of rules: the pack, watched. What it costs a small request, and what its
//! last phase costs one that was refused before the first.

use super::super::super::process::{Core, pinned};
use super::super::super::spread::Spread;
use super::place::{Gateway, OFF, Place, Run, Shape, load, number};
use super::{Effort, Found, Line, Tools};

/// Microseconds of CPU that a refusal may cost more.
const BAR: f64 = 2.0;
/// One bucket that is empty after one request.
const FLOOD: &str = "flood: { per_address: { burst: 1, refill_per_sec: 1 } }";
const NO_FLOOD: &str = "flood: { mode: \"off\" }";

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &[], effort.keep)?;
    let gateway = |name, waf, more| place.gateway(tools, Shape { name, waf, more, workers: 1, core: Core::Gateway });
    let (bare, pack) = (gateway("bare", OFF, NO_FLOOD)?, gateway("pack", "", NO_FLOOD)?);
    let (bare_flood, pack_flood) = (gateway("bare-flood", OFF, FLOOD)?, gateway("pack-flood", "", FLOOD)?);
    let mut inside = pinned(Core::Gateway, &tools.client);
    inside.arg("pack");
    let alone = Run::start(inside)?.report()?;
    let mut with_crs = pinned(Core::Gateway, &tools.client);
    with_crs.arg("pack").arg("--crs").arg(&tools.crs);
    let crs = Run::start(with_crs)?.report()?;
    let mut lines = Vec::new();
    for (what, args) in [
        ("GET", &["--method", "GET", "--path", "/v1/models"][..]),
        ("POST of 100 bytes", &["--path", "/v2/models/m/infer", "--body", "@"]),
    ] {
        let body = place.dir.join("small");
        std::fs::write(&body, SMALL)?;
        let body = body.to_string_lossy();
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "@" { &*body } else { arg }).collect();
        let cost = |gateway: &Gateway| cpu(tools, gateway, &args);
        let mut pairs = Vec::new();
        for _ in 0..effort.rounds {
            pairs.push((cost(&bare)?, cost(&pack)?));
        }
        lines.push(told(what, &pairs));
    }
    let mut pairs = Vec::new();
    for _ in 0..effort.rounds {
        let cost = |gateway: &Gateway| cpu(tools, gateway, &["--method", "GET", "--accept", "429"]);
        pairs.push((cost(&bare_flood)?, cost(&pack_flood)?));
    }
    lines.push(told("GET refused by `flood`", &pairs));
    let inside = |report: &serde_json::Value, name: &str| number(report, &format!("/{name}_us"));
    lines.push(Line::stated("GET, in one process", format!("{:.1} µs", inside(&alone, "get")?)));
    lines.push(Line::stated("POST of 100 bytes, in one process", format!("{:.1} µs", inside(&alone, "post")?)));
    let early = (inside(&alone, "refused_early")?, "µs");
    lines.push(Line::at_most("refused before phase 1, in one process", early, BAR));
    let early = (inside(&crs, "refused_early")?, "µs");
    lines.push(Line::at_most("the same with the Core Rule Set", early, BAR));
    Ok(Found {
        how: format!(
            "CPU time of the gateway for one request in the closed loop, 32 connections, one worker: without rules, and with a \
             configuration that says nothing of them, {} interleaved rounds. `In one process` is layer `waf` alone, as the \
             pipeline asks it.",
            effort.rounds
        ),
        lines,
    })
}

const SMALL: &str =
    r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.123456,0.654321]}],"id":"123456"}  "#;

fn told(what: &str, pairs: &[(f64, f64)]) -> Line {
    let spread = |values: Vec<f64>| Spread::of(values).unwrap_or_default();
    let bare = spread(pairs.iter().map(|(bare, _)| *bare).collect());
    let pack = spread(pairs.iter().map(|(_, pack)| *pack).collect());
    let more = spread(pairs.iter().map(|(bare, pack)| pack - bare).collect());
    Line::stated(what, format!("{bare} → {pack} µs: {more} µs more"))
}

fn cpu(tools: &Tools, gateway: &Gateway, args: &[&str]) -> anyhow::Result<f64> {
    let mut command = load(tools, gateway, args);
    command.args(["--connections", "32", "--warmup", "0.3", "--seconds", "1"]);
    for pid in gateway.pids() {
        command.args(["--watch", &pid.to_string()]);
    }
    let report = Run::start(command)?.report()?;
    anyhow::ensure!(number(&report, "/bad")? == 0.0, "not every answer was as it should be: {report}");
    number(&report, "/cpu/us_per_request")
}
