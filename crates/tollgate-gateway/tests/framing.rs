//! Framing over real sockets: every case of `framing.yaml` is sent to a running gateway, over plain TCP and over TLS, in
//! one piece, behind a good request, and in two pieces split at every byte. Whatever is refused leaves the model server
//! without a byte; whatever is accepted reaches it in our own framing.

#[path = "framing/cases.rs"]
mod cases;

use std::net::SocketAddr;
use std::sync::Arc;

use cases::{By, Case};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tollgate_testkit::{Client, House, ModelServer, Taken};

/// Connections that are tried at once.
const AT_ONCE: usize = 24;
const GOOD: &[u8] = b"POST /good HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\n\r\ngood";

/// A gateway before a capturing model server.
struct Bench {
    house: House,
    server: ModelServer,
}

/// How a trial is sent.
#[derive(Clone)]
enum Wire {
    Plain,
    Tls(Arc<ClientConfig>),
}

impl Bench {
    async fn new() -> Self {
        let server = ModelServer::agreeable().await;
        let house = House::start(&format!(
            "runtime: {{ workers: 2 }}\n\
             upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 64 }} }} }}\n\
             routes:\n\
             \x20 - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST, HEAD, PUT], protocol: none, upstream: m, auth: none }}\n",
            server.url()
        ));
        Self { house, server }
    }

    fn wires(&self) -> [(Wire, SocketAddr); 2] {
        let tls = Wire::Tls(self.house.trust(&["http/1.1"]));
        [(Wire::Plain, self.house.at("plain")), (tls, self.house.at("tls"))]
    }
}

impl Wire {
    async fn connect(&self, at: SocketAddr) -> Client {
        match self {
            Self::Plain => Client::plain(at).await,
            Self::Tls(config) => Client::tls(at, config).await,
        }
    }
}

/// Sends the pieces and holds the answers against the case. Gives the number of the case's exchange.
async fn trial(mut client: Client, pieces: &[&[u8]], goods: usize, case: &Case) -> String {
    let name = &case.name;
    for piece in pieces {
        // A refusal may close while we still write; what counts is the answer.
        drop(client.try_send(piece).await);
    }
    for _ in 0..goods {
        let good = client.next().await.unwrap_or_else(|| panic!("{name}: no answer to the good request"));
        assert_eq!(good.status, 200, "{name}: the good request in front");
    }
    let mut first = None;
    for reply in 0..case.replies {
        let answer = client.next().await.unwrap_or_else(|| panic!("{name}: no answer {reply}"));
        if reply > 0 {
            assert_eq!(answer.status, 200, "{name}: answer {reply}");
        }
        first.get_or_insert(answer);
    }
    let first = first.expect("every case has an answer");
    assert_eq!(first.status, case.status, "{name}: {}", first.head);
    let says_close = first.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if case.closes {
        assert!(says_close || case.status == 200, "{name}: says that it closes: {}", first.head);
        assert_eq!(client.rest().await, b"", "{name}: nothing follows the answer");
    } else {
        assert!(!says_close, "{name}: keeps the connection: {}", first.head);
    }
    if !case.closes && pieces.len() == 1 {
        let next = client.ask(GOOD).await;
        assert_eq!(next.status, 200, "{name}: the connection goes on");
    }
    first.id()
}

/// Runs trials, a few at a time.
async fn all(trials: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut running = JoinSet::new();
    for trial in trials {
        if running.len() >= AT_ONCE {
            running.join_next().await.expect("one runs").unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        running.spawn(trial);
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

#[tokio::test]
async fn every_case_in_one_piece_has_its_outcome_and_no_refused_one_reaches_the_server() {
    let bench = Bench::new().await;
    for (wire, at) in bench.wires() {
        for case in Case::all() {
            bench.server.forget();
            let id = trial(wire.connect(at).await, &[&case.bytes()], 0, &case).await;
            if case.status == 200 {
                let taken = bench.server.requests();
                let own = taken.iter().filter(|taken| !taken.line().contains("/good"));
                assert_eq!(own.clone().count(), case.replies, "{}", case.name);
                own.for_each(|taken| framed_by_us(&case, taken));
            } else {
                assert_eq!(bench.server.bytes(), 0, "{}: bytes reached the server", case.name);
                recorded(&bench.house, &case, &id).await;
            }
        }
    }
    assert_eq!(bench.server.strays(), b"");
    bench.house.quiet().await;
}

/// The request line as sent, exactly one Content-Length if there is a body, and no field of the client's connection.
fn framed_by_us(case: &Case, taken: &Taken) {
    let (name, head) = (&case.name, &taken.head);
    assert!(taken.line().ends_with(" /p HTTP/1.1"), "{name}: {head}");
    assert!(taken.body.is_empty() || taken.body == b"hello", "{name}: {:?}", taken.body);
    let length = taken.body.len().to_string();
    let expected: &[&str] = if taken.body.is_empty() { &[] } else { &[&length] };
    assert_eq!(taken.fields("content-length"), expected, "{name}: {head}");
    assert_eq!(taken.fields("host").len(), 1, "{name}: {head}");
    for field in taken.names() {
        let known = ["host", "content-length", "x-request-id", "traceparent", "x-forwarded-for", "x-a"];
        assert!(known.contains(&field.as_str()), "{name}: `{field}` in {head}");
    }
}

/// The record names the stage, and for the gate the reason.
async fn recorded(house: &House, case: &Case, id: &str) {
    let line = house.line(id).await;
    assert_eq!(line["status"], case.status, "{}", case.name);
    assert_eq!(line["outcome"], "denied", "{}", case.name);
    let stage = if case.by == Some(By::Body) { "intake" } else { "hygiene" };
    assert_eq!(line["stage"], stage, "{}: {line}", case.name);
    if case.by == Some(By::Gate) {
        assert_eq!(line["evidence"].as_str(), case.why.as_deref(), "{}: {line}", case.name);
    }
}

#[tokio::test]
async fn every_case_behind_a_good_request_has_its_outcome_and_only_the_good_one_is_forwarded() {
    let bench = Bench::new().await;
    for (wire, at) in bench.wires() {
        for case in Case::all() {
            bench.server.forget();
            let bytes = [GOOD, &case.bytes()].concat();
            trial(wire.connect(at).await, &[&bytes], 1, &case).await;
            let taken = bench.server.requests();
            let (good, rest): (Vec<_>, Vec<_>) = taken.into_iter().partition(|taken| taken.line().contains("/good"));
            assert!(good.iter().all(|taken| taken.body == b"good"), "{}", case.name);
            if case.status == 200 {
                rest.iter().for_each(|taken| framed_by_us(&case, taken));
            } else {
                assert!(rest.is_empty(), "{}: {rest:?}", case.name);
                assert_eq!(good.len(), 1, "{}", case.name);
            }
        }
    }
    assert_eq!(bench.server.strays(), b"");
}

#[tokio::test]
async fn every_case_split_at_every_byte_has_its_outcome_and_no_refused_one_reaches_the_server() {
    let bench = Bench::new().await;
    let cases: Vec<Arc<Case>> = Case::all().into_iter().map(Arc::new).collect();
    for (wire, at) in bench.wires() {
        for accepted in [false, true] {
            bench.server.forget();
            let cases = cases.iter().filter(|case| (case.status == 200) == accepted);
            let trials = cases.flat_map(|case| case.splits().map(|split| (Arc::clone(case), split)));
            all(trials.map(|(case, split)| {
                let wire = wire.clone();
                async move {
                    let bytes = case.bytes();
                    let (head, tail) = bytes.split_at(split);
                    trial(wire.connect(at).await, &[head, tail], 0, &case).await;
                }
            }))
            .await;
            if !accepted {
                assert_eq!(bench.server.bytes(), 0, "bytes of a refused request reached the server");
            }
            for taken in bench.server.requests() {
                assert!(taken.line().ends_with(" /p HTTP/1.1"), "{}", taken.head);
                assert!(taken.body.is_empty() || taken.body == b"hello", "{:?}", taken.body);
            }
        }
    }
    bench.house.quiet().await;
}
