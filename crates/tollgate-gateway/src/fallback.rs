//! Another way for a call whose own way failed before a byte of an answer was passed on: the same model at another upstream,
//! or another model.
//!
//! Another model is another call: the body or the path says its name, and the result is parsed, authorized and held to that
//! model's contract like any other. A way that would refuse the call is passed over. The tenant has paid once and is settled
//! at what ran in the end; where nothing answers, the caller is told what the first way said.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tollgate_core::call::{Call, Dialect, ModelId};
use tollgate_core::cost::Estimate;
use tollgate_core::guard::Mode;
use tollgate_core::identity::Identity;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::Denial;
use tollgate_core::stage::Stage;
use tollgate_layers::contract::Awaited;
use tollgate_layers::hygiene::Head;
use tollgate_layers::parse::Given;
use tollgate_layers::protocol::json;
use tollgate_layers::routes::{Found, Route, Verb};

use crate::body::Payload;
use crate::exchange::{Exchange, Seen};
use crate::inspect::{INLINE, on_pool};
use crate::pipeline::Admitted;
use crate::send::{Failed, Placed, Reply, once, place};
use crate::snapshot::Policy;
use crate::turn::deadline;
use crate::upstream::{Target, Upstream};
use crate::worker::Worker;

/// Says which way a call went, where that was not its own.
pub const HEADER: HeaderName = HeaderName::from_static("x-tollgate-fallback");

/// One other way for the calls of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fallback {
    /// Place of its upstream.
    pub upstream: usize,
    /// The other model, if it is one.
    pub model: Option<ModelId>,
    /// What callers are told: the name of the upstream, or of the model.
    pub name: Box<str>,
}

/// Other ways for a call, in order.
pub fn ways<'a>(p: &'a Policy, job: &Admitted) -> &'a [Fallback] {
    let model = job.call.model.filter(|_| job.verb == Verb::Infer);
    model.and_then(|model| p.models.get(model.index())).map_or(&[], |model| &model.fallback)
}

/// Tells a caller which way its call went. The names of our servers are for those who proved who they are.
pub fn announce(exchange: &Exchange, fields: &mut HeaderMap) {
    let Some(name) = exchange.seen.fallback.as_deref() else { return };
    let known = exchange.seen.who.as_ref().is_some_and(|who| !who.is_anonymous());
    let name = if known { name } else { "true" };
    if let Ok(name) = HeaderValue::try_from(name) {
        fields.insert(HEADER, name);
    }
}

/// Tries the other ways of a call whose own failed.
///
/// # Errors
/// What the first way said, where no other answers.
pub async fn run(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    mut failed: Failed,
    ways: &[Fallback],
) -> Result<Reply, Denial> {
    for way in ways {
        let now = w.tick(&ex.facts, &mut ex.log);
        let Some(upstream) = p.upstreams.get(way.upstream) else { continue };
        let model = way.model.or(failed.job.call.model);
        if !failed.may_go_elsewhere() || now >= deadline(ex) {
            break;
        }
        if !is_able(p, upstream, model) {
            continue;
        }
        let own = match way.model {
            None => None,
            Some(model) => match renamed(p, w, ex, (&mut failed.job, model)).await {
                Some(own) => Some(own),
                None => continue,
            },
        };
        failed.job.at = now;
        // What it costs there says nothing of its own way.
        failed.job.tab.learn_nothing();
        failed.job.bill();
        failed.job.tab.served_by(upstream);
        let placed = place(p, w, ex, (upstream, &failed.job)).await;
        let tried = match placed {
            Ok((slot, at)) => {
                let Failed { job, first, .. } = failed;
                let placed = Placed { job, slot, at };
                match once(p, w, ex, placed, (upstream, true)).await {
                    Ok(reply) => {
                        first.note(ex);
                        Ok(reply)
                    }
                    Err(next) => Err(next.after(first)),
                }
            }
            // Its line is full: nothing of the call was touched.
            Err(_full) => Err(failed),
        };
        failed = match tried {
            Ok(reply) => {
                let asked = own.as_ref().map_or(model, |own| own.call.model).and_then(|model| p.model_name(model));
                w.state.meters.fell_back(asked.unwrap_or_default(), &way.name);
                ex.seen.fallback = Some(way.name.clone());
                // Its own way may answer the next time.
                ex.seen.keeping = None;
                return Ok(reply);
            }
            Err(failed) => failed,
        };
        if let Some(own) = own {
            own.put_back(&mut failed.job, &mut ex.seen);
            failed.job.bill();
        }
    }
    Err(failed.end(ex))
}

impl Admitted {
    /// The bill is for what the call says now.
    fn bill(&mut self) {
        let Self { tab, call, route, who, estimate, .. } = self;
        tab.is_for(call, route, (who, *estimate));
    }
}

/// Whether anything would be sent there now.
fn is_able(p: &Policy, upstream: &Upstream, model: Option<ModelId>) -> bool {
    match &upstream.target {
        Target::Local(backend) => backend.ready(),
        Target::Remote(remote) => remote.is_able(model.and_then(|model| p.model_name(model)), p.now()),
    }
}

/// What of a call is another model's, or was its own.
struct Said {
    head: Head,
    body: Option<Bytes>,
    call: Call,
    estimate: Estimate,
    awaited: Option<Box<Awaited>>,
}

impl Said {
    /// Takes the place of what a call says, and gives that back.
    fn put_back(self, job: &mut Admitted, seen: &mut Seen) -> Self {
        let Self { head, body, call, estimate, awaited } = self;
        let body = match (&mut job.body, body) {
            (Payload::Held(held, _), Some(body)) => Some(std::mem::replace(held, body)),
            _ => None,
        };
        Self {
            head: std::mem::replace(&mut job.head, head),
            body,
            call: std::mem::replace(&mut job.call, call),
            estimate: std::mem::replace(&mut job.estimate, estimate),
            awaited: std::mem::replace(&mut seen.awaited, awaited),
        }
    }
}

/// Makes a call one for another model, and gives back what it was; `None`, and it stays what it was, where that model does
/// not take it.
async fn renamed(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    (job, model): (&mut Admitted, ModelId),
) -> Option<Said> {
    let (name, own) = (p.model_name(model)?, p.model_name(job.call.model?)?);
    let Payload::Held(bytes, hold) = &mut job.body else { return None };
    let mut head = job.head.clone();
    let body = match job.call.dialect {
        Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAi => {
            let body = named_in_body(bytes, name)?;
            // Both are held from here on.
            let reader = w.reader(p, ex.facts.started);
            reader.keep(hold, bytes.len() + body.len()).await.ok()?;
            body
        }
        Dialect::KserveV1 | Dialect::Oip | Dialect::TfColumns => {
            head.uri = named_in_path(&head.uri, own, name)?;
            bytes.clone()
        }
        _ => return None,
    };
    let asked = Asked {
        policy: Arc::clone(p),
        head,
        route: Arc::clone(&job.route),
        verb: job.verb,
        model,
        body,
        who: job.who.clone(),
    };
    let (call, asked) = if asked.body.len() <= INLINE {
        (asked.judge(&mut ex.log)?, asked)
    } else {
        let Exchange { log, waf, .. } = ex;
        on_pool(w, Stage::Contract, (log, waf), move |log, _| Ok(asked.judge(log).map(|call| (call, asked))))
            .await
            .ok()??
    };
    let found = Found { route: &job.route, verb: job.verb, model: Some(name) };
    let estimate = p.estimate(&found, &call, &job.who);
    let judged = p.contract.mode(&ex.log) != Mode::Off;
    let awaited = p.contract.layer.as_ref().filter(|_| judged).and_then(|contracts| contracts.awaits(&call));
    Some(Said { head: asked.head, body: Some(asked.body), call, estimate, awaited }.put_back(job, &mut ex.seen))
}

/// A call for another model, owned, to cross to another thread.
struct Asked {
    policy: Arc<Policy>,
    head: Head,
    route: Arc<Route>,
    verb: Verb,
    model: ModelId,
    body: Bytes,
    who: Identity,
}

impl Asked {
    /// The call, if that model takes it from this caller. What speaks against it is no refusal of the exchange, so nothing
    /// of it is written down; modes hold as they do in the pipeline.
    fn judge(&self, log: &mut Journal) -> Option<Call> {
        let Self { policy, head, route, verb, model, body, who } = self;
        let found = Found { route, verb: *verb, model: policy.model_name(*model) };
        let call = policy.parse.layer.call(Given { head, found: &found, body }).ok()?;
        let enforced = |mode: Mode| mode == Mode::Enforce;
        let allowed = policy.authz.layer.as_ref().is_none_or(|authz| authz.use_model(who, route, *model).is_ok());
        let fits = policy
            .contract
            .layer
            .as_ref()
            .is_none_or(|contracts| contracts.check(route, &call, body, &mut log.notes(Stage::Contract)).is_ok());
        let passes = (allowed || !enforced(policy.authz.mode(log))) && (fits || !enforced(policy.contract.mode(log)));
        (passes && call.model == Some(*model)).then_some(call)
    }
}

/// The body with another name in its member `model`. Names of models need no escapes.
fn named_in_body(body: &[u8], name: &str) -> Option<Bytes> {
    let at = json::place_at_root(body, "model")?;
    let mut renamed = BytesMut::with_capacity(body.len() + name.len());
    for piece in [body.get(..at.start)?, b"\"", name.as_bytes(), b"\"", body.get(at.end..)?] {
        renamed.extend_from_slice(piece);
    }
    Some(renamed.freeze())
}

/// The target with another name behind `/models/`.
fn named_in_path(uri: &Uri, own: &str, name: &str) -> Option<Uri> {
    let (before, rest) = uri.path().split_once("/models/")?;
    let rest = rest.strip_prefix(own)?;
    if !(rest.is_empty() || rest.starts_with(['/', ':'])) {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{before}/models/{name}{rest}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_body_is_replaced_where_it_stands_at_the_root_and_nowhere_else() {
        let body = br#"{"messages":[{"role":"user","content":"\"model\":\"a\""}], "model" : "a" ,"x":{"model":"a"}}"#;
        let renamed = named_in_body(body, "org/b:7").expect("a model");
        let expected = String::from_utf8_lossy(body).replace(r#""model" : "a""#, r#""model" : "org/b:7""#);
        assert_eq!(renamed, expected.as_bytes());
        for none in ["{}", "[]", r#"{"x":{"model":"a"}}"#, r#"{"model":7}"#] {
            assert_eq!(named_in_body(none.as_bytes(), "b"), None, "{none}");
        }
    }

    #[test]
    fn the_name_in_a_path_is_replaced_as_a_whole() {
        for (from, to) in [
            ("/v2/models/a/infer", Some("/v2/models/b/infer")),
            ("/v1/models/a:predict?x=1", Some("/v1/models/b:predict?x=1")),
            ("/v1/models/a", Some("/v1/models/b")),
            ("/v2/models/ab/infer", None),
            ("/v2/a/infer", None),
        ] {
            let renamed = named_in_path(&from.parse().expect("a target"), "a", "b");
            assert_eq!(renamed.map(|uri| uri.to_string()).as_deref(), to, "{from}");
        }
    }
}
