//! The admin listener: metrics, health, reload, keys, overrides, releases. On loopback, and only with the admin key.

pub mod keys;
pub mod levers;
pub mod releases;

mod backends;

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, watch};
use tollgate_limit::Moment;

use crate::cache;
use crate::drift;
use crate::issuers;
use crate::keys as shelf;
use crate::record::Redactor;
use crate::record::metrics::{head, row};
use crate::release;
use crate::secrets;
use crate::send::json;
use crate::snapshot::Policy;
use crate::start::{CERT_WATCH, Control, StartError};
use crate::statistics;
use crate::store;
use crate::upstream::checks;
use crate::upstream::grant;
use crate::upstream::queue::Standing;
use crate::upstream::signals;
use crate::worker::Tasks;

/// Connections of operators at once.
const MOST: usize = 64;

/// Seconds between two writes of what was learned of costs: as much of it is lost when a gateway is killed.
const COSTS_EVERY: u32 = 30;

/// Seconds between two writes of when keys were last used: they are known to the minute.
const USES_EVERY: u32 = 60;

/// The life of the control thread.
pub fn run(control: &Arc<Control>, listeners: Vec<TcpListener>, mut stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let tasks = Arc::new(Tasks::default());
        let places = Arc::new(Semaphore::new(MOST));
        for listener in listeners {
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                tasks.spawn_detached(accept(Arc::clone(control), listener, Arc::clone(&places), Arc::clone(&tasks)));
            }
        }
        tasks.spawn_detached(watch_certs(Arc::clone(control)));
        tasks.spawn_detached(keep_state(Arc::clone(control)));
        if control.is_real() {
            tasks.spawn_detached(shelf::watch(Arc::clone(control)));
        }
        tasks.spawn_detached(checks::watch(Arc::clone(&control.state), control.is_real()));
        tasks.spawn_detached(release::watch(Arc::clone(&control.state)));
        tasks.spawn_detached(signals::watch(Arc::clone(&control.state)));
        tasks.spawn_detached(grant::watch(Arc::clone(&control.state)));
        let leased = Arc::new(Tasks::default());
        if control.is_real() {
            tasks.spawn_detached(secrets::watch(Arc::clone(control)));
            leased.spawn(secrets::follow(Arc::clone(control), stop.clone()));
            tasks.spawn_detached(drift::watch(Arc::clone(&control.state)));
            tasks.spawn_detached(issuers::watch(Arc::clone(&control.state)));
            tasks.spawn_detached(statistics::watch(Arc::clone(&control.state)));
        }
        let store = Arc::new(Tasks::default());
        if control.is_real() {
            store::begin(&control.state, &store, stop.clone());
        }
        drop(stop.wait_for(|stop| *stop).await);
        // What is leased goes back.
        drop(tokio::time::timeout(store::FAREWELL, store.all_ended()).await);
        leased.all_ended().await;
    });
    // What the last exchanges used, and taught.
    write_state(control);
    write_costs(control);
    write_uses(control);
}

/// Writes what survives a restart, each second.
async fn keep_state(control: Arc<Control>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0_u32;
    while control.state.keep.is_some() {
        every.tick().await;
        rounds = rounds.wrapping_add(1);
        let (control, costs) = (Arc::clone(&control), rounds.is_multiple_of(COSTS_EVERY));
        let write = move || {
            write_state(&control);
            if costs {
                write_costs(&control);
            }
            if rounds.is_multiple_of(USES_EVERY) {
                write_uses(&control);
            }
        };
        // Waits for the disk: not on the thread that answers health checks.
        drop(tokio::task::spawn_blocking(write).await);
    }
}

fn write_state(control: &Control) {
    let state = &control.state;
    if let Some(keep) = &state.keep {
        // A failure is on the metric, and the next second writes everything.
        let at = Moment { now: tollgate_limit::Tick(state.clock.now().0), unix_ms: state.clock.unix_ms() };
        drop(keep.write(&state.ledger, at.unix_ms / 1000));
        drop(keep.write_rates(&state.ledger, at));
        drop(releases::write(state));
    }
}

/// Writes what was learned of costs, where something was.
fn write_costs(control: &Control) {
    let state = &control.state;
    if let Some(keep) = &state.keep {
        // A failure is on the metric, and the next round tries again.
        drop(state.learned.write(keep));
    }
}

/// Writes when keys were last used, where that has changed.
fn write_uses(control: &Control) {
    let state = &control.state;
    if let Some(keep) = &state.keep {
        state.keys.write_used(keep);
    }
}

/// What is looked after every few seconds: certificate files, policies that nobody holds any more, levers whose time is over.
async fn watch_certs(control: Arc<Control>) {
    let mut every = tokio::time::interval(CERT_WATCH);
    loop {
        every.tick().await;
        let control = Arc::clone(&control);
        let look = move || {
            control.reload_changed_certs();
            control.state.release_retired();
            control.state.levers.expire(control.state.clock.unix_ms());
        };
        drop(tokio::task::spawn_blocking(look).await);
    }
}

async fn accept(control: Arc<Control>, listener: tokio::net::TcpListener, places: Arc<Semaphore>, tasks: Arc<Tasks>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else { continue };
        let control = Arc::clone(&control);
        tasks.spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&control), request, from));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
            drop(place);
        });
    }
}

async fn answer(
    control: Arc<Control>,
    request: Request<Incoming>,
    from: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let redactor = Arc::clone(&control.state.redactor);
    let response = if is_operator(&control, &request) {
        match request.uri().path() {
            keys::PATH => keys::answer(control, request, from).await,
            levers::PATH => levers::answer(control, request, from).await,
            releases::PATH => releases::answer(control, request, from).await,
            _ => respond(control, &request).await,
        }
    } else {
        let mut response = json(StatusCode::UNAUTHORIZED, Bytes::from_static(b"{\"code\":\"unauthenticated\"}"));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    };
    Ok(response.map(|body| Full::new(clean(&redactor, body))))
}

/// What an operator reads goes on into tickets and logs.
fn clean(redactor: &Redactor, body: Bytes) -> Bytes {
    match str::from_utf8(&body).map(|text| redactor.clean(text)) {
        Ok(Cow::Owned(clean)) => Bytes::from(clean),
        _ => body,
    }
}

fn is_operator(control: &Control, request: &Request<Incoming>) -> bool {
    let key = control.admin_key.load();
    let Some(key) = key.as_ref() else { return false };
    let mut sent = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
    sent.as_bytes().strip_prefix(b"Bearer ").is_some_and(|sent| sent.ct_eq(key.expose()).into())
}

async fn respond(control: Arc<Control>, request: &Request<Incoming>) -> Response<Bytes> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => json(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}")),
        (&Method::GET, "/readyz") if control.state.is_ready() => {
            let degraded = control.state.secrets.troubles();
            let told = match degraded.is_empty() {
                true => serde_json::json!({ "ready": true }),
                false => serde_json::json!({ "ready": true, "degraded": degraded }),
            };
            json(StatusCode::OK, Bytes::from(told.to_string()))
        }
        (&Method::GET, "/readyz") => {
            json(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"ready\":false,\"reason\":\"draining\"}"))
        }
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Bytes::from(metrics(&control)));
            let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        }
        (&Method::GET, "/observed") => json(StatusCode::OK, Bytes::from(control.state.policy().observed().to_string())),
        (&Method::GET, "/costs") => json(StatusCode::OK, Bytes::from(control.state.learned.kept().to_json())),
        (&Method::GET, "/drift") => {
            let found = serde_json::json!({ "models": control.state.drift.found() });
            json(StatusCode::OK, Bytes::from(found.to_string()))
        }
        (&Method::GET, "/backends") => {
            json(StatusCode::OK, Bytes::from(backends::document(&control.state).to_string()))
        }
        (&Method::GET, "/issuers") => {
            let document = issuers::document(&control.state.issuers, control.state.clock.unix_ms());
            json(StatusCode::OK, Bytes::from(document.to_string()))
        }
        (&Method::POST, "/reload") => reload(control).await,
        (
            _,
            "/backends" | "/costs" | "/drift" | "/healthz" | "/issuers" | "/observed" | "/readyz" | "/metrics"
            | "/reload",
        ) => json(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"{\"code\":\"method_not_allowed\"}")),
        _ => json(StatusCode::NOT_FOUND, Bytes::from_static(b"{\"code\":\"not_found\"}")),
    }
}

async fn reload(control: Arc<Control>) -> Response<Bytes> {
    // Compiling reads files and may load models: not on the thread that answers health checks.
    let reloaded = tokio::task::spawn_blocking(move || control.reload()).await;
    let (status, body) = match reloaded {
        Ok(Ok(generation)) => (StatusCode::OK, serde_json::json!({ "generation": generation })),
        Ok(Err(StartError::Config(report))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, serde_json::json!({ "problems": report.problems }))
        }
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "error": error.to_string() })),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "error": "the reload was lost" })),
    };
    json(status, Bytes::from(body.to_string()))
}

fn metrics(control: &Control) -> String {
    use std::sync::atomic::Ordering::Relaxed;
    let state = &control.state;
    let mut out = String::with_capacity(16 * 1024);
    state.meters.render(&mut out);
    let meters = &state.meters;
    let level = |level: i64| u64::try_from(level).unwrap_or(0);
    let gauges = [
        ("tollgate_connections", "Open client connections.", level(meters.connections.load(Relaxed))),
        ("tollgate_running_exchanges", "Exchanges in progress.", level(meters.running.load(Relaxed))),
        ("tollgate_config_generation", "Number of the policy that serves.", state.generation()),
        (
            "tollgate_config_rejected",
            "1 while the newest file was refused and the old policy serves.",
            meters.config_rejected.load(Relaxed),
        ),
        ("tollgate_bodies_held_bytes", "Bytes of bodies in memory.", state.bodies.held() as u64),
        (
            "tollgate_bodies_budget_bytes",
            "The most bytes of bodies that may be in memory.",
            state.bodies.total() as u64,
        ),
        ("tollgate_ready", "Whether new requests are welcome.", u64::from(state.is_ready())),
    ];
    let counters = [
        ("tollgate_config_reloads_total", "Reloads that took effect.", meters.reloads.load(Relaxed)),
        (
            "tollgate_authz_policy_errors_total",
            "Questions of `authz` in which a policy failed, so that it denied.",
            meters.policies_failed.load(Relaxed),
        ),
        ("tollgate_panics_total", "Panics that were caught.", meters.panics.load(Relaxed)),
        ("tollgate_tls_handshakes_failed_total", "Handshakes that failed.", meters.handshakes_failed.load(Relaxed)),
        (
            "tollgate_proxy_protocol_refused_total",
            "Connections closed because no trusted proxy said whose they are.",
            meters.proxies_refused.load(Relaxed),
        ),
        ("tollgate_records_dropped_total", "Access lines that found no room.", state.recorder.dropped()),
        ("tollgate_ledger_evictions_total", "Address balances that made room.", state.ledger.evictions()),
        (
            "tollgate_state_write_failures_total",
            "Seconds in which what survives a restart could not be written.",
            state.keep.as_ref().map_or(0, crate::keep::Keep::failures),
        ),
    ];
    for (kind, list) in [("gauge", &gauges[..]), ("counter", &counters[..])] {
        for (name, help, value) in list {
            head(&mut out, name, kind, help);
            row(&mut out, name, &[], value);
        }
    }
    meters.refused_certificates.render(&mut out);
    let policy = state.policy();
    head(&mut out, "tollgate_upstream_requests", "gauge", "Requests at and before each upstream.");
    for upstream in &policy.upstreams {
        let (running, waiting) = upstream.queue.level();
        row(&mut out, "tollgate_upstream_requests", &[("upstream", &upstream.name), ("state", "running")], running);
        row(&mut out, "tollgate_upstream_requests", &[("upstream", &upstream.name), ("state", "waiting")], waiting);
    }
    if let Some(shared) = state.balances.shared() {
        shared.render(&mut out);
    }
    state.keys.render(&mut out);
    shelf::render_refusals(&state.refusals, &mut out);
    state.secrets.render(&mut out);
    backends::render(state, &mut out);
    state.learned.render(&mut out);
    queues(&mut out, &policy);
    cache::render(&policy, &mut out);
    state.drift.render(&mut out);
    issuers::render(&state.issuers, state.clock.unix_ms(), &mut out);
    release::told::render(&policy, &mut out);
    head(&mut out, "tollgate_stage_mode", "gauge", "Mode of each guard: 2 enforces, 1 observes, 0 is off.");
    for (stage, mode) in policy.modes() {
        row(&mut out, "tollgate_stage_mode", &[("stage", stage.name())], 2 - mode as u8);
    }
    out
}

/// A name, a help text, and where its value comes from.
type Gauge = (&'static str, &'static str, fn(&Standing) -> f64);

/// How full the line before each upstream is, and who got no place.
fn queues(out: &mut String, policy: &Policy) {
    let standings: Vec<_> = policy.upstreams.iter().map(|upstream| (upstream, upstream.queue.standing())).collect();
    let gauges: [Gauge; 4] = [
        (
            "tollgate_upstream_inflight_cost_us",
            "What runs at each upstream is thought to cost, in microseconds of accelerator time.",
            |standing| standing.inflight_us as f64,
        ),
        (
            "tollgate_upstream_inflight_limit",
            "How many requests of the usual cost may run at each upstream.",
            |standing| standing.limit,
        ),
        (
            "tollgate_upstream_drain_us_per_second",
            "Microseconds of cost that each upstream does in a second while somebody waits.",
            |standing| standing.drain_per_sec as f64,
        ),
        ("tollgate_upstream_pressed", "1 while a server of an upstream says that it has too much.", |standing| {
            f64::from(u8::from(standing.pressed))
        }),
    ];
    for (name, help, of) in gauges {
        head(out, name, "gauge", help);
        for (upstream, standing) in &standings {
            row(out, name, &[("upstream", &upstream.name)], of(standing));
        }
    }
    let name = "tollgate_queue_turned_away_total";
    head(out, name, "counter", "Requests that got no place before an upstream, by reason: expired, full, late, shed.");
    for (upstream, _) in &standings {
        for (why, count) in upstream.queue.turned_away() {
            row(out, name, &[("upstream", &upstream.name), ("reason", why.name())], count);
        }
    }
}
