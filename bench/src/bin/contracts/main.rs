//! What it costs to hold a body to its contract, in one thread: `parse` and `contract` as the gateway calls them.
//!
//! `bodies` writes down what is measured, for another program to do the same with; `time` says microseconds.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

mod bodies;
mod judge;

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;

use bodies::Body;
use judge::Judge;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Writes every body, and the vocabulary by which tokens are counted, into a folder.
    Bodies { folder: PathBuf },
    /// Microseconds of every body: one JSON object.
    Time {
        /// Milliseconds for each.
        #[arg(long, default_value_t = 200)]
        ms: u64,
        /// Only this one, for a profiler.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().verb {
        Verb::Bodies { folder } => write(&folder),
        Verb::Time { ms, only } => time(Duration::from_millis(ms), only.as_deref()),
    }
}

fn write(folder: &std::path::Path) -> anyhow::Result<()> {
    for body in Body::all() {
        fs::write(folder.join(body.name), &body.bytes).context("a body cannot be written")?;
    }
    // Each token behind its length.
    let bpe = &bpe_openai::o200k_base().bpe;
    let mut tokens = Vec::new();
    for id in 0..u32::try_from(bpe.num_tokens())? {
        let token = bpe.token_bytes(id);
        tokens.push(u8::try_from(token.len())?);
        tokens.extend_from_slice(token);
    }
    Ok(fs::write(folder.join("o200k"), tokens)?)
}

fn time(each: Duration, only: Option<&str>) -> anyhow::Result<()> {
    let mut report = serde_json::Map::new();
    for body in Body::all() {
        if only.is_none_or(|only| only == body.name) {
            let judge = Judge::new(&body)?;
            report.insert(body.name.to_owned(), json!(median_us(&judge, each)));
        }
    }
    println!("{}", serde_json::Value::from(report));
    Ok(())
}

/// The median over batches that are long enough for the clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn median_us(judge: &Judge, each: Duration) -> f64 {
    let once = Instant::now();
    judge.run();
    let batch = (200_000 / once.elapsed().as_nanos().max(1)).clamp(1, 100_000);
    let started = Instant::now();
    let mut batches = Vec::new();
    while started.elapsed() < each || batches.len() < 5 {
        let begun = Instant::now();
        for _ in 0..batch {
            black_box(judge.run());
        }
        batches.push(begun.elapsed().as_secs_f64() * 1e6 / batch as f64);
    }
    batches.sort_by(f64::total_cmp);
    batches.get(batches.len() / 2).copied().unwrap_or_default()
}
