//! How long the demo models take: inside a compute thread, and through `Backend::infer` with the hand-over.
//!
//! `embedded [--quick] [--json]`. One caller, one compute thread, batch 1, the committed samples in turn. It measures
//! no gateway and no load.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use serde_json::json;
use tollgate_core::backend::{Backend, Dim};
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::time::Clock;
use tollgate_model::catalog::{CARDS, Card};
use tollgate_model::samples::{Sample, samples};
use tollgate_model::{Model, Pool, PoolOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let flags: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = flags.iter().find(|flag| !["--quick", "--json"].contains(&flag.as_str())) {
        return Err(format!("unknown argument `{unknown}`; usage: embedded [--quick] [--json]").into());
    }
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let runs = if has("--quick") { 2_000 } else { 50_000 };
    let pool = Pool::start(PoolOptions { threads: 1, ..PoolOptions::default() })?;
    let rows = CARDS.iter().map(|card| measure(card, &pool, runs)).collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout().lock();
    if has("--json") {
        write_json(&mut out, &rows, runs)?;
    } else {
        write_table(&mut out, &rows, runs)?;
    }
    Ok(())
}

/// What was measured of one model, in nanoseconds.
struct Row {
    name: &'static str,
    inside: Spread,
    infer: Spread,
}

/// Median and 99th percentile.
struct Spread {
    median: u64,
    p99: u64,
}

fn measure(card: &Card, pool: &Arc<Pool>, runs: usize) -> Result<Row, Box<dyn Error>> {
    let clock = Clock::real();
    let model = Arc::new(card.load(Arc::clone(pool), clock.clone())?);
    let calls: Vec<Call> = samples(card.name).iter().map(|sample| call(&model, sample)).collect();
    let inside = {
        let (model, calls, clock) = (Arc::clone(&model), calls.clone(), clock.clone());
        let job = move |worker: &_| timed(&calls, runs, &clock, |call| model.run_on(worker, call).is_ok());
        pool.submit(job).map_err(|fault| fault.evidence().to_owned())?.blocking_recv()?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let infer = timed(&calls, runs, &clock, |call| runtime.block_on(model.infer(call)).is_ok());
    Ok(Row { name: card.name, inside: inside?, infer: infer? })
}

/// Runs every call in turn, `runs` times in all, after a tenth as many to warm up.
fn timed(calls: &[Call], runs: usize, clock: &Clock, run: impl Fn(&Call) -> bool) -> Result<Spread, String> {
    let mut times = Vec::with_capacity(runs);
    for (turn, call) in calls.iter().cycle().take(runs + runs / 10).enumerate() {
        let start = clock.now();
        if !run(call) {
            return Err("a committed sample got no answer".to_owned());
        }
        if turn >= runs / 10 {
            times.push(clock.now().0 - start.0);
        }
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    Ok(Spread { median: at(50), p99: at(99) })
}

fn call(model: &Model, sample: &Sample) -> Call {
    let inputs = model.signature().inputs.iter().map(|port| {
        let shape = port.dims.iter().map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbolic(_) => 1,
        });
        let values = match port.dtype {
            Dtype::Int64 => Values::Int(sample.features.iter().map(|value| *value as i64).collect()),
            _ => Values::F32(sample.features.iter().map(|value| *value as f32).collect()),
        };
        Tensor { name: port.name.clone(), dtype: port.dtype, shape: shape.collect(), values, at: 0..0 }
    });
    Call { inputs: inputs.collect(), ..Call::default() }
}

fn write_table(out: &mut impl Write, rows: &[Row], runs: usize) -> std::io::Result<()> {
    writeln!(out, "embedded models, batch 1, one thread, {runs} runs, microseconds")?;
    writeln!(out, "{:<12} {:>14} {:>10} {:>14} {:>10}", "model", "inside median", "p99", "infer median", "p99")?;
    for row in rows {
        let [a, b, c, d] = [row.inside.median, row.inside.p99, row.infer.median, row.infer.p99].map(micros);
        writeln!(out, "{:<12} {a:>14.1} {b:>10.1} {c:>14.1} {d:>10.1}", row.name)?;
    }
    Ok(())
}

fn write_json(out: &mut impl Write, rows: &[Row], runs: usize) -> std::io::Result<()> {
    let spread = |spread: &Spread| json!({ "median_us": micros(spread.median), "p99_us": micros(spread.p99) });
    let models: Vec<_> = rows
        .iter()
        .map(|row| json!({ "model": row.name, "inside": spread(&row.inside), "infer": spread(&row.infer) }))
        .collect();
    writeln!(out, "{}", json!({ "bench": "embedded", "runs": runs, "models": models }))
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}
