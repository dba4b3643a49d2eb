//! The lever of an incident, over the admin listener: pulled, listed and let go. Each act is on record before it is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_core::identity::ExchangeId;
use tollgate_layers::limits::{Lever, Target};

use crate::record::act::Act;
use crate::send::json;
use crate::start::Control;
use crate::state::State;
use crate::store::Notice;

/// Where they are, on the admin listener.
pub const PATH: &str = "/limits/overrides";

/// The largest request.
const MOST: usize = 16 * 1024;

/// What is asked for. Exactly one of the first three.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A network, such as `203.0.113.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// The id of a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name of a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What is left, from 0 to below 1. Not for letting go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// For how many milliseconds. Not for letting go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Asked {
    fn target(&self, state: &State) -> Result<Target, String> {
        match (&self.cidr, &self.key, &self.tenant) {
            (Some(net), None, None) => {
                let net = net.parse().map_err(|_| format!("`{net}` is not a network such as `203.0.113.0/24`"))?;
                Ok(Target::Cidr(net))
            }
            (None, Some(key), None) => Ok(Target::Key(key.clone())),
            (None, None, Some(tenant)) => {
                let known = state.policy().limits.layer.as_ref().is_some_and(|limits| limits.knows(tenant));
                // A typing mistake must not look like help in an incident.
                known.then(|| Target::Tenant(tenant.clone())).ok_or_else(|| format!("`{tenant}` is not a tenant"))
            }
            _ => Err("exactly one of `cidr`, `key` and `tenant`".to_owned()),
        }
    }

    fn permille(&self) -> Result<u32, String> {
        let factor = self.factor.ok_or("a `factor` from 0 to below 1")?;
        let thousandths = (factor * 1000.0).round();
        let sound = (0.0..1000.0).contains(&thousandths) && (thousandths - factor * 1000.0).abs() < 1e-6;
        (0..1000)
            .find(|part| sound && f64::from(*part) >= thousandths)
            .ok_or_else(|| format!("`{factor}` is not a factor: at least 0 and below 1, to a thousandth"))
    }
}

/// Answers at [`PATH`]: `GET` lists, `POST` pulls, `DELETE` lets go.
pub async fn answer(control: Arc<Control>, request: Request<Incoming>, from: SocketAddr) -> Response<Bytes> {
    let method = request.method().clone();
    if method == Method::GET {
        return listed(&control.state);
    }
    if method != Method::POST && method != Method::DELETE {
        return json(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"{\"code\":\"method_not_allowed\"}"));
    }
    let Ok(body) = Limited::new(request.into_body(), MOST).collect().await else {
        return told(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let asked: Asked = match serde_json::from_slice(&body.to_bytes()) {
        Ok(asked) => asked,
        Err(error) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // It waits for the disk: not on the thread that answers health checks.
    let done = tokio::task::spawn_blocking(move || act(&control.state, &method, &asked, from)).await;
    done.unwrap_or_else(|_| told(StatusCode::SERVICE_UNAVAILABLE, "the act was lost"))
}

fn act(state: &State, method: &Method, asked: &Asked, from: SocketAddr) -> Response<Bytes> {
    let target = match asked.target(state) {
        Ok(target) => target,
        Err(why) => return told(StatusCode::UNPROCESSABLE_ENTITY, &why),
    };
    if *method == Method::POST { ask(state, asked, &target, from) } else { clear(state, &target, from) }
}

fn ask(state: &State, asked: &Asked, target: &Target, from: SocketAddr) -> Response<Bytes> {
    let unix_ms = state.clock.unix_ms();
    let (permille, for_ms) = match (asked.permille(), asked.for_ms) {
        (Ok(permille), Some(for_ms)) => (permille, for_ms),
        (Err(why), _) => return told(StatusCode::UNPROCESSABLE_ENTITY, &why),
        (_, None) => return told(StatusCode::UNPROCESSABLE_ENTITY, "`for_ms`: for how long?"),
    };
    let lever = Lever {
        target: target.trimmed(),
        permille,
        since_unix_ms: unix_ms,
        until_unix_ms: unix_ms.saturating_add(for_ms),
        reason: asked.reason.clone().unwrap_or_default(),
    };
    if let Err(why) = lever.check(unix_ms) {
        return told(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string());
    }
    let shown = lever_json(&lever);
    match pull(state, lever.clone(), unix_ms, Origin::Operator(from)) {
        Ok(version) => {
            let nodes = passed(state, &Notice { lever, let_go: false });
            kept(state, json!({ "override": shown, "version": version }), nodes)
        }
        Err((status, why)) => told(status, &why),
    }
}

fn clear(state: &State, target: &Target, from: SocketAddr) -> Response<Bytes> {
    let target = target.trimmed();
    let Some(lever) = state.levers.list().1.into_iter().find(|lever| lever.target == target) else {
        return told(StatusCode::NOT_FOUND, "there is no such override");
    };
    match let_go(state, &target, Origin::Operator(from)) {
        Ok(()) => {
            let nodes = passed(state, &Notice { lever, let_go: true });
            kept(state, json!({ "version": state.levers.list().0 }), nodes)
        }
        Err((status, why)) => told(status, &why),
    }
}

/// Where an act came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Whoever has the admin key, from there.
    Operator(SocketAddr),
    /// Another node, through the store.
    Store,
}

/// Pulls a lever, on record first: an act that nobody can find afterwards must not happen.
pub(crate) fn pull(state: &State, lever: Lever, unix_ms: u64, origin: Origin) -> Result<u64, (StatusCode, String)> {
    recorded(state, ("limits.override", lever_json(&lever)), origin)?;
    state.levers.pull(lever, unix_ms).map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why.to_string()))
}

/// Lets a lever go, on record first.
pub(crate) fn let_go(state: &State, target: &Target, origin: Origin) -> Result<(), (StatusCode, String)> {
    recorded(state, ("limits.override.clear", json!({ target.kind(): target.to_string() })), origin)?;
    state.levers.release(target);
    Ok(())
}

/// Passes on what was done here to the other nodes; where it holds, if there may be others.
fn passed(state: &State, notice: &Notice) -> Option<&'static str> {
    let shared = state.balances.shared()?;
    Some(if shared.relay().pass(notice, shared.is_up()) { "all" } else { "this_one" })
}

/// Writes down what was done before anybody is told that it was.
pub(super) fn recorded(
    state: &State,
    (act, what): (&'static str, serde_json::Value),
    origin: Origin,
) -> Result<(), (StatusCode, String)> {
    let mut random = [0; 16];
    // Without randomness the number is 0, and the line says the rest.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let (by, client) = match origin {
        Origin::Operator(from) => ("admin_key", from.ip().to_string()),
        Origin::Store => ("another_node", String::new()),
    };
    let act = Act {
        time_ms: state.clock.unix_ms(),
        id: ExchangeId(u128::from_le_bytes(random)),
        act,
        by,
        client,
        what,
        generation: state.generation(),
    };
    match act.append(&state.recorder, &state.redactor) {
        Some(false) => Err((StatusCode::SERVICE_UNAVAILABLE, "the act could not be written to the record".to_owned())),
        Some(true) | None => Ok(()),
    }
}

/// Writes what survives a restart, and answers; says so where it did not get there.
fn kept(state: &State, mut body: serde_json::Value, nodes: Option<&str>) -> Response<Bytes> {
    let kept = state.keep.as_ref().map(|keep| keep.write_levers(&state.levers.list().1));
    if let Some(members) = body.as_object_mut() {
        members.insert("recorded".to_owned(), state.recorder.wants_lines().into());
        members.insert("survives_restart".to_owned(), matches!(kept, Some(Ok(()))).into());
        members.extend(nodes.map(|nodes| ("nodes".to_owned(), nodes.into())));
    }
    json(StatusCode::OK, Bytes::from(body.to_string()))
}

fn listed(state: &State) -> Response<Bytes> {
    state.levers.expire(state.clock.unix_ms());
    let (version, levers) = state.levers.list();
    let levers: Vec<_> = levers.iter().map(lever_json).collect();
    json(StatusCode::OK, Bytes::from(json!({ "overrides": levers, "version": version }).to_string()))
}

fn lever_json(lever: &Lever) -> serde_json::Value {
    json!({
        lever.target.kind(): lever.target.to_string(),
        "factor": f64::from(lever.permille) / 1000.0,
        "since_unix_ms": lever.since_unix_ms,
        "until_unix_ms": lever.until_unix_ms,
        "reason": lever.reason,
    })
}

pub(super) fn told(status: StatusCode, why: &str) -> Response<Bytes> {
    json(status, Bytes::from(json!({ "error": why }).to_string()))
}
