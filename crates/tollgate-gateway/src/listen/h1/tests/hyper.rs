//! The gate in front of hyper: what the codec and its service make of what passes.

use std::convert::Infallible;

use ::hyper::body::Incoming;
use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::time::timeout;

use super::*;
use crate::listen::cases::{By, Case};
use crate::listen::wire::{Walked, walk};

/// A request as a service behind hyper sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    target: String,
    raw: Option<RawHead>,
    body: Option<Vec<u8>>,
}

/// What stands in front of hyper.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Front {
    Alone,
    Lenient,
    Strict,
}

/// What became of a connection.
#[derive(Debug)]
struct Talk {
    seen: Vec<Seen>,
    reply: Vec<u8>,
    closed: bool,
    unserved: Option<RawHead>,
}

impl Talk {
    /// The statuses of the final answers.
    fn statuses(&self) -> Vec<u16> {
        let reply = String::from_utf8_lossy(&self.reply);
        let status = |head: &str| head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status line");
        reply.match_indices("HTTP/1.").map(|(at, _)| status(&reply[at..])).filter(|status| *status >= 200).collect()
    }
}

/// Sends `pieces`, each once the last one has been read, and keeps the connection open.
async fn talk(pieces: &[&[u8]], front: Front) -> Talk {
    let Rig { strict, mut client, queue, .. } = rig_with(front == Front::Lenient, 1 << 20);
    let gated = front != Front::Alone;
    let log = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let (log, popped) = (Arc::clone(&log), gated.then(|| queue.pop().expect("each request has its head")));
        async move {
            let target = request.uri().to_string();
            // A 200 would open a tunnel.
            let fine = if request.method() == Method::CONNECT { 405 } else { 200 };
            let body = request.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
            let (raw, turn) = popped.unzip();
            let flaw = raw.as_ref().and_then(|raw| raw.refused);
            let status = match (&flaw, &body) {
                (Some(flaw), _) => flaw.code.status(),
                (None, Some(_)) => fine,
                (None, None) => 400,
            };
            log.lock().push(Seen { target, raw, body });
            // The turn lasts as long as the body of the response.
            let body = Full::new(Bytes::from_static(b"answer")).map_frame(move |frame| {
                let _turn = &turn;
                frame
            });
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok::<_, Infallible>(response)
        }
    });
    let mut reply = Vec::new();
    let closed = {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(65_536);
        let serve = async {
            let served = if gated {
                builder.serve_connection(strict.into_hyper(), service).await
            } else {
                builder.serve_connection(TokioIo::new(strict.io), service).await
            };
            drop(served);
        };
        let speak = async {
            for piece in pieces {
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // Time is paused: the wait is over as soon as nobody has anything to do.
            timeout(LINGER, client.read_to_end(&mut reply)).await.is_ok()
        };
        let mut speak = std::pin::pin!(speak);
        tokio::select! {
            biased;
            () = serve => speak.await,
            closed = &mut speak => closed,
        }
    };
    let seen = std::mem::take(&mut *log.lock());
    Talk { seen, reply, closed, unserved: queue.unserved() }
}

fn assert_outcome(case: &Case, talk: &Talk, before: usize, at: usize) {
    let name = format!("{} split at {at}: {talk:?}", case.name);
    let statuses = talk.statuses();
    assert_eq!(statuses.len(), before + case.replies, "{name}");
    assert_eq!(talk.seen.len(), statuses.len(), "{name}");
    assert!(talk.unserved.is_none(), "{name}");
    if case.by != Some(By::Hygiene) {
        assert_eq!(statuses.last(), Some(&case.status), "{name}");
        assert_eq!(talk.closed, case.closes, "{name}");
    }
    let last = talk.seen.last().expect("each answer has a request");
    let refused = last.raw.as_ref().and_then(|raw| raw.refused);
    let why = refused.map(|flaw| flaw.why);
    if case.by == Some(By::Gate) {
        assert_eq!((why, last.target.as_str()), (case.why.as_deref(), "/"), "{name}");
    } else {
        assert_eq!((why, last.body.is_none()), (None, case.by == Some(By::Body)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_answers_every_framing_case_as_promised() {
    for case in Case::all() {
        assert_outcome(&case, &talk(&[&case.bytes()], Front::Strict).await, 0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_answers_every_framing_case_behind_a_good_request() {
    for case in Case::all() {
        let talk = talk(&[&[GOOD, &case.bytes()].concat()], Front::Strict).await;
        assert_eq!(talk.seen[0].target, "/good");
        assert_outcome(&case, &talk, 1, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_answers_every_framing_case_wherever_it_is_split() {
    for case in Case::all() {
        let bytes = case.bytes();
        for at in case.splits() {
            let (first, second) = bytes.split_at(at);
            assert_outcome(&case, &talk(&[first, second], Front::Strict).await, 0, at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flawed_head_that_hyper_would_refuse_reaches_the_service_of_a_lenient_listener() {
    let input = b"GET /a HTTP/1.1\r\nHost: x\r\nX (A): b\r\n\r\n";
    let talk = talk(&[input], Front::Lenient).await;
    assert!(talk.unserved.is_none());
    let [seen] = &talk.seen[..] else { panic!("one request: {talk:?}") };
    let raw = seen.raw.as_ref().expect("it has its head");
    assert_eq!((raw.refused, &raw.bytes[..]), (Some(HeadFlaw::NAME), &input[..]));
    assert_eq!((raw.target(), seen.target.as_str()), (&b"/a"[..], "/"));
}

#[tokio::test(start_paused = true)]
async fn a_flawed_head_keeps_its_body_on_a_lenient_listener() {
    let input = b"POST /a HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let talk = talk(&[input], Front::Lenient).await;
    let [seen] = &talk.seen[..] else { panic!("one request: {talk:?}") };
    let raw = seen.raw.as_ref().expect("it has its head");
    assert_eq!(raw.refused, Some(HeadFlaw::LENGTH_AND_CODING));
    assert_eq!((raw.target(), seen.target.as_str()), (&b"/a"[..], "/"));
    assert_eq!(seen.body.as_deref(), Some(&b"ok"[..]));
}

#[tokio::test(start_paused = true)]
async fn hyper_takes_every_byte_that_the_gate_lets_through() {
    for byte in 0..=u8::MAX {
        let at = |before: &[u8], after: &[u8]| [before, &[byte], after].concat();
        for request in [
            at(b"X", b" / HTTP/1.1\r\nHost: x\r\n\r\n"),
            at(b"GET /", b" HTTP/1.1\r\nHost: x\r\n\r\n"),
            at(b"GET /?", b" HTTP/1.1\r\nHost: x\r\n\r\n"),
            at(b"GET http://x", b"/ HTTP/1.1\r\nHost: x\r\n\r\n"),
            at(b"GET / HTTP/1.1\r\nX", b"A: b\r\n\r\n"),
            at(b"GET / HTTP/1.1\r\nX-A:", b"\r\n\r\n"),
            at(b"GET / HTTP/1.1\r\nContent-Length: 0", b"\r\n\r\n123456789"),
        ] {
            let text = request.escape_ascii();
            let walked = walk(&request, HeadLimits::default());
            let talk = talk(&[&request], Front::Strict).await;
            assert_eq!(talk.seen.len(), walked.len(), "{text}");
            assert!(talk.unserved.is_none(), "hyper refused {text}");
        }
    }
}

/// Requests of all shapes, most of them well-formed.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => Just(&b"POST /a?b=c HTTP/1.1\r\n"[..]),
        2 => Just(&b"\r\nPUT http://x/ HTTP/1.1\r\n"[..]),
        1 => Just(&b"OPTIONS * HTTP/1.1\r\n"[..]),
        1 => Just(&b"CONNECT x:1 HTTP/1.1\r\n"[..]),
        1 => Just(&b"!#$ /{}|\\^~ HTTP/1.1\r\n"[..]),
        1 => Just(&b"GET // HTTP/1.1\r\nConnection: keep-alive\r\nUpgrade: x\r\n"[..]),
    ];
    let field = prop_oneof![
        4 => Just(&b"Host: x\r\n"[..]),
        1 => Just(&b"X-\x7c~: \xff \t\x80\r\n"[..]),
        1 => Just(&b"Empty:\r\n"[..]),
        1 => Just(&b"Expect: 100-continue\r\n"[..]),
        1 => Just(&b"TE: trailers, gzip\r\n"[..]),
        1 => Just(&b"Cookie:a=b;\tc\t\r\n"[..]),
    ];
    let body = prop_oneof![
        2 => Just(&b"\r\n"[..]),
        2 => Just(&b"content-length: 0\r\n\r\n"[..]),
        4 => Just(&b"Content-Length:\t11 \r\n\r\nhello world"[..]),
        4 => Just(&b"transfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n06;x=\"y\"\r\n world\r\n00;z\r\nX-Sum: 1\r\n\r\n"[..]),
        2 => Just(&b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..]),
        1 => Just(&b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..]),
    ];
    let request = (line, prop::collection::vec(field, 0..4), body)
        .prop_map(|(line, fields, body)| [line, &fields.concat(), body].concat());
    prop::collection::vec(request, 1..4).prop_map(|requests| requests.concat())
}

/// A byte put in, taken out or replaced, at a place from 0 to 1 of the whole.
fn mutations() -> impl Strategy<Value = Vec<(f64, u8, Option<u8>)>> {
    let byte = prop_oneof![prop::sample::select(&b"\r\n \t:;,0159afx/#?*\0\x0b\x7f\x80"[..]), any::<u8>(),];
    prop::collection::vec((0.0..1.0, 0_u8..3, prop::option::of(byte)), 0..3)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a few hundred bytes")]
fn mutate(mut bytes: Vec<u8>, mutations: &[(f64, u8, Option<u8>)]) -> Vec<u8> {
    for (place, kind, byte) in mutations {
        let at = (place * bytes.len() as f64) as usize;
        match (kind, byte) {
            (0, Some(byte)) => bytes.insert(at, *byte),
            (1, Some(byte)) => bytes[at] = *byte,
            _ => {
                bytes.remove(at);
            }
        }
    }
    bytes
}

fn run<F: Future>(work: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(work)
}

/// What a service must have seen of `walked`: a body that was cut or flawed is an error.
fn expected(walked: &[Walked], seen: &[Seen]) -> Result<(), TestCaseError> {
    for (walked, seen) in walked.iter().zip(seen) {
        prop_assert_eq!(seen.raw.as_ref().unwrap_or(&walked.head), &walked.head);
        if walked.head.refused.is_none() {
            let target = Uri::try_from(walked.head.target()).map(|target| target.to_string());
            prop_assert_eq!(target.ok(), Some(seen.target.clone()));
            let body = walked.whole.then_some(&walked.body);
            prop_assert_eq!(seen.body.as_ref(), body);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// StrictIo accepts ⇒ hyper, behind the gate and without it, sees the same heads and the same bodies.
    #[test]
    fn what_the_gate_accepts_means_the_same_to_hyper(
        bytes in requests(),
        mutations in mutations(),
        cut in 0.0..1.0_f64,
    ) {
        let bytes = mutate(bytes, &mutations);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a few hundred bytes")]
        let at = (cut * bytes.len() as f64) as usize;
        let walked = walk(&bytes, HeadLimits::default());
        // A body that waits for more bytes never reaches the service whole, and hides nothing.
        let waiting = walked.last().is_some_and(|last| !last.whole && last.code().is_none());
        let due = walked.len() - usize::from(waiting);
        // Behind a request over HTTP/1.0 the connection may close.
        let old = walked.iter().position(|walked| walked.head.line().ends_with(b"HTTP/1.0"));
        let sure = old.map_or(due, |old| due.min(old + 1));
        let (first, second) = bytes.split_at(at);
        let gated = run(talk(&[first, second], Front::Strict));
        prop_assert!(gated.unserved.is_none(), "hyper refused what the gate let through: {:?}", gated);
        prop_assert!((sure..=due).contains(&gated.seen.len()), "{:?} {:?}", walked, gated);
        expected(&walked, &gated.seen)?;
        let good = walked.iter().filter(|walked| walked.whole).count();
        let alone = run(talk(&[first, second], Front::Alone));
        prop_assert!(alone.seen.len() >= good.min(sure), "{:?} {:?}", walked, alone);
        expected(walked.get(..good).unwrap_or_default(), &alone.seen)?;
        if good == walked.len() {
            prop_assert!(alone.seen.len() <= good, "{:?} {:?}", walked, alone);
        }
    }
}
