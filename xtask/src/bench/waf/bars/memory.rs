//! Twelve bodies of 12 MB at once that no rule reads: what the rules add to the memory that holds them.

use super::super::super::process::Core;
use super::place::{Gateway, OFF, Place, Run, Shape, load, median, number, with_rules};
use super::{Effort, Found, Line, Tools};

const AT_ONCE: usize = 12;
const BODY: usize = 12 << 20;
/// Megabytes.
const BAR: f64 = 1.0;
/// How long the mock waits before it answers: all bodies are held meanwhile.
const HELD_MS: &str = "700";

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &["--delay-ms", HELD_MS], effort.keep)?;
    let body = place.dir.join("body");
    // Bytes of every kind, so that nothing can tell them from a model or a picture.
    let bytes: Vec<u8> = (0_u32..).map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).take(BODY).collect();
    std::fs::write(&body, bytes)?;
    let rules = with_rules(tools);
    let (mut with, mut without, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let grown = |name, waf: &str| -> anyhow::Result<f64> {
            let shape = Shape { name, waf, more: FLOOD, workers: 1, core: Core::Both };
            peak(tools, &place.gateway(tools, shape)?, &body.to_string_lossy())
        };
        let (bare, ruled) = (grown("bare", OFF)?, grown("ruled", &rules)?);
        without.push(bare);
        with.push(ruled);
        shares.push(ruled - bare);
    }
    Ok(Found {
        how: format!(
            "{AT_ONCE} bodies of 12 MB (application/octet-stream), all held at once while the mock waits: how much the peak of \
             resident memory grows over that of an idle gateway, with the Core Rule Set and the pack and without any rule, {} \
             rounds, each with fresh gateways.",
            effort.rounds
        ),
        lines: vec![
            Line::stated("growth without rules", format!("{:.1} MB", median(without))),
            Line::stated("growth with rules", format!("{:.1} MB", median(with))),
            Line::at_most("the rules' share", (median(shares), "MB"), BAR),
        ],
    })
}

const FLOOD: &str = "flood: { mode: \"off\" }";

/// Megabytes by which the peak grows.
fn peak(tools: &Tools, gateway: &Gateway, body: &str) -> anyhow::Result<f64> {
    let args = [
        "-H",
        "content-type: application/octet-stream",
        "--warmup",
        "0",
        "--seconds",
        "0.5",
        "--path",
        "/v2/models/m/infer",
    ];
    // The first request of each kind pays for what every later one finds.
    let small = ["--connections", "12", "--size", "1000"];
    Run::start(load(tools, gateway, &[&args[..], &small[..]].concat()))?.report()?;
    let (idle, _) = gateway.memory_kb()?;
    gateway.forget_peak()?;
    let at_once = AT_ONCE.to_string();
    let large = ["--connections", &at_once, "--body", body];
    let report = Run::start(load(tools, gateway, &[&args[..], &large[..]].concat()))?.report()?;
    let bad = number(&report, "/bad")? + number(&report, "/errors")?;
    anyhow::ensure!(bad == 0.0, "not every body was taken: {report}");
    let (_, peak) = gateway.memory_kb()?;
    let held = (AT_ONCE * BODY) as f64 / 1024.0;
    anyhow::ensure!(peak - idle > held * 0.9, "the bodies were not held at once: {:.0} KB", peak - idle);
    Ok((peak - idle) / 1024.0)
}
