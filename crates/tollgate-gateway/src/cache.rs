//! Answers that are kept for a while and given again to the same question of the same tenant: off unless a route says so, and
//! only for models that the configuration calls deterministic.
//!
//! A question is a tenant, a model and its version, a path, the fields that go up and the body that goes up. It is found by its HMAC-SHA-256
//! under a key that this process drew: two questions meet there once in 2^128 tries, and nobody outside can look for such a
//! pair without the key. What is kept belongs to one generation of one route, so a reload begins with nothing: no change of
//! a model, its contract, its server or the rules can be answered from before it. Streams are never kept, nor is anything that
//! was not a whole 200 within its contract and past the rules.

mod shelf;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::BytesMut;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use parking_lot::Mutex;
use tollgate_core::call::Dialect;
use tollgate_core::cost::Cost;
use tollgate_core::journal::Event;
use tollgate_core::stage::Stage;
use tollgate_core::time::Clock;
use tollgate_layers::hygiene::{Cookies, kept};
use tollgate_layers::routes::{CacheConfig, Verb};

use crate::body::Payload;
use crate::exchange::Exchange;
use crate::pipeline::Admitted;
use crate::record::metrics::{head, row};
use crate::release;
use crate::send::Reply;
use crate::snapshot::Policy;
use crate::worker::Worker;
use shelf::{Kept, Shelf};

/// Says whether an answer was kept (`hit`) or is fresh (`miss`).
const STATE: HeaderName = HeaderName::from_static("x-tollgate-cache");

/// Fields that go up and say nothing of the question: of the connection, of the program, of this one try.
const PASSED_OVER: [&str; 8] = [
    "cache-control",
    "idempotency-key",
    "pragma",
    "prefer",
    "tracestate",
    "user-agent",
    "x-request-timeout",
    "x-stainless-retry-count",
];

/// The digest of a question.
type Question = [u8; 32];

/// What one route keeps.
#[derive(Debug)]
pub struct RouteCache {
    key: hmac::Key,
    ttl: Duration,
    max_entry_bytes: usize,
    shelf: Mutex<Shelf>,
    counts: Counts,
}

/// What became of questions.
#[derive(Debug, Default)]
pub struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
}

/// An answer that is awaited and may be kept.
#[derive(Debug)]
pub struct Awaited {
    cache: Arc<RouteCache>,
    question: Question,
    clock: Clock,
    /// Less than the route's, where the server said so.
    ttl: Duration,
}

/// An answer on its way out that is kept when it is whole.
#[derive(Debug)]
pub struct Fill {
    awaited: Awaited,
    head: HeaderMap,
    body: BytesMut,
}

impl RouteCache {
    /// Nothing is kept yet. `secret` was drawn by this process.
    #[must_use]
    pub fn new(config: &CacheConfig, secret: (u64, u64)) -> Self {
        let secret = [secret.0.to_le_bytes(), secret.1.to_le_bytes()].concat();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            ttl: Duration::from_millis(config.ttl_ms),
            max_entry_bytes: usize::try_from(config.max_entry_bytes).unwrap_or(usize::MAX),
            shelf: Mutex::new(Shelf::new(config.max_entries, usize::try_from(config.max_bytes).unwrap_or(usize::MAX))),
            counts: Counts::default(),
        }
    }

    /// Hits, misses, answers kept; entries and bytes that are there now.
    #[must_use]
    pub fn figures(&self) -> [u64; 5] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shelf = self.shelf.lock();
        let Counts { hits, misses, stored } = &self.counts;
        [count(hits), count(misses), count(stored), shelf.len() as u64, shelf.bytes() as u64]
    }

    /// The digest of what `job` asks; `None` where it is no question whose answer can be kept.
    fn question(&self, ex: &Exchange, job: &Admitted, (version, since): (usize, u64)) -> Option<Question> {
        let model = job.call.model?;
        let Payload::Held(body, _) = &job.body else { return None };
        let streams = job.call.knobs.stream || matches!(job.call.dialect, Dialect::OipGrpc | Dialect::Other);
        if job.verb != Verb::Infer || streams || ex.seen.rpc || job.who.is_anonymous() {
            return None;
        }
        let mut digest = hmac::Context::with_key(&self.key);
        // Each part with its length, so that none can slide into the next.
        let mut add = |part: &[u8]| {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        add(job.who.tenant.as_bytes());
        add(&model.0.to_le_bytes());
        // What one version answered is not the answer of another, nor its own once it was moved.
        add(&(version as u64).to_le_bytes());
        add(&since.to_le_bytes());
        add(job.head.method.as_str().as_bytes());
        add(job.head.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes());
        let mut fields: Vec<_> = kept(&job.head.headers, Cookies::Keep)
            .filter(|(name, _)| !PASSED_OVER.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        // Values of one name keep their order.
        fields.sort_by_key(|(name, _)| *name);
        add(&(fields.len() as u64).to_le_bytes());
        for (name, value) in fields {
            add(name.as_bytes());
            add(value);
        }
        // The body that goes up is this one with these changes.
        add(body);
        for edit in &job.call.edits {
            add(&(edit.at.start as u64).to_le_bytes());
            add(&(edit.at.end as u64).to_le_bytes());
            add(&edit.with);
        }
        digest.sign().as_ref().try_into().ok()
    }

    fn keep(&self, question: Question, kept: Kept) {
        let stored = self.shelf.lock().put(question, kept);
        self.counts.stored.fetch_add(u64::from(stored), Ordering::Relaxed);
    }
}

/// The answer to what `job` asks, if it was kept: it costs nothing. Otherwise what will be kept is noted.
pub fn find(p: &Policy, w: &Worker, ex: &mut Exchange, job: &mut Admitted) -> Option<Reply> {
    let cache = p.caches.get(job.route.index)?.as_ref()?;
    let wish = Wish::of(&job.head.headers);
    if wish == Wish::NoStore {
        return None;
    }
    let edition = release::edition(p, w, ex, job);
    let question = cache.question(ex, job, edition)?;
    let known = if wish == Wish::Fresh { None } else { cache.shelf.lock().get(&question, job.at) };
    let Some(known) = known else {
        cache.counts.misses.fetch_add(1, Ordering::Relaxed);
        let (cache, clock, ttl) = (Arc::clone(cache), p.clock.clone(), cache.ttl);
        ex.seen.keeping = Some(Box::new(Awaited { cache, question, clock, ttl }));
        return None;
    };
    cache.counts.hits.fetch_add(1, Ordering::Relaxed);
    job.tab.refund();
    (ex.seen.reserved, ex.seen.cached) = (Cost(0), true);
    let mut response = Response::new(known.body);
    *response.headers_mut() = known.head;
    let headers = response.headers_mut();
    headers.insert(AGE, HeaderValue::from(job.at.since(known.at).as_secs()));
    headers.insert(STATE, HeaderValue::from_static("hit"));
    p.output.secure(headers, ex.facts.peer.tls);
    ex.log.note(Stage::Output, Event::Passed);
    Some(Reply::Whole(response))
}

/// Looks at a reply as the model server sent it: what must not be kept is not.
#[must_use]
pub fn consider(ex: &mut Exchange, reply: Reply) -> Reply {
    if let Some(mut awaited) = ex.seen.keeping.take() {
        let lasts = match &reply {
            Reply::Messages(_) => None,
            Reply::Stream(response, pending) => {
                let framed = pending.flow.as_ref().is_some_and(crate::flow::Flow::is_framed);
                let told = response.body().tells_its_end();
                may_keep(response.status(), response.headers()).filter(|_| !framed && told)
            }
            Reply::Whole(response) => may_keep(response.status(), response.headers()),
        };
        if let Some(lasts) = lasts {
            awaited.ttl = awaited.ttl.min(lasts);
            ex.seen.keeping = Some(awaited);
        }
    }
    reply
}

/// Keeps a reply that leaves, or sees to it that it is kept once all of it has left.
#[must_use]
pub fn keep(ex: &mut Exchange, reply: Reply) -> Reply {
    let Some(awaited) = ex.seen.keeping.take() else { return reply };
    match reply {
        Reply::Messages(talk) => Reply::Messages(talk),
        Reply::Stream(mut response, mut pending) => {
            pending.fill = Some(Box::new(Fill::new(*awaited, response.headers())));
            response.headers_mut().insert(STATE, HeaderValue::from_static("miss"));
            Reply::Stream(response, pending)
        }
        Reply::Whole(mut response) => {
            let mut fill = Fill::new(*awaited, response.headers());
            if fill.push(response.body()) {
                fill.done();
            }
            response.headers_mut().insert(STATE, HeaderValue::from_static("miss"));
            Reply::Whole(response)
        }
    }
}

/// Writes what routes keep and what became of questions since the last reload, in the Prometheus text format.
pub fn render(policy: &Policy, out: &mut String) {
    let routes = policy.routes.layer.all().iter();
    let kept: Vec<_> = routes
        .zip(&policy.caches)
        .filter_map(|(route, cache)| Some((&*route.name, cache.as_ref()?.figures())))
        .collect();
    if kept.is_empty() {
        return;
    }
    head(
        out,
        "tollgate_cache_answers",
        "gauge",
        "Questions that were answered from the cache or not, and answers kept, since the last reload.",
    );
    for (route, [hits, misses, stored, ..]) in &kept {
        for (what, count) in [("hit", hits), ("miss", misses), ("stored", stored)] {
            row(out, "tollgate_cache_answers", &[("route", route), ("what", what)], count);
        }
    }
    head(out, "tollgate_cache_entries", "gauge", "Answers that are kept.");
    for (route, [.., entries, _]) in &kept {
        row(out, "tollgate_cache_entries", &[("route", route)], entries);
    }
    head(out, "tollgate_cache_bytes", "gauge", "Bytes of answers that are kept.");
    for (route, [.., bytes]) in &kept {
        row(out, "tollgate_cache_bytes", &[("route", route)], bytes);
    }
}

impl Fill {
    fn new(awaited: Awaited, head: &HeaderMap) -> Self {
        Self { awaited, head: head.clone(), body: BytesMut::new() }
    }

    /// Takes a piece; `false` where it has become too large to be kept.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let fits = self.body.len().saturating_add(piece.len()) <= self.awaited.cache.max_entry_bytes;
        if fits {
            self.body.extend_from_slice(piece);
        }
        fits
    }

    /// All of it has left.
    pub fn done(self) {
        let Self { awaited: Awaited { cache, question, clock, ttl }, head, body } = self;
        let at = clock.now();
        cache.keep(question, Kept { head, body: body.freeze(), at, until: at.after(ttl) });
    }
}

/// What the one who asks says of kept answers (RFC 9111, 5.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Any,
    /// A fresh one, which may be kept.
    Fresh,
    /// None that is or will be kept.
    NoStore,
}

impl Wish {
    fn of(headers: &HeaderMap) -> Self {
        let says = |word: &str| directives(headers).any(|(name, _)| name.eq_ignore_ascii_case(word));
        let zero = directives(headers).any(|(name, value)| name.eq_ignore_ascii_case("max-age") && value == Some(0));
        let pragma = headers.get_all(PRAGMA).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
        match () {
            () if says("no-store") => Self::NoStore,
            () if says("no-cache") || zero || pragma => Self::Fresh,
            () => Self::Any,
        }
    }
}

/// How long a reply of the model server may be kept at most; `None` where it may not be at all (RFC 9111, 3).
fn may_keep(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let streams = kind.starts_with("text/event-stream") || kind.starts_with("application/x-ndjson");
    let varies = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("*");
        // The fields of a question are all that go up, but for these.
        text.split(',')
            .map(str::trim)
            .any(|name| name == "*" || PASSED_OVER.iter().any(|of| name.eq_ignore_ascii_case(of)))
    };
    if status != StatusCode::OK
        || streams
        || headers.contains_key(SET_COOKIE)
        || headers.get_all(VARY).iter().any(varies)
    {
        return None;
    }
    let mut lasts = Duration::MAX;
    for (name, value) in directives(headers) {
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" | "private" => return None,
            "max-age" | "s-maxage" => lasts = lasts.min(Duration::from_secs(value?)),
            _ => {}
        }
    }
    (lasts > Duration::ZERO).then_some(lasts)
}

/// The directives of `Cache-Control`, and the number that one is given.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<u64>)> {
    let values = headers.get_all(CACHE_CONTROL).iter();
    // What cannot be read as text forbids what it may have forbidden.
    let texts = values.map(|value| value.to_str().unwrap_or("no-store"));
    texts.flat_map(|text| text.split(',')).map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim(), value.trim().trim_matches('"').parse().ok())
    })
}
