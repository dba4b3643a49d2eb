//! What it costs to find out who is asking, in one thread: layer `auth` as the gateway calls it.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

mod keys;

use std::alloc::System;

use anyhow::ensure;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug, Parser)]
struct Args {
    /// A tenth of the keys and of the attempts.
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let missed = keys::run(Args::parse().quick)?;
    ensure!(missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}
