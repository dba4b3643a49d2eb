//! Many streams at once, over HTTP/2: ten thousand sockets on each side would be more than many a machine allows a
//! process, and clients of streams share connections. Every event has a number: one that is missing or comes out of order is counted.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;
use tollgate_bench::cpu::Spent;

use crate::BODY;

/// What is asked for.
#[derive(Args, Clone, Debug)]
pub(crate) struct Many {
    /// Streams at once.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) streams: usize,
    /// Streams on each connection.
    #[arg(long, default_value_t = 100)]
    per_connection: usize,
    /// Events of each stream.
    #[arg(long, default_value_t = 40)]
    pub(crate) events: u64,
    /// Milliseconds between two of them.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) every_ms: u64,
    /// Seconds over which the streams begin.
    #[arg(long, default_value_t = 10)]
    ramp: u64,
    /// The certificate to trust.
    #[arg(long)]
    ca: PathBuf,
    /// The gateway's process: its memory and CPU time are read.
    #[arg(long)]
    watch: u32,
}

/// What all streams count together.
#[derive(Default)]
struct Counts {
    open: Cell<usize>,
    whole: Cell<usize>,
    refused: Cell<usize>,
    events: Cell<u64>,
    lost: Cell<u64>,
    out_of_order: Cell<u64>,
    broken: Cell<usize>,
}

pub(crate) async fn run(many: &Many, gateway: u16) -> anyhow::Result<Value> {
    let connector = tls(many)?;
    let counts = Rc::new(Counts::default());
    let idle_kb = memory_kb(many.watch)?;
    let local = LocalSet::new();
    let report = local
        .run_until(async {
            let (mut streams, mut drivers) = (JoinSet::new(), JoinSet::new());
            let connections = many.streams.div_ceil(many.per_connection).max(1);
            let gap = Duration::from_secs(many.ramp) / u32::try_from(connections)?;
            for _ in 0..connections {
                let sender = connect(&connector, gateway, &mut drivers).await?;
                for _ in 0..many.per_connection.min(many.streams - streams.len()) {
                    streams.spawn_local(stream(sender.clone(), Rc::clone(&counts), many.events));
                }
                tokio::time::sleep(gap).await;
            }
            ensure!(counts.refused.get() == 0, "{} streams were refused", counts.refused.get());
            // All are open now. What is spent until the first of them ends is their price.
            let (before, events) = (Spent::of(&[many.watch])?, counts.events.get());
            let busy_kb = memory_kb(many.watch)?;
            let length = Duration::from_millis(many.every_ms * many.events);
            let window = length.saturating_sub(Duration::from_secs(many.ramp + 2)).max(Duration::from_secs(1));
            tokio::time::sleep(window).await;
            let (spent, open) = (Spent::of(&[many.watch])?.since(before), counts.open.get());
            let passed = counts.events.get() - events;
            let busy_kb = busy_kb.max(memory_kb(many.watch)?);
            while streams.join_next().await.is_some() {}
            let seconds = window.as_secs_f64();
            anyhow::Ok(json!({
                "streams": many.streams, "connections": connections, "open_at_once": open,
                "events": counts.events.get(), "events_wanted": many.streams as u64 * many.events,
                "lost": counts.lost.get(), "out_of_order": counts.out_of_order.get(),
                "broken": counts.broken.get(), "whole": counts.whole.get(),
                "kb_per_stream": (busy_kb.saturating_sub(idle_kb)) as f64 / many.streams as f64,
                "idle_kb": idle_kb, "busy_kb": busy_kb,
                "cpu_share": spent.ns() as f64 / 1e9 / seconds,
                "cpu_us_per_event": spent.ns() as f64 / 1e3 / passed.max(1) as f64,
                "events_per_second": passed as f64 / seconds,
            }))
        })
        .await?;
    Ok(report)
}

fn tls(many: &Many) -> anyhow::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&many.ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(
    connector: &TlsConnector,
    gateway: u16,
    drivers: &mut JoinSet<()>,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    #[expect(clippy::disallowed_methods, reason = "a load generator is a client, not the gateway")]
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway)).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from("bench.test")?, stream).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    drivers.spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

/// One stream, to its end.
async fn stream(mut sender: SendRequest<Full<Bytes>>, counts: Rc<Counts>, events: u64) {
    let request = http::Request::post("https://bench.test/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(BODY.as_bytes())))
        .expect("a request");
    let answer = match sender.send_request(request).await {
        Ok(answer) if answer.status().as_u16() == 200 => answer,
        _ => return add(&counts.refused),
    };
    add(&counts.open);
    let mut body = answer.into_body();
    let (mut pending, mut next, mut done) = (Vec::new(), 0, false);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            add(&counts.broken);
            break;
        };
        pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        while let Some(end) = memchr::memmem::find(&pending, b"\n\n") {
            let event: Vec<u8> = pending.drain(..end + 2).collect();
            if event == b"data: [DONE]\n\n" {
                done = true;
            } else {
                counts.events.set(counts.events.get() + 1);
                let number = number(&event);
                if number != Some(next) {
                    counts.out_of_order.set(counts.out_of_order.get() + 1);
                }
                next = number.map_or(next, |number| number + 1);
            }
        }
    }
    counts.lost.set(counts.lost.get() + (events - next.min(events)));
    if done && next == events && pending.is_empty() {
        add(&counts.whole);
    }
    counts.open.set(counts.open.get() - 1);
}

fn add(counter: &Cell<usize>) {
    counter.set(counter.get() + 1);
}

/// The number in `data: {"id":"7",…`.
fn number(event: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(event).ok()?.strip_prefix("data: {\"id\":\"")?;
    text.split('"').next()?.parse().ok()
}

/// What a process holds in memory.
fn memory_kb(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no `VmRSS`")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
