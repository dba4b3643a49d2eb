//! From the listening socket to the exchange: accept, handshake, codec, and one exchange for each request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming as IncomingBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tollgate_core::identity::{ExchangeId, Facts, Peer};
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal};
use tollgate_core::stage::Stage;
use tollgate_layers::hygiene::RawVerdict;
use tollgate_layers::intake::is_called_grpc;

use crate::announce::announce;
use crate::exchange::{Exchange, Outcome};
use crate::lenient;
use crate::listen::ahead::ReadAhead;
use crate::listen::h1::{Deadlines, StrictIo, StrictSettings};
use crate::listen::h2::serve_h2;
use crate::listen::head::RawHead;
use crate::listen::heads::{HeadQueue, Turn};
use crate::listen::streams::OpenStream;
use crate::pipeline::{Incoming, serve};
use crate::problem::{Face, Figures, good_trailers, problem};
use crate::release::shadow;
use crate::reply::{Kept, Open, ReplyBody, Stream};
use crate::send::{Reply, stamp};
use crate::snapshot::Policy;
use crate::tick::within;
use crate::worker::Worker;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a listener pauses after a failed accept.
const BREATH: Duration = Duration::from_millis(20);
/// A denied request that announced more than this is not read to its end: its connection closes.
const SMALL_BODY: u64 = 16_384;

/// How much the codec reads ahead.
const BUFFER: usize = 65_536;
/// As many fields as the codec has room for on its stack.
const COMMON_HEADERS: usize = 100;

/// One exchange in so many is timed stage by stage.
const TIMED: u128 = 64;

/// One listener as one worker sees it.
pub struct Door {
    /// Its name.
    pub name: Arc<str>,
    /// TLS, if it speaks that.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Open connections of the whole process.
    pub connections: Arc<Semaphore>,
    /// TLS handshakes in progress in the whole process.
    pub handshakes: Arc<Semaphore>,
    /// For conformance runs: flawed heads are shown to the rules before they are refused.
    pub lenient: bool,
}

/// Accepts until the gateway drains.
pub async fn accept(worker: Arc<Worker>, listener: TcpListener, door: Arc<Door>) {
    let mut drain = worker.drain.clone();
    loop {
        // Above the cap nobody is accepted: the system's backlog holds them.
        let Ok(permit) = Arc::clone(&door.connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = drain.wait_for(|draining| *draining) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let task = connection(Arc::clone(&worker), Arc::clone(&door), stream, from, permit);
                worker.tasks.spawn(task);
            }
            // Out of descriptors, or a connection that was reset before it was accepted: neither ends the listener, and
            // the first will not be better in a microsecond.
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

async fn connection(
    worker: Arc<Worker>,
    door: Arc<Door>,
    stream: TcpStream,
    from: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let meters = Arc::clone(&worker.state.meters);
    meters.connections.fetch_add(1, Ordering::Relaxed);
    drop(stream.set_nodelay(true));
    let at = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let (ip, port) = at(from);
    let local = stream.local_addr().map_or((ip, 0), at);
    let listener = Arc::clone(&door.name);
    match &door.tls {
        None => {
            let peer = Arc::new(Peer { ip, port, local, listener, sni: None, tls: false, certificate: None });
            plain(&worker, stream, peer, door.lenient).await;
        }
        Some(tls) => {
            let policy = worker.state.policy();
            let limit = Duration::from_millis(policy.http.deadlines.handshake_ms);
            drop(policy);
            let alarm = worker.ticker.alarm(worker.ticker.after(limit));
            let handshake = async {
                // Handshakes are dear and come before any verdict: only so many at once.
                let _place = door.handshakes.acquire().await.ok()?;
                TlsAcceptor::from(Arc::clone(tls)).accept(ReadAhead::new(stream)).await.ok()
            };
            match within(alarm, handshake).await {
                Ok(Some(stream)) => {
                    let session = stream.get_ref().1;
                    let h2 = session.alpn_protocol() == Some(b"h2");
                    let sni = session.server_name().map(Arc::from);
                    let peer = Arc::new(Peer { ip, port, local, listener, sni, tls: true, certificate: None });
                    if h2 {
                        serve_h2(&worker, stream, peer).await;
                    } else {
                        serve_h1(&worker, stream, peer, door.lenient).await;
                    }
                }
                _ => {
                    meters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    meters.connections.fetch_sub(1, Ordering::Relaxed);
    drop(permit);
}

/// Plain text: HTTP/2 by prior knowledge if the first bytes are the beginning of its preface, else HTTP/1.1.
async fn plain(worker: &Arc<Worker>, stream: TcpStream, peer: Arc<Peer>, lenient: bool) {
    let limit = Duration::from_millis(worker.state.policy().http.deadlines.head_ms);
    let alarm = worker.ticker.alarm(worker.ticker.after(limit));
    let mut first = [0; PREFACE.len()];
    let mut drain = worker.drain.clone();
    // One look, which takes no byte. A preface that is dripped byte by byte is a bad HTTP/1.1 head, and is told so.
    let looked = tokio::select! {
        looked = within(alarm, stream.peek(&mut first)) => looked,
        _ = drain.wait_for(|draining| *draining) => return,
    };
    let Ok(Ok(seen)) = looked else { return };
    if seen >= PREFACE.len() && first == PREFACE {
        serve_h2(worker, stream, peer).await;
    } else {
        serve_h1(worker, stream, peer, lenient).await;
    }
}

/// Serves one connection, from its first byte of HTTP to its end, over whatever carries it.
pub async fn converse<T>(worker: &Arc<Worker>, stream: T, peer: Arc<Peer>, h2: bool)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if h2 {
        serve_h2(worker, stream, peer).await;
    } else {
        serve_h1(worker, stream, peer, false).await;
    }
}

async fn serve_h1<T>(worker: &Arc<Worker>, stream: T, peer: Arc<Peer>, lenient: bool)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let policy = worker.state.policy();
    let settings = strict_settings(&policy, lenient);
    drop(policy);
    let heads = HeadQueue::new();
    let io = StrictIo::new(stream, Arc::clone(&heads), settings, &worker.ticker).into_hyper();
    let service = service_fn(|request: Request<IncomingBody>| {
        let front = Front::H1 { gate: heads.pop(), lenient };
        answer(Arc::clone(worker), Arc::clone(&peer), request, front)
    });
    let mut builder = http1::Builder::new();
    builder.half_close(false).header_read_timeout(None).max_buf_size(BUFFER.max(settings.limits.max_head_bytes));
    if settings.limits.max_headers > COMMON_HEADERS {
        // Every request pays for it with an allocation.
        builder.max_headers(settings.limits.max_headers + 1);
    }
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut drain = worker.drain.clone();
    let mut drained = std::pin::pin!(drain.wait_for(|draining| *draining));
    let mut watched = false;
    let mut over = std::future::poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        // It remembers the waker of this task, which stays the same: one look is enough until the flag has moved.
        if watched && !worker.drain.has_changed().unwrap_or(true) {
            return Poll::Pending;
        }
        watched = true;
        drained.as_mut().poll(cx).map(|_| false)
    })
    .await;
    // A head whose first byte was read is answered: the codec does not see it until it is complete.
    while !over && heads.held() > 0 {
        over = within(worker.ticker.alarm(worker.ticker.now()), connection.as_mut()).await.is_ok();
    }
    if !over {
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    }
    if let Some(head) = heads.unserved() {
        record_unserved(worker, peer.clone(), head);
    }
}

/// What stands between a request and its connection until the answer is written.
pub(super) enum Front {
    /// What the strict head gate saw, and the turn that lets the next head through. Without them it is a fault of ours.
    H1 { gate: Option<(RawHead, Turn)>, lenient: bool },
    /// The stream.
    H2(OpenStream),
}

/// One exchange: whatever happens in it, exactly one answer and one record come out.
pub(super) async fn answer(
    worker: Arc<Worker>,
    peer: Arc<Peer>,
    request: Request<IncomingBody>,
    front: Front,
) -> Result<Response<ReplyBody>, Infallible> {
    let policy = worker.state.policy();
    let mut exchange = open(&worker, peer, &policy);
    let (id, h1) = (exchange.facts.id, matches!(front, Front::H1 { .. }));
    let (parts, body) = request.into_parts();
    exchange.seen.method = Some(parts.method.clone());
    exchange.seen.declared = body.size_hint().lower();
    exchange.seen.rpc = !h1 && is_called_grpc(&parts.headers);
    let mut lenient = false;
    let (raw, paired, keep) = match front {
        Front::H1 { gate: Some((head, turn)), lenient: is_lenient } => {
            lenient = is_lenient;
            let refused = head.refused.map(|flaw| RawVerdict { code: flaw.code, why: flaw.why });
            exchange.seen.raw = Some(head);
            (refused, true, Kept::Turn(turn))
        }
        Front::H1 { gate: None, .. } => (None, false, Kept::Nothing),
        Front::H2(open) => (bodiless(&parts, &body), true, Kept::Stream(open)),
    };
    name_request(&mut exchange, &parts.headers);
    let incoming = Incoming { parts, raw, body, lenient };
    let outcome = if paired && lenient {
        AssertUnwindSafe(Box::pin(lenient::serve(&policy, &worker, &mut exchange, incoming))).catch_unwind().await
    } else if paired {
        // Boxed: hyper moves the future of an answer before it is polled, and this is by far the largest part of it.
        AssertUnwindSafe(Box::pin(serve(&policy, &worker, &mut exchange, incoming))).catch_unwind().await
    } else {
        let fault = Fault::new(Origin::Own, "the codec saw another request than the head gate");
        Ok(Err(exchange.log.stop(Stage::Hygiene, fault.into())))
    };
    let result = outcome.unwrap_or_else(|_panic| {
        worker.tick(&exchange.facts, &mut exchange.log);
        worker.state.meters.panics.fetch_add(1, Ordering::Relaxed);
        Err(exchange.log.stop(Stage::Record, Fault::new(Origin::Own, "a panic was caught").into()))
    });
    let response = match result {
        Ok(reply) => {
            let mut quota = HeaderMap::new();
            announce(&policy, &exchange, None, &mut quota);
            let mut response = admitted(exchange, reply, keep);
            response.headers_mut().extend(quota);
            response
        }
        Err(denial) => denied(&policy, exchange, &denial, h1, keep),
    };
    Ok(stamped(response, id))
}

/// HTTP/2 needs no field to announce a body, so nothing in a head gives one away: a proxy behind us that turns such a
/// GET into HTTP/1.1 would send a body that nobody there expects.
fn bodiless(parts: &http::request::Parts, body: &IncomingBody) -> Option<RawVerdict> {
    let may_have_one = parts.method != Method::GET && parts.method != Method::HEAD;
    if may_have_one || body.is_end_stream() {
        return None;
    }
    Some(RawVerdict { code: Code::BadRequest, why: "a body on a GET or HEAD over HTTP/2" })
}

fn open(worker: &Worker, peer: Arc<Peer>, policy: &Arc<Policy>) -> Box<Exchange> {
    let clock = &worker.state.clock;
    let started = clock.now();
    let facts = Facts { id: worker.exchange_id(), peer, started, unix_ms: worker.unix_ms(started) };
    let mut exchange = Exchange::open(facts, Arc::clone(policy), Arc::clone(&worker.sinks));
    if exchange.facts.id.0.is_multiple_of(TIMED) {
        exchange.log.time_each_stage(clock.clone(), exchange.facts.started);
    }
    exchange
}

fn admitted(mut exchange: Box<Exchange>, reply: Reply, keep: Kept) -> Response<ReplyBody> {
    match reply {
        Reply::Whole(response) => {
            exchange.seen.status = response.status().as_u16();
            exchange.seen.bytes_out = response.body().len() as u64;
            shadow::head(&mut exchange, &response);
            shadow::show(&mut exchange, response.body());
            let trailers = exchange.seen.rpc.then(good_trailers);
            exchange.seen.rpc_status = trailers.as_ref().map(|_| 0);
            exchange.finish(Outcome::Answered, None);
            response.map(|body| ReplyBody::whole(body, keep).ending(trailers))
        }
        Reply::Messages(talk) => {
            let response = talk.head();
            exchange.seen.status = response.status().as_u16();
            response.map(|()| ReplyBody::spoken(talk.spoken(exchange), keep))
        }
        Reply::Stream(response, pending) => {
            exchange.seen.status = response.status().as_u16();
            shadow::head(&mut exchange, &response);
            response.map(|body| ReplyBody::stream(Stream::new(body, Open { exchange, pending }), keep))
        }
    }
}

fn denied(policy: &Policy, mut exchange: Box<Exchange>, denial: &Denial, h1: bool, keep: Kept) -> Response<ReplyBody> {
    let face = Face::of(&exchange.seen);
    let mut response = problem(denial, exchange.facts.id, face, Figures::of(denial, &exchange.seen));
    policy.challenge(response.headers_mut());
    policy.output.secure(response.headers_mut(), exchange.facts.peer.tls);
    let stage = exchange.log.verdict().map(|entry| entry.stage);
    let unread = exchange.seen.bytes_in == 0 && exchange.seen.declared > SMALL_BODY;
    if h1 && (unread || matches!(stage, Some(Stage::Hygiene | Stage::Intake))) {
        // What follows on this connection may not mean what its sender thinks, or is a body that nobody will read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    announce(policy, &exchange, denial.retry_after, response.headers_mut());
    exchange.seen.status = response.status().as_u16();
    exchange.seen.rpc_status = (face == Face::Grpc).then(|| denial.code.grpc_status());
    exchange.seen.bytes_out = response.body().len() as u64;
    exchange.finish(Outcome::Denied, Some(denial));
    response.map(|body| ReplyBody::whole(body, keep))
}

fn stamped(mut response: Response<ReplyBody>, id: ExchangeId) -> Response<ReplyBody> {
    stamp(response.headers_mut(), id);
    response
}

/// A head that never reached the service still ends in one record.
fn record_unserved(worker: &Worker, peer: Arc<Peer>, head: RawHead) {
    let policy = worker.state.policy();
    let mut exchange = open(worker, peer, &policy);
    let why = head.refused.map_or("the codec refused it", |flaw| flaw.why);
    exchange.seen.raw = Some(head);
    name_request(&mut exchange, &HeaderMap::new());
    exchange.seen.status = Code::BadRequest.status();
    let denial = exchange.log.stop(Stage::Hygiene, Refusal::new(Code::BadRequest).because(why).into());
    exchange.finish(Outcome::Denied, Some(&denial));
}

/// Keeps what the client calls its request, where the rules' log asks for that: from the head as it was received, so
/// that a refused one is named too.
fn name_request(exchange: &mut Exchange, headers: &HeaderMap) {
    let Some(name) = exchange.policy().waf_log.as_ref().and_then(|log| log.id_header()) else { return };
    let field = |(_, value): (&[u8], &[u8])| Box::from(value);
    exchange.seen.request_id = match &exchange.seen.raw {
        Some(raw) => raw.fields().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(field),
        None => headers.get(name).map(|value| Box::from(value.as_bytes())),
    };
}

fn strict_settings(policy: &Policy, lenient: bool) -> StrictSettings {
    let http = &policy.http;
    StrictSettings {
        limits: policy.heads,
        deadlines: Deadlines {
            head: Duration::from_millis(http.deadlines.head_ms),
            idle: Duration::from_millis(http.deadlines.idle_ms),
            write_stall: Duration::from_millis(http.deadlines.write_stall_ms),
        },
        lenient,
    }
}
