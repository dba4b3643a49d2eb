//! Releases over the admin listener: `GET /releases` tells how they stand, `POST /releases` moves one.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;

use crate::release::levers::Order;
use crate::release::told;
use crate::send::json as whole;
use crate::start::Control;
use crate::state::State;

/// Where releases are.
pub(super) const PATH: &str = "/releases";
/// The largest order.
const LARGEST: usize = 16 * 1024;

/// Answers a request to [`PATH`].
pub(super) async fn answer(control: Arc<Control>, request: Request<Incoming>) -> Response<Bytes> {
    match *request.method() {
        Method::GET => tell(&control, request.uri().query()),
        Method::POST => {
            let Ok(body) = Limited::new(request.into_body(), LARGEST).collect().await else {
                return wrong(StatusCode::BAD_REQUEST, "the order did not come whole, or is too large");
            };
            match serde_json::from_slice(&body.to_bytes()) {
                Ok(order) => obey(control, order).await,
                Err(error) => wrong(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => whole(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"{\"code\":\"method_not_allowed\"}")),
    }
}

/// Writes down how far releases have come, where that has changed.
pub(super) fn write(state: &State) -> io::Result<()> {
    let Some(keep) = &state.keep else { return Ok(()) };
    let Some(changed) = state.releases.changed(&state.policy()) else { return Ok(()) };
    keep.write_releases(&changed).inspect_err(|_| state.releases.write_again())
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

async fn obey(control: Arc<Control>, order: Order) -> Response<Bytes> {
    let policy = control.state.policy();
    let releases = policy.models.iter().filter_map(|model| model.release.as_ref());
    let Some(release) = releases.into_iter().find(|release| *release.model == *order.model) else {
        return unknown(&order.model);
    };
    let turn = match release.pull(&order, control.state.clock.unix_ms()) {
        Ok(turn) => turn,
        Err(why) => return wrong(StatusCode::CONFLICT, &why.to_string()),
    };
    control.state.recorder.hand_over(told::audit(release, &turn));
    let state = Arc::clone(&control);
    // Done means written: a restart right after this must not undo it.
    let written = tokio::task::spawn_blocking(move || write(&state.state)).await;
    if !matches!(written, Ok(Ok(()))) {
        return wrong(StatusCode::SERVICE_UNAVAILABLE, "done, and not written to `state.directory`");
    }
    let told =
        json!({ "done": told::past(release, &turn), "release": told::status(&policy, Some(&order.model)).pop() });
    whole(StatusCode::OK, Bytes::from(told.to_string()))
}

fn unknown(model: &str) -> Response<Bytes> {
    wrong(StatusCode::NOT_FOUND, &format!("`{model}` is no model with versions"))
}

fn wrong(status: StatusCode, why: &str) -> Response<Bytes> {
    whole(status, Bytes::from(json!({ "error": why }).to_string()))
}
