//! The worst body that a client could send: every shape of hostile input at one size through the Core Rule Set, with the
//! budget that the gateway has by default. Shapes of heads are left out: heads have a cap of their own. The body of the dearest is written to a file, for `load` to send.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use seclang::{Options, RuleSet, Scratch};
use serde_json::{Value, json};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::shapes::{SHAPES, thread_ns};
use tollgate_conformance::{exchange, rules};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes of each input.
    #[arg(long, default_value_t = 1_000_000)]
    size: usize,
    /// Where the body of the dearest is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let folder = Folder::find().map_err(|why| anyhow!(why))?;
    let loaded = rules::load(&folder, "", &Options::default());
    let rules = loaded.map_err(|problems| anyhow!(rules::told(&problems)))?;
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    let mut found = Vec::new();
    for (name, shape) in SHAPES {
        let request = shape(args.size);
        if request.body.is_empty() {
            continue;
        }
        // The first time, as a client would send it once: with caches that have not seen it.
        let (cold, outcome) = cost(&rules, &request, &mut scratch);
        let (warm, _) = cost(&rules, &request, &mut scratch);
        found.push((cold, name, json!({ "family": name, "ms": cold, "again_ms": warm, "status": outcome }), request));
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (_, name, _, worst) = found.first().context("no shapes")?;
    if let Some(out) = &args.out {
        std::fs::write(out, &worst.body)?;
    }
    let kind = worst.values("content-type").next().unwrap_or_default();
    let families: Vec<&Value> = found.iter().map(|(_, _, told, _)| told).collect();
    Ok(json!({ "worst": name, "content_type": String::from_utf8_lossy(kind), "families": families }))
}

/// Milliseconds of CPU, and the status that came of it.
fn cost(rules: &Arc<RuleSet>, request: &Request, scratch: &mut Scratch) -> (f64, u16) {
    let before = thread_ns().unwrap_or_default();
    let outcome = exchange::run(rules, exchange::facts(false), request, scratch);
    (thread_ns().unwrap_or_default().saturating_sub(before) as f64 / 1e6, outcome.status)
}
