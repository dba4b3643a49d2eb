//! What operators are shown of endpoints: as a document and as metrics.

use serde_json::{Value, json};

use crate::record::metrics::{head, row};
use crate::state::State;
use crate::upstream::breaker::Breaker;
use crate::upstream::outlier::Reason;
use crate::upstream::standing::Standing;
use crate::upstream::{Fleet, Target};

/// One endpoint.
struct Shown {
    address: String,
    standing: Standing,
    /// Requests, their cost, slowness, weight.
    numbers: [f64; 4],
}

/// The endpoints of one face of an upstream.
struct Face {
    upstream: String,
    name: &'static str,
    breaker: Breaker,
    endpoints: Vec<Shown>,
    /// Requests that were sent again, and those that were not because the budget was spent.
    retries: (u64, u64),
    hedges: (u64, u64),
}

fn faces(state: &State) -> Vec<Face> {
    let now = state.clock.now();
    let policy = state.policy();
    let mut all = Vec::new();
    for upstream in &policy.upstreams {
        let Target::Remote(remote) = &upstream.target else { continue };
        for (name, fleet) in [("endpoints", &remote.endpoints), ("grpc", &remote.rpc)] {
            if !fleet.is_empty() {
                all.push(face((&upstream.name, name), fleet, now));
            }
        }
    }
    all
}

fn face((upstream, name): (&str, &'static str), fleet: &Fleet, now: tollgate_core::time::Tick) -> Face {
    let (breaker, endpoints) = fleet.show(now, |address, standing, numbers| Shown {
        address: format!("{address:?}"),
        standing: standing.clone(),
        numbers,
    });
    Face {
        upstream: upstream.to_owned(),
        name,
        breaker,
        endpoints,
        retries: fleet.retries.counts(),
        hedges: fleet.habits.counts(),
    }
}

/// Every upstream with its endpoints.
pub(super) fn document(state: &State) -> Value {
    let endpoint = |shown: &Shown| {
        let [running, cost_us, slowness, weight] = shown.numbers;
        let ejections: serde_json::Map<String, Value> = Reason::ALL
            .into_iter()
            .zip(shown.standing.ejections)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.name().to_owned(), count.into()))
            .collect();
        json!({
            "address": shown.address,
            "state": shown.standing.name(),
            "said": shown.standing.said,
            "lacks": shown.standing.lacks,
            "weight": weight,
            "running": running,
            "running_cost_us": cost_us,
            "slowness": slowness,
            "ejections": ejections,
        })
    };
    let face = |face: &Face| {
        json!({
            "upstream": face.upstream,
            "face": face.name,
            "breaker": face.breaker.name(),
            "retries": face.retries.0,
            "retries_denied": face.retries.1,
            "hedges": face.hedges.0,
            "hedges_won": face.hedges.1,
            "endpoints": face.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        })
    };
    json!({ "backends": faces(state).iter().map(face).collect::<Vec<_>>() })
}

/// Writes the metrics.
pub(super) fn render(state: &State, out: &mut String) {
    let faces = faces(state);
    let endpoints = || faces.iter().flat_map(|face| face.endpoints.iter().map(move |shown| (face, shown)));
    head(out, "tollgate_upstream_endpoint_state", "gauge", "1 for the state that an endpoint is in.");
    for (face, shown) in endpoints() {
        for state in Standing::NAMES {
            let labels = [("upstream", &*face.upstream), ("endpoint", &shown.address), ("state", state)];
            row(out, "tollgate_upstream_endpoint_state", &labels, u8::from(state == shown.standing.name()));
        }
    }
    head(out, "tollgate_upstream_endpoint_requests", "gauge", "Requests that run at an endpoint.");
    for (face, shown) in endpoints() {
        let labels = [("upstream", &*face.upstream), ("endpoint", &shown.address)];
        row(out, "tollgate_upstream_endpoint_requests", &labels, shown.numbers[0]);
    }
    head(
        out,
        "tollgate_upstream_endpoint_slowness",
        "gauge",
        "How slow an endpoint has been: a fading peak of the time its answers took for the time that was expected.",
    );
    for (face, shown) in endpoints() {
        let labels = [("upstream", &*face.upstream), ("endpoint", &shown.address)];
        row(out, "tollgate_upstream_endpoint_slowness", &labels, shown.numbers[2]);
    }
    head(out, "tollgate_upstream_ejections_total", "counter", "Times that an endpoint was ejected, by reason.");
    for (face, shown) in endpoints() {
        for (reason, count) in Reason::ALL.into_iter().zip(shown.standing.ejections) {
            let labels = [("upstream", &*face.upstream), ("endpoint", &shown.address), ("reason", reason.name())];
            row(out, "tollgate_upstream_ejections_total", &labels, count);
        }
    }
    head(out, "tollgate_upstream_breaker", "gauge", "Whether an upstream's breaker is open: 2 is, 1 is half open.");
    for face in &faces {
        let level = match face.breaker {
            Breaker::Closed(_) => 0,
            Breaker::Half { .. } => 1,
            Breaker::Open { .. } => 2,
        };
        row(out, "tollgate_upstream_breaker", &[("upstream", &face.upstream), ("face", face.name)], level);
    }
    head(
        out,
        "tollgate_upstream_retries_total",
        "counter",
        "Requests that were sent again, or not for want of budget.",
    );
    for face in &faces {
        for (outcome, count) in [("sent", face.retries.0), ("denied", face.retries.1)] {
            let labels = [("upstream", &*face.upstream), ("face", face.name), ("outcome", outcome)];
            row(out, "tollgate_upstream_retries_total", &labels, count);
        }
    }
    let what =
        "Requests that were sent to a second endpoint while the first was late, and those that the second answered.";
    head(out, "tollgate_upstream_hedges_total", "counter", what);
    for face in &faces {
        for (outcome, count) in [("sent", face.hedges.0), ("won", face.hedges.1)] {
            let labels = [("upstream", &*face.upstream), ("face", face.name), ("outcome", outcome)];
            row(out, "tollgate_upstream_hedges_total", &labels, count);
        }
    }
}
