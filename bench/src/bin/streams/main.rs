//! Streams of server-sent events: a model server that sends them, and clients that count every one.
//!
//! Server and clients share a process, so that one clock times both ends. The first line on stdout is the server's port;
//! the first line on stdin is the gateway's. The report, one JSON object, is the last line.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

mod first;
mod many;
mod server;

use std::io::BufRead as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Args {
    /// The server's port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// How long the first event takes from the server's hand to the client's, straight and through the gateway, in turns.
    First {
        /// Streams each way.
        #[arg(long, default_value_t = 500)]
        count: usize,
    },
    /// Many streams at once: whether each event comes, in its order, and what the gateway spends.
    Many(many::Many),
}

fn main() -> anyhow::Result<()> {
    let Args { port, verb } = Args::parse();
    let pace = match &verb {
        Verb::First { .. } => server::Pace { events: 2, every: Duration::ZERO },
        Verb::Many(many) => server::Pace { events: many.events, every: Duration::from_millis(many.every_ms) },
    };
    let server = server::start(port, pace)?;
    println!("{server}");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let gateway = line.trim().parse().context("the gateway's port")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match verb {
        Verb::First { count } => runtime.block_on(first::run(server, gateway, count))?,
        Verb::Many(many) => runtime.block_on(many::run(&many, gateway))?,
    };
    println!("{report}");
    Ok(())
}

/// Nanoseconds since the process began.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now_ns() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGUN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The chat that every client sends, streamed.
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"count"}],"max_tokens":100,"stream":true,"stream_options":{"include_usage":true}}"#;
