//! What rules cost. `waf client` sends fresh requests of one row through a gateway, one after the other, and says what CPU
//! time each took there; `waf engines` runs the same requests through engines in this process; `waf pack` the rules that run
//! by default, and `waf worst` every shape of hostile text. `waf stream` waits for first bytes. Each prints one JSON document.
//! Driven by `cargo xtask bench waf`.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

mod client;
mod engines;
mod pack;
mod stream;
mod worst;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Through a gateway.
    Client(client::Args),
    /// In this process.
    Engines(engines::Args),
    /// The rules that run by default, in this process.
    Pack(pack::Args),
    /// First bytes of replies that stream.
    Stream(stream::Args),
    /// The dearest text.
    Worst(worst::Args),
}

fn main() -> anyhow::Result<()> {
    let report = match Args::parse().what {
        What::Client(args) => client::run(&args)?,
        What::Engines(args) => engines::run(&args)?,
        What::Pack(args) => pack::run(&args)?,
        What::Stream(args) => stream::run(&args)?,
        What::Worst(args) => worst::run(&args)?,
    };
    println!("{report}");
    Ok(())
}

/// Quantiles of microseconds.
pub(crate) fn quantiles(ns: &mut [u64]) -> Value {
    ns.sort_unstable();
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
        let place = (share * ns.len().saturating_sub(1) as f64).round() as usize;
        ns.get(place).map(|ns| *ns as f64 / 1000.0)
    };
    let mean = ns.iter().sum::<u64>() as f64 / 1000.0 / ns.len().max(1) as f64;
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0), "mean": mean })
}
