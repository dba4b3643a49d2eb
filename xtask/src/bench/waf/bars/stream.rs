//! Server-sent events through a route with rules and through one without: when the first byte comes.

use super::super::super::process::{Core, pinned};
use super::super::super::spread::Spread;
use super::place::{Gateway, OFF, Place, Run, Shape, number, with_rules};
use super::{Effort, Found, Line, Tools};

/// Milliseconds that the first byte may come later.
const BAR: f64 = 1.0;

pub(super) fn measure(tools: &Tools, effort: Effort) -> anyhow::Result<Found> {
    let place = Place::set(tools, &["--events", "3", "--gap-ms", "20"], effort.keep)?;
    let rules = with_rules(tools);
    let gateway = |name, waf: &str, core| {
        place.gateway(tools, Shape { name, waf, more: "flood: { mode: \"off\" }", workers: 1, core })
    };
    let (bare, ruled) = (gateway("bare", OFF, Core::Gateway)?, gateway("ruled", &rules, Core::Gateway)?);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        without.push(waits(tools, &bare, effort)?);
        with.push(waits(tools, &ruled, effort)?);
    }
    let later = |of: fn(&(f64, f64)) -> f64| {
        let differences = with.iter().zip(&without).map(|(with, without)| (of(with) - of(without)) / 1_000.0);
        Spread::of(differences).unwrap_or_default()
    };
    let spread = |waits: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        Spread::of(waits.iter().map(of)).map_or_else(String::new, |spread| format!("{spread} µs"))
    };
    let (p50, p99) = (later(|wait| wait.0), later(|wait| wait.1));
    Ok(Found {
        how: format!(
            "Chats that are answered by events, one after the other; Core Rule Set and pack blocking at level 1, and the same \
             gateway without rules; {} interleaved rounds. The prompt is judged before it is forwarded: that is what the delay is.",
            effort.rounds
        ),
        lines: vec![
            Line::stated("first byte without rules, p50", spread(&without, |wait| wait.0)),
            Line::stated("first byte with rules, p50", spread(&with, |wait| wait.0)),
            Line::stated("first byte without rules, p99", spread(&without, |wait| wait.1)),
            Line::stated("first byte with rules, p99", spread(&with, |wait| wait.1)),
            Line::at_most("later by, p50", (p50.median, "ms"), BAR),
            Line::at_most("later by, p99", (p99.median, "ms"), BAR),
        ],
    })
}

/// Microseconds to the first byte, at the median and the 99th percentile.
fn waits(tools: &Tools, gateway: &Gateway, effort: Effort) -> anyhow::Result<(f64, f64)> {
    let mut command = pinned(Core::Load, &tools.client);
    let requests = if effort.quick { "100" } else { "400" };
    command.args(["stream", "--port", &gateway.port.to_string(), "--requests", requests]);
    let report = Run::start(command)?.report()?;
    Ok((number(&report, "/first_byte_us/p50")?, number(&report, "/first_byte_us/p99")?))
}
