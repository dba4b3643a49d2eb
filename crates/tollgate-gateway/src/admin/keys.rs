//! API keys over the admin listener: the same acts as `tollgate keys`, on the key file of the gateway that runs. Each act
//! is on record before it is answered, and effective before that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{DEFAULT_GRACE, DEFAULT_KEPT, NewKey, Rotation, Timestamp};
use tollgate_layers::authz::Scope;

use super::levers::{Origin, recorded, told};
use crate::config::KeyDesk;
use crate::keys::{Done, KeyAct};
use crate::send::json;
use crate::start::Control;

/// Where they are, on the admin listener.
pub const PATH: &str = "/keys";

/// The largest request.
const MOST: usize = 64 * 1024;

/// What is asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "act")]
pub enum Asked {
    /// Take over a key that exists already.
    Import(Made),
    /// Make a key.
    New(Made),
    /// Drop records of keys long gone.
    Prune {
        /// For how many days they are kept.
        #[serde(default)]
        kept_days: Option<u32>,
    },
    /// Refuse a key, for ever.
    Revoke {
        /// Its id.
        id: String,
    },
    /// Make a key that follows another one.
    Rotate {
        /// The id of the key that it follows.
        id: String,
        /// For how many hours the old one is still good.
        #[serde(default)]
        grace_hours: Option<u32>,
        /// How many days the new one lives.
        #[serde(default)]
        days: Option<u32>,
        /// The pepper that seals it.
        #[serde(default)]
        pepper: Option<String>,
    },
}

/// What a new key is like.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Made {
    /// The key, where it exists already.
    pub key: Option<String>,
    /// Its tenant.
    pub tenant: String,
    /// Who of the tenant uses it.
    pub client: String,
    /// What for.
    pub purpose: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Models that it is held to.
    pub models: Vec<String>,
    /// Networks that it may come from.
    pub cidrs: Vec<String>,
    /// From when on it is valid.
    pub not_before: Option<Timestamp>,
    /// How many days it lives.
    pub days: Option<u32>,
    /// The label inside it.
    pub env: Option<String>,
    /// What it is for, in words.
    pub note: String,
    /// The pepper that seals it.
    pub pepper: Option<String>,
}

/// Answers at [`PATH`]: `GET` lists, `POST` acts.
pub async fn answer(control: Arc<Control>, request: Request<Incoming>, from: SocketAddr) -> Response<Bytes> {
    let listed = match *request.method() {
        Method::GET => true,
        Method::POST => false,
        _ => return json(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"{\"code\":\"method_not_allowed\"}")),
    };
    let Ok(body) = Limited::new(request.into_body(), MOST).collect().await else {
        return told(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let body = Secret::new(body.to_bytes().to_vec());
    // It waits for the disk: not on the thread that answers health checks.
    let done = tokio::task::spawn_blocking(move || if listed { list(&control) } else { asked(&control, &body, from) });
    let mut response = done.await.unwrap_or_else(|_| told(StatusCode::SERVICE_UNAVAILABLE, "the act was lost"));
    // It may hold a new key.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn asked(control: &Control, body: &Secret, from: SocketAddr) -> Response<Bytes> {
    // What the reader says of a mistake may quote the body, which may hold a key.
    match serde_json::from_slice::<Asked>(body.expose()) {
        Ok(asked) => act(control, asked, from),
        Err(error) => {
            let why = format!("line {}, column {}: not what is asked for here", error.line(), error.column());
            told(StatusCode::BAD_REQUEST, &why)
        }
    }
}

fn list(control: &Control) -> Response<Bytes> {
    match desk(control) {
        Ok(desk) => {
            let rows: Vec<_> = desk.keys.rows(now(control)).collect();
            let body = json!({ "keys": rows, "rejected": control.state.keys.rejected() });
            json(StatusCode::OK, Bytes::from(body.to_string()))
        }
        Err(refusal) => *refusal,
    }
}

fn act(control: &Control, asked: Asked, from: SocketAddr) -> Response<Bytes> {
    let mut desk = match desk(control) {
        Ok(desk) => desk,
        Err(refusal) => return *refusal,
    };
    if matches!(&asked, Asked::New(made) if made.key.is_some()) {
        return told(StatusCode::UNPROCESSABLE_ENTITY, "a new key is made here: `key` is for `import`");
    }
    let (act, pepper) = asked.act();
    let done = match desk.act(act, pepper.as_deref(), now(control)) {
        Ok(done) => done,
        Err(why) => return told(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
    };
    // On record first: an act that nobody can find afterwards must not happen.
    if let Err((status, why)) = recorded(&control.state, (done.act, done.told()), Origin::Operator(from)) {
        return told(status, &why);
    }
    if done.changed {
        match desk.save() {
            Ok(saved) => control.state.keys.take(saved),
            Err(error) => return told(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }
    json(StatusCode::OK, Bytes::from(shown(&done, control).to_string()))
}

fn shown(done: &Done, control: &Control) -> serde_json::Value {
    let mut shown = done.told();
    let more = [
        ("key", done.issued.as_ref().map(|issued| issued.reveal().into())),
        ("weak_bits", done.weak.map(Into::into)),
        ("changed", Some(done.changed.into())),
        ("recorded", Some(control.state.recorder.wants_lines().into())),
        ("rejected", control.state.keys.rejected().map(Into::into)),
    ];
    if let Some(members) = shown.as_object_mut() {
        members.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    shown
}

/// The key file, open for a change, with what this gateway knows of the use of keys.
fn desk(control: &Control) -> Result<KeyDesk, Box<Response<Bytes>>> {
    let Some(recipe) = control.state.keys.recipe() else {
        return Err(Box::new(told(StatusCode::NOT_FOUND, "no keys are configured: `auth.keys`")));
    };
    let opened = KeyDesk::beside(&recipe);
    let mut desk = opened.map_err(|error| Box::new(told(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())))?;
    desk.keys.note_used(&control.state.ring.used());
    Ok(desk)
}

fn now(control: &Control) -> Timestamp {
    Timestamp::of_unix_ms(control.state.clock.unix_ms())
}

impl Asked {
    /// The act, and the pepper for what it makes.
    fn act(self) -> (KeyAct, Option<String>) {
        const HOUR: Duration = Duration::from_hours(1);
        match self {
            Self::Import(mut made) => {
                let key = Secret::new(made.key.take().unwrap_or_default().into_bytes());
                let (request, pepper) = made.request();
                (KeyAct::Import { request, key }, pepper)
            }
            Self::New(made) => {
                let (request, pepper) = made.request();
                (KeyAct::Issue(request), pepper)
            }
            Self::Prune { kept_days } => (KeyAct::Prune(kept_days.map_or(DEFAULT_KEPT, |days| HOUR * 24 * days)), None),
            Self::Revoke { id } => (KeyAct::Revoke(id), None),
            Self::Rotate { id, grace_hours, days, pepper } => {
                let grace = grace_hours.map_or(DEFAULT_GRACE, |hours| HOUR * hours);
                let rotation = Rotation { grace, days, created_by: BY.to_owned() };
                (KeyAct::Rotate { id, rotation }, pepper)
            }
        }
    }
}

/// Who makes keys here: whoever has the admin key.
const BY: &str = "admin_key";

impl Made {
    fn request(self) -> (NewKey, Option<String>) {
        let request = NewKey {
            env: self.env.unwrap_or_else(|| "live".to_owned()),
            tenant: self.tenant,
            client: self.client,
            purpose: self.purpose,
            scopes: self.scopes,
            models: self.models,
            cidrs: self.cidrs,
            not_before: self.not_before,
            days: self.days,
            created_by: BY.to_owned(),
            note: self.note,
            first: None,
        };
        (request, self.pepper)
    }
}
