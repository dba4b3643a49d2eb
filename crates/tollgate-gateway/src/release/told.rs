//! How releases stand, for operators: the answer of the admin listener, metrics, and the record of each turn.

use serde_json::{Value, json};
use tollgate_core::identity::ExchangeId;

use super::course::{Act, By, Lane, Standing, Turn};
use super::evidence::Kind;
use super::{Progress, Release};
use crate::record::act::Act as Record;
use crate::record::metrics::{head, row};
use crate::snapshot::Policy;

/// How the releases of a policy stand; of one model, or of all.
#[must_use]
pub fn status(policy: &Policy, model: Option<&str>) -> Vec<Value> {
    let releases = policy.models.iter().filter_map(|model| model.release.as_deref());
    let asked = releases.filter(|release| model.is_none_or(|model| *release.model == *model));
    asked.map(|release| one(release, policy)).collect()
}

fn one(release: &Release, policy: &Policy) -> Value {
    let progress = release.course.progress.lock().clone();
    let terms = &release.terms;
    let versions = progress.lanes.iter().enumerate().map(|(place, lane)| {
        let version = terms.versions.get(place);
        let upstream = version.and_then(|version| policy.upstreams.get(version.upstream));
        let next = terms.next_step(lane.weight).filter(|_| lane.standing == Standing::Trial);
        json!({
            "name": terms.name(place),
            "upstream": upstream.map(|upstream| &*upstream.name),
            "standing": lane.standing,
            "weight": lane.weight,
            "since_ms": lane.since_ms,
            "step": { "calls": lane.step_calls, "min_calls": terms.min_calls, "next": next },
            "calls": lane.tally.calls,
            "failed": lane.tally.failed,
            "broken": lane.tally.broken,
            "slow": lane.tally.slow,
            "latency_us": { "p50": lane.pace.percentile(50), "p90": lane.pace.percentile(90) },
            "evidence": evidence(lane, terms.alpha),
            "shadow": shadow(lane, version.map_or(0, |version| version.shadow)),
        })
    });
    json!({
        "model": release.model,
        "baseline": terms.name(progress.baseline),
        "previous": progress.previous.map(|place| terms.name(place)),
        "alpha": terms.alpha,
        "versions": versions.collect::<Vec<_>>(),
        "history": progress.past.iter().map(|turn| past(release, turn)).collect::<Vec<_>>(),
    })
}

fn evidence(lane: &Lane, alpha: f64) -> Value {
    let kinds = Kind::ALL.map(|kind| (kind.name().to_owned(), json!(rounded(lane.case.of(kind).wealth()))));
    let mut told: serde_json::Map<String, Value> = kinds.into_iter().collect();
    told.insert("all".to_owned(), json!(rounded(lane.case.wealth())));
    told.insert("needed".to_owned(), json!(rounded(1.0 / alpha)));
    told.insert("doubted".to_owned(), json!(lane.doubt.active));
    Value::Object(told)
}

fn shadow(lane: &Lane, percent: u8) -> Value {
    let tally = &lane.tally;
    json!({
        "percent": percent,
        "compared": tally.mirrored,
        "skipped": tally.skipped,
        "mismatched": tally.mismatched,
        "status": tally.status_differs,
        "shape": tally.shape_differs,
        "labels": tally.labels_differ,
        "numbers": tally.numbers_differ,
        "max_abs": tally.max_abs,
        "max_relative": tally.max_relative,
        "faster": tally.faster,
    })
}

/// Four digits are enough for people.
fn rounded(value: f64) -> f64 {
    if value.abs() < 1e12 { (value * 1e4).round() / 1e4 } else { value }
}

/// One thing that happened, in words.
#[must_use]
pub fn past(release: &Release, turn: &Turn) -> Value {
    json!({
        "time_ms": turn.time_ms,
        "act": turn.act,
        "version": release.terms.name(turn.version),
        "from_weight": turn.weight[0],
        "to_weight": turn.weight[1],
        "by": turn.by,
        "why": turn.why,
    })
}

/// The record of a turn: `id` is the exchange that was the last straw, or a number of its own.
#[must_use]
pub fn act(release: &Release, turn: &Turn, (id, client, generation): (ExchangeId, String, u64)) -> Record<'static> {
    Record {
        time_ms: turn.time_ms,
        id,
        act: match turn.act {
            Act::Promote => "release.promote",
            Act::Regress => "release.regress",
            Act::Rollback => "release.rollback",
            Act::Start => "release.start",
        },
        by: match turn.by {
            By::Gateway => "gateway",
            By::Operator => "admin_key",
        },
        client,
        what: json!({
            "model": release.model,
            "version": release.terms.name(turn.version),
            "from_weight": turn.weight[0],
            "to_weight": turn.weight[1],
            "why": turn.why,
        }),
        generation,
    }
}

type Pick = fn(&Lane) -> u64;

const COUNTERS: [(&str, &str, Pick); 4] = [
    ("tollgate_version_calls_total", "Calls of each version since its trial began.", |lane| lane.tally.calls),
    ("tollgate_version_failed_total", "Calls that a version failed to answer.", |lane| lane.tally.failed),
    ("tollgate_version_broken_total", "Replies of a version that broke the contract.", |lane| lane.tally.broken),
    ("tollgate_version_slow_total", "Calls of a version that were slow beside the baseline.", |lane| lane.tally.slow),
];

/// Writes the metrics.
pub fn render(policy: &Policy, out: &mut String) {
    let releases: Vec<(&Release, Progress)> = policy
        .models
        .iter()
        .filter_map(|model| model.release.as_deref())
        .map(|release| (release, release.course.progress.lock().clone()))
        .collect();
    let lanes = || {
        releases.iter().flat_map(|(release, progress)| {
            let lanes = progress.lanes.iter().enumerate();
            lanes.map(|(place, lane)| ([("model", &*release.model), ("version", release.terms.name(place))], lane))
        })
    };
    head(out, "tollgate_version_weight_percent", "gauge", "Share of a model's calls that a version serves.");
    for (labels, lane) in lanes() {
        row(out, "tollgate_version_weight_percent", &labels, lane.weight);
    }
    for (name, help, pick) in COUNTERS {
        head(out, name, "counter", help);
        for (labels, lane) in lanes() {
            row(out, name, &labels, pick(lane));
        }
    }
    let name = "tollgate_version_evidence";
    head(out, name, "gauge", "What is known against a version, by kind: 1 is nothing, 1/alpha of all kinds is proof.");
    for ([model, version], lane) in lanes() {
        for kind in Kind::ALL {
            row(out, name, &[model, version, ("kind", kind.name())], rounded(lane.case.of(kind).wealth()));
        }
        row(out, name, &[model, version, ("kind", "all")], rounded(lane.case.wealth()));
    }
    let name = "tollgate_version_mirrored_total";
    head(out, name, "counter", "Mirrored calls by how their answer compares; skipped ones found no room.");
    for ([model, version], lane) in lanes() {
        let tally = &lane.tally;
        let same = tally.mirrored.saturating_sub(tally.mismatched);
        for (word, count) in [("same", same), ("mismatched", tally.mismatched), ("skipped", tally.skipped)] {
            row(out, name, &[model, version, ("outcome", word)], count);
        }
    }
    let name = "tollgate_release_turns";
    head(out, name, "gauge", "Turns of the release that are remembered, by what was done.");
    for (release, progress) in &releases {
        for act in [Act::Promote, Act::Regress, Act::Rollback, Act::Start] {
            let count = progress.past.iter().filter(|turn| turn.act == act).count();
            row(out, name, &[("model", &release.model), ("act", act.name())], count);
        }
    }
}
