//! Releases over the admin listener: `GET /releases` tells how they stand, `POST /releases` moves one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tollgate_core::identity::ExchangeId;

use crate::release::levers::Order;
use crate::release::told;
use crate::send::json as whole;
use crate::start::Control;
use crate::state::State;

/// Where releases are.
pub const PATH: &str = "/releases";
/// The largest order.
const LARGEST: usize = 16 * 1024;

/// Answers a request to [`PATH`].
pub(super) async fn answer(control: Arc<Control>, request: Request<Incoming>, from: SocketAddr) -> Response<Bytes> {
    match *request.method() {
        Method::GET => tell(&control, request.uri().query()),
        Method::POST => {
            let Ok(body) = Limited::new(request.into_body(), LARGEST).collect().await else {
                return wrong(StatusCode::BAD_REQUEST, "the order did not come whole, or is too large");
            };
            match serde_json::from_slice(&body.to_bytes()) {
                Ok(order) => obey(control, order, from).await,
                Err(error) => wrong(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => whole(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"{\"code\":\"method_not_allowed\"}")),
    }
}

/// Writes down how far releases have come, where that has changed.
pub(super) fn write(state: &State) -> io::Result<()> {
    let Some(keep) = &state.keep else { return Ok(()) };
    state.releases.write(&state.policy(), |text| keep.write_releases(text))
}

fn tell(control: &Control, query: Option<&str>) -> Response<Bytes> {
    let model = match query.map(|query| query.split_once('=')) {
        None => None,
        // Names of models hold no sign that a query would have to hide but `/` and `:`, and it need not.
        Some(Some(("model", name))) => Some(name.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":")),
        Some(_) => return wrong(StatusCode::BAD_REQUEST, "the query is not `model=NAME`"),
    };
    let releases = told::status(&control.state.policy(), model.as_deref());
    match model {
        Some(model) if releases.is_empty() => unknown(&model),
        _ => whole(StatusCode::OK, Bytes::from(json!({ "releases": releases }).to_string())),
    }
}

async fn obey(control: Arc<Control>, order: Order, from: SocketAddr) -> Response<Bytes> {
    // It waits for the disk: not on the thread that answers health checks.
    let done = tokio::task::spawn_blocking(move || act(&control.state, &order, from)).await;
    done.unwrap_or_else(|_| wrong(StatusCode::SERVICE_UNAVAILABLE, "the act was lost"))
}

fn act(state: &State, order: &Order, from: SocketAddr) -> Response<Bytes> {
    let policy = state.policy();
    let mut releases = policy.models.iter().filter_map(|model| model.release.as_ref());
    let Some(release) = releases.find(|release| *release.model == *order.model) else {
        return unknown(&order.model);
    };
    let now_ms = state.clock.unix_ms();
    let foreseen = match release.foresee(order, now_ms) {
        Ok(turn) => turn,
        Err(why) => return wrong(StatusCode::CONFLICT, &why.to_string()),
    };
    let mut random = [0; 16];
    // Without randomness the number is 0, and the line says the rest.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let at = (ExchangeId(u128::from_le_bytes(random)), from.ip().to_string(), policy.generation);
    // On record first: an act that nobody can find afterwards must not happen.
    if told::act(release, &foreseen, at).append(&state.recorder, &state.redactor) == Some(false) {
        return wrong(StatusCode::SERVICE_UNAVAILABLE, "the act could not be written to the record");
    }
    let turn = match release.pull(order, now_ms) {
        Ok(turn) => turn,
        // It moved by itself meanwhile.
        Err(why) => return wrong(StatusCode::CONFLICT, &why.to_string()),
    };
    let survives = state.keep.is_some() && write(state).is_ok();
    let body = json!({
        "done": told::past(release, &turn),
        "release": told::status(&policy, Some(&order.model)).pop(),
        "recorded": state.recorder.wants_lines(),
        "survives_restart": survives,
    });
    whole(StatusCode::OK, Bytes::from(body.to_string()))
}

fn unknown(model: &str) -> Response<Bytes> {
    wrong(StatusCode::NOT_FOUND, &format!("`{model}` is no model with versions"))
}

fn wrong(status: StatusCode, why: &str) -> Response<Bytes> {
    whole(status, Bytes::from(json!({ "error": why }).to_string()))
}
