//! A client with one connection and one request at a time: between two requests the gateway is idle, so that the kernel's
//! count of its CPU time tells what the request between them cost.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tollgate_bench::cpu::Spent;
use tollgate_conformance::pages::{Page, Sent};

/// What a gateway still does when its answer has arrived.
const SETTLE: Duration = Duration::from_micros(150);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The row: `get`, `chat`, `prose-2000`, `tensor-768`, …
    #[arg(long)]
    page: String,
    /// No two runs of one seed: text that was seen before costs less.
    #[arg(long)]
    seed: u64,
    /// Process whose CPU time is measured; may be repeated.
    #[arg(long)]
    watch: Vec<u32>,
    /// Requests that are not counted.
    #[arg(long, default_value_t = 20)]
    warmup: u64,
    /// Requests that are, at most.
    #[arg(long, default_value_t = 400)]
    requests: u64,
    /// After these seconds no further request is sent, when there were three.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let page = Page::from_name(&args.page).with_context(|| format!("no row is called `{}`", args.page))?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, args.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut spent = Vec::new();
    let (mut refused, begun) = (0, now());
    for number in 0..args.warmup + args.requests {
        let over = begun.elapsed().as_secs_f64() > args.seconds;
        // The slowest rows get few requests, and no more than one to warm up.
        let counted = number >= args.warmup || over;
        if over && spent.len() >= 3 {
            break;
        }
        let raw = raw(&page.request(args.seed.wrapping_mul(1_000_003).wrapping_add(number)));
        let before = Spent::of(&args.watch)?;
        stream.write_all(&raw)?;
        let status = answer(&mut stream)?;
        std::thread::sleep(SETTLE);
        let cost = Spent::of(&args.watch)?.since(before).ns();
        refused += u64::from(status == 403);
        ensure!(status == 200 || status == 403, "status {status} for {}", args.page);
        if counted {
            spent.push(cost);
        }
    }
    Ok(json!({ "requests": spent.len(), "refused": refused, "cpu_us": crate::quantiles(&mut spent) }))
}

fn raw(sent: &Sent) -> Vec<u8> {
    let Sent { method, path, body } = sent;
    let fixed = "Host: bench.test\r\nUser-Agent: python-httpx/0.27\r\nAccept: */*\r\n";
    if body.is_empty() {
        return format!("{method} {path} HTTP/1.1\r\n{fixed}\r\n").into_bytes();
    }
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\n{fixed}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads one answer to its end; its status.
fn answer(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let lower = String::from_utf8_lossy(text.get(..head).unwrap_or_default()).to_lowercase();
            let status = lower.get(9..12).context("an answer without a status")?.parse()?;
            let body = text.get(head + 4..).unwrap_or_default();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let ends = |length: usize| body.len() >= length;
            if length.map_or_else(|| body.ends_with(b"0\r\n\r\n"), ends) {
                return Ok(status);
            }
        }
        match stream.read(&mut buffer)? {
            0 => bail!("the gateway closed the connection"),
            read => text.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own: it measures time, there is no clock to inject")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
