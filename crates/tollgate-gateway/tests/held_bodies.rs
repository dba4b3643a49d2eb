//! Many clients that upload 1 MiB each and never finish: memory stays within the budget for bodies, and whoever finds no
//! room is told 503. The real binary runs as a process, because memory can only be measured from outside.
//!
//! The acceptance run, up to 4,000 clients: `cargo test --release -p tollgate-gateway --test held_bodies -- --ignored
//! --nocapture`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_testkit::client::begin;
use tollgate_testkit::house::admin;
use tollgate_testkit::{House, ModelServer, Process, dial};

const BODY: usize = 1 << 20;
const MIB: u64 = 1 << 20;

/// What a run showed.
#[derive(Debug)]
struct Shown {
    clients: usize,
    answered: usize,
    refused: usize,
    /// The most resident bytes that the gateway had.
    peak: u64,
    /// The most that it may have.
    bound: u64,
    /// Resident bytes before the first client.
    idle: u64,
    took: Duration,
}

/// Opens the limit of files as far as the system lets us; the gateway's process inherits it.
fn open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    assert!(maximum >= wanted, "{wanted} open files are needed, the system allows {maximum}");
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
            .expect("within the hard limit");
    }
}

async fn run(clients: usize, budget: u64) -> Shown {
    open_files(2 * clients as u64 + 1024);
    let server = ModelServer::agreeable().await;
    let house = House::furnish(&format!(
        "memory: {{ bodies: {}MiB }}
http: {{ deadlines: {{ head_ms: 120000, body_ms: 600000, body_min_bytes_per_sec: 0 }} }}
queue: {{ deadline: 120s }}
record: {{ access: off }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: /p, protocol: none, upstream: m, auth: none, max_body_bytes: {BODY}, timeout_ms: 600000 }}
",
        budget / MIB,
        server.url()
    ));
    let process = Process::serve(&house);
    let (at, idle, began) = (process.at("plain"), process.peak(), Instant::now());
    let (release, released) = watch::channel(false);
    let ready = Arc::new(Semaphore::new(0));
    let body: Arc<[u8]> = vec![b'x'; BODY - 1].into();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(upload(at, Arc::clone(&body), Arc::clone(&ready), released.clone()));
    }
    // Everybody has sent all but the last byte, or was refused, or waits for the gateway to read.
    let all = u32::try_from(clients).expect("few");
    drop(tokio::time::timeout(Duration::from_secs(120), ready.acquire_many(all)).await);
    // Whoever waits for room is refused after `memory.wait_ms`: only then is the fullest moment over.
    let full = held(&process).await;
    release.send_replace(true);
    let (mut answered, mut refused) = (0, 0);
    while let Some(status) = running.join_next().await {
        match status.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            200 => answered += 1,
            503 => refused += 1,
            other => panic!("neither served nor refused for lack of room: {other}"),
        }
    }
    assert!(full <= budget, "{full} of {budget} bytes held");
    assert_eq!(server.count(), answered);
    let patience = Instant::now();
    while held(&process).await > 0 {
        assert!(patience.elapsed() < tollgate_testkit::PATIENCE, "held bytes are not given back");
    }
    // Pages of code are resident memory, too, and an idle gateway without optimisation has more of them than what ships, which
    // is at 15 MB.
    let code = if cfg!(debug_assertions) { idle.saturating_sub(15_000_000) } else { 0 };
    let bound = budget / 5 * 6 + 40_000_000 + 65_536 * clients as u64 + code;
    Shown { clients, answered, refused, peak: process.peak(), bound, idle, took: began.elapsed() }
}

/// Uploads all but one byte, waits for the release or an answer, and gives the status of the answer.
async fn upload(at: SocketAddr, body: Arc<[u8]>, ready: Arc<Semaphore>, mut released: watch::Receiver<bool>) -> u16 {
    let stream = dial::tcp(at).await.expect("a connection");
    let (mut from, mut to) = stream.into_split();
    let sent = async {
        to.write_all(begin("/p", "", BODY).as_bytes()).await?;
        to.write_all(&body).await?;
        ready.add_permits(1);
        drop(released.wait_for(|released| *released).await);
        to.write_all(b"x").await?;
        std::future::pending().await
    };
    let answer = async {
        let mut head = [0; 12];
        from.read_exact(&mut head).await.expect("an answer");
        String::from_utf8_lossy(head.get(9..).unwrap_or_default()).parse().expect("a status")
    };
    tokio::pin!(answer);
    let sent: Result<std::convert::Infallible, std::io::Error> = tokio::select! {
        biased;
        status = &mut answer => {
            ready.add_permits(1);
            return status;
        }
        sent = sent => sent,
    };
    // The gateway closed while we wrote: its answer is there all the same.
    drop(sent);
    let status = answer.await;
    ready.add_permits(1);
    status
}

async fn held(process: &Process) -> u64 {
    let text = admin(process.at("admin"), "GET", "/metrics").await.text();
    let row = text.lines().find_map(|line| line.strip_prefix("tollgate_bodies_held_bytes "));
    row.and_then(|value| value.parse().ok()).expect("a metric")
}

#[expect(clippy::print_stdout, reason = "the figures are what the acceptance run is for")]
fn judge(shown: &Shown) {
    let mib = |bytes: u64| bytes / MIB;
    println!(
        "{} clients: {} answered, {} refused with 503; peak {} MiB of {} MiB, idle {} MiB; {:?}",
        shown.clients,
        shown.answered,
        shown.refused,
        mib(shown.peak),
        mib(shown.bound),
        mib(shown.idle),
        shown.took
    );
    assert_eq!(shown.answered + shown.refused, shown.clients);
    assert!(shown.peak <= shown.bound, "{shown:?}");
}

#[tokio::test]
async fn two_hundred_uploads_stay_within_a_small_budget() {
    let shown = run(200, 64 * MIB).await;
    judge(&shown);
    assert!(shown.refused > 0 && shown.answered > 0, "{shown:?}");
}

#[tokio::test]
async fn uploads_that_fit_are_all_answered() {
    let shown = run(50, 64 * MIB).await;
    judge(&shown);
    assert_eq!(shown.refused, 0, "{shown:?}");
}

#[tokio::test]
#[ignore = "takes thousands of connections and a minute; the acceptance run of held bodies"]
async fn four_thousand_uploads_stay_within_the_default_budget() {
    for clients in [100, 400, 1000, 2000, 4000] {
        let shown = run(clients, 256 * MIB).await;
        judge(&shown);
    }
}
