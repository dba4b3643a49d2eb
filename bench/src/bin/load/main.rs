//! Load generator: HTTP/1.1, HTTP/1.1 over TLS, HTTP/2 over TLS.
//!
//! Closed loop (no `--rate`): every connection sends its next request when the last was answered; gives throughput and,
//! with `--watch`, the CPU time that other processes spent in exactly the measured time. Open loop (`--rate`): requests
//! are due at fixed times, and latency counts from when a request was due, so that a stall is charged to every request
//! that it delayed (coordinated omission). Prints one JSON document.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

mod client;
mod closed;
mod open;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clap::{Parser, ValueEnum};

use crate::client::Plan;

/// What is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 over TLS.
    TlsH1,
    /// HTTP/2 over TLS.
    TlsH2,
}

/// Sends one request over and over, and counts the answers.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub(crate) port: u16,
    /// What is spoken.
    #[arg(long, value_enum, default_value = "plain")]
    pub(crate) protocol: Protocol,
    /// PEM file with the root for TLS.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Host name in requests and TLS.
    #[arg(long, default_value = "bench.test")]
    host: String,
    /// Method of the requests: `POST`, or `GET` without a body.
    #[arg(long, default_value = "POST")]
    method: http::Method,
    /// Path of the requests.
    #[arg(long, default_value = "/")]
    path: String,
    /// One more header field, as `name: value`; may be repeated.
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// File with the body.
    #[arg(long, conflicts_with = "size")]
    body: Option<PathBuf>,
    /// Bytes of a body of zeros, instead of a file.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Connections.
    #[arg(long, short, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Streams at once on each connection; HTTP/2, closed loop.
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: usize,
    /// Requests per second, for an open loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds that are not counted.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds that are.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes that every answer must have.
    #[arg(long)]
    expect_bytes: Option<u64>,
    /// One more status that is as good as one of success; may be repeated.
    #[arg(long)]
    accept: Vec<u16>,
    /// Process whose CPU time is measured; may be repeated.
    #[arg(long)]
    pub(crate) watch: Vec<u32>,
}

impl Args {
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup)
    }

    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let body = match &self.body {
            _ if self.method == http::Method::GET => Vec::new(),
            Some(path) => std::fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?,
            None => vec![0; self.size],
        };
        let headers = self.headers.iter().map(|field| {
            let (name, value) = field.split_once(':').with_context(|| format!("`{field}` has no colon"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let headers: Vec<_> = headers.collect::<anyhow::Result<_>>()?;
        let request = client::Request {
            method: self.method.clone(),
            path: &self.path,
            headers: &headers,
            body: Bytes::from(body),
        };
        let mut plan = Plan::new(&self.host, self.port, &request)?;
        plan.expect_bytes = self.expect_bytes;
        plan.accept.clone_from(&self.accept);
        if self.protocol != Protocol::Plain {
            let ca = self.ca.as_deref().context("TLS needs `--ca`")?;
            plan.tls = Some(client::tls(ca, self.protocol == Protocol::TlsH2)?);
        }
        Ok(plan)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    anyhow::ensure!(args.connections > 0 && args.streams > 0, "at least one connection, at least one stream");
    anyhow::ensure!(args.streams == 1 || args.protocol == Protocol::TlsH2, "only HTTP/2 has more than one stream");
    let plan = Arc::new(args.plan()?);
    let report = match args.rate {
        Some(rate) => open::run(&args, &plan, rate)?,
        None => closed::run(&args, &plan)?,
    };
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "a program of its own: it measures time, there is no clock to inject")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
