//! Limiter benchmark: nanoseconds per decision, bytes per key, evictions and allocations, beside `governor` on the same
//! key stream in the same run. Ratios are what counts; absolute figures belong to the machine.
//!
//! `limits [--quick] [--json]`: `--quick` leaves out 10 million keys; `--json` prints one JSON document instead of the
//! table. The exit code is 1 if a bar is missed.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

mod report;
mod rounds;
mod scenes;

use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let mut quick = false;
    let mut json = false;
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--quick" => quick = true,
            "--json" => json = true,
            other => {
                println!("unknown argument `{other}`\nusage: limits [--quick] [--json]");
                return ExitCode::from(2);
            }
        }
    }
    let sizes: &[usize] = if quick { &[100_000, 1_000_000] } else { &[100_000, 1_000_000, 10_000_000] };
    let report = report::Report {
        uniform: sizes.iter().map(|&keys| scenes::uniform(keys)).collect(),
        hot: scenes::hot_key(),
        levels: scenes::five_levels(1_000_000),
        accounts: scenes::accounts(),
        overshoot: scenes::overshoot(),
        fill: [0.7, 0.8].map(|load| scenes::fill(1_000_000, load)),
    };
    if json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
