//! Pages about budgets: a caller's own, and the policy that everybody is held to. Both are answered here and cost nothing.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tollgate_layers::limits::{LimitsConfig, Payer, PublicLevel, Unit};

use crate::exchange::Exchange;
use crate::pipeline::Admitted;
use crate::send::json as answer;
use crate::snapshot::Policy;
use crate::worker::Worker;

/// Where a caller's own budgets are shown, unless a route says otherwise.
pub const PATH: &str = "/.tollgate/quota";

/// The published policy, written once for each generation.
#[derive(Clone, Debug, Default)]
pub struct Published {
    json: Bytes,
    markdown: Bytes,
}

impl Published {
    /// Of a configuration.
    #[must_use]
    pub fn of(limits: &LimitsConfig) -> Self {
        let page = limits.page();
        let json = serde_json::to_vec(&page).unwrap_or_default();
        Self { json: json.into(), markdown: page.markdown().into() }
    }

    /// The page: Markdown for who asks for text, else JSON.
    #[must_use]
    pub fn answer(&self, headers: &HeaderMap) -> Response<Bytes> {
        let wanted = headers.get(ACCEPT).and_then(|wanted| wanted.to_str().ok()).unwrap_or_default();
        if !wanted.contains("text/markdown") && !wanted.contains("text/plain") {
            return answer(StatusCode::OK, self.json.clone());
        }
        let mut response = Response::new(self.markdown.clone());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
        response
    }
}

/// Where the caller's own budgets stand. Nobody can ask for anybody else's: who asks is who proved it, and budgets that are
/// shared with others are not shown.
#[must_use]
pub fn own(p: &Policy, w: &Worker, ex: &Exchange, job: &Admitted) -> Response<Bytes> {
    let who = &job.who;
    let unix_ms = w.unix_ms(job.at);
    let from = ex.seen.from.unwrap_or(ex.facts.peer.ip);
    let payer = Payer { who, model: None, from, unix_ms };
    let limits = p.limits.layer.as_ref();
    let levels = limits.map(|limits| limits.levels(payer, job.at)).unwrap_or_default();
    let mut document = json!({
        "tenant": &*who.tenant,
        "key": &*who.principal,
        "unix_ms": unix_ms,
        "budgets": levels.iter().map(shown).collect::<Vec<_>>(),
    });
    if let (Some((factor, until)), Some(members)) = (limits.and_then(|of| of.lowered(payer)), document.as_object_mut())
    {
        members.insert("override".to_owned(), json!({ "factor": factor, "until_unix_ms": until }));
    }
    let mut response = answer(StatusCode::OK, Bytes::from(document.to_string()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn shown(level: &PublicLevel<'_>) -> Value {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "name": level.name,
        "per": level.per.name(),
        "unit": if level.unit == Unit::Compute { "compute_ms" } else { level.unit.name() },
        "quota": level.quota,
        "window_secs": (level.unit != Unit::Concurrent).then_some(level.window_secs),
        "remaining": level.remaining,
        "wait_ms": ms(level.wait),
        "full_in_ms": ms(level.full_in),
    })
}
