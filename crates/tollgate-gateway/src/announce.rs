//! What the head of every answer says beside the answer: budgets, the version that answered, another way that was taken, a place in line,
//! and the end of a key. Decides
//! nothing and charges nothing.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_layers::auth::Timestamp;
use tollgate_layers::limits::{Payer, headers};

use crate::exchange::Exchange;
use crate::fallback;
use crate::problem::Face;
use crate::release;
use crate::snapshot::Policy;
use crate::turn;

/// When the key ends that the request came with, in RFC 3339: only where it must be replaced.
const KEY_EXPIRES: HeaderName = HeaderName::from_static("tollgate-key-expires");

/// Adds the fields to `out`; `retry_after` is the wait of a refusal.
pub fn announce(policy: &Policy, exchange: &Exchange, retry_after: Option<Duration>, out: &mut HeaderMap) {
    budgets(policy, exchange, retry_after, out);
    release::announce(exchange, out);
    fallback::announce(exchange, out);
    turn::tell(&exchange.seen, out);
    retirement(exchange, out);
}

/// Tells the user of a key that another one has followed until when it is good.
fn retirement(exchange: &Exchange, out: &mut HeaderMap) {
    let ends = exchange.seen.who.as_ref().and_then(|who| who.retires_ms);
    let Some(ends) = ends.map(|ms| Timestamp::of_unix_ms(ms).to_string()) else { return };
    if let Ok(ends) = HeaderValue::from_str(&ends) {
        out.insert(KEY_EXPIRES, ends);
    }
}

/// The `RateLimit` fields of a caller who proved who they are, and what OpenAI's and Anthropic's clients look for on routes that speak so.
fn budgets(policy: &Policy, exchange: &Exchange, retry_after: Option<Duration>, out: &mut HeaderMap) {
    let (Some(limits), Some(who)) = (&policy.limits.layer, &exchange.seen.who) else { return };
    let infers = exchange.seen.route.as_ref().is_some_and(|route| !route.free);
    if who.is_anonymous() || !infers {
        return;
    }
    let from = exchange.seen.from.unwrap_or(exchange.facts.peer.ip);
    let now = policy.now();
    let passed = u64::try_from(now.since(exchange.facts.started).as_millis()).unwrap_or(u64::MAX);
    let unix_ms = exchange.facts.unix_ms.saturating_add(passed);
    let levels = limits.levels(Payer { who, model: exchange.seen.model, from, unix_ms }, now);
    let Some(fields) = headers::fields(&levels, retry_after) else { return };
    out.insert(headers::POLICY, fields.policy);
    out.insert(headers::LEVEL, fields.level);
    match Face::of(&exchange.seen) {
        Face::Anthropic => headers::anthropic(&levels, unix_ms, out),
        Face::OpenAi => headers::openai(&levels, out),
        Face::Grpc | Face::Ollama | Face::Problem => {}
    }
}
