//! What the rules cost that run where the configuration says nothing: the pack for model endpoints, watched. In this
//! process, through layer `waf` as the pipeline asks it; and what the last phase costs an exchange that another stage
//! refused before the first.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_conformance::front::Request;
use tollgate_conformance::pages::Page;
use tollgate_core::call::Call;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Guard, Mode};
use tollgate_core::identity::{ExchangeId, Facts, Peer};
use tollgate_core::journal::Journal;
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::waf::{Asked, Content, Given, HeadView, Source, Turn, Waf, WafConfig};

use crate::client::now;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of each kind, in nine batches.
    #[arg(long, default_value_t = 36_000)]
    runs: u32,
    /// With the Core Rule Set in that folder, too.
    #[arg(long)]
    crs: Option<String>,
}

const BATCHES: u32 = 9;

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let config = WafConfig { crs: args.crs.clone(), ..WafConfig::default() };
    let mut check = Checker::default();
    let layer = config.compile(&mut check, &Given { routes: &[], source: &Disk, threads: 1 });
    let (problems, _) = check.finish();
    ensure!(problems.is_empty(), "{problems:?}");
    let guard = Guard { stage: Stage::Waf, switch: config.switch(), layer: Some(layer.context("no layer")?) };
    let bench = Bench { guard, facts: facts(), call: Call::default(), batch: args.runs.div_ceil(BATCHES) };
    let (get, post) = (Page::Get.head_and_body(1), Page::Small.head_and_body(1));
    let early = bench.best(|| bench.refused());
    Ok(json!({
        "get_us": bench.best(|| bench.exchange(&get)),
        "post_us": bench.best(|| bench.exchange(&post)),
        "refused_early_us": early,
    }))
}

struct Bench {
    guard: Guard<Waf>,
    facts: Facts,
    call: Call,
    batch: u32,
}

impl Bench {
    /// All phases of a request that passes.
    fn exchange(&self, request: &Request) {
        let (mut log, mut turn) = (Journal::default(), Turn::default());
        let asked = Asked { facts: &self.facts, from: self.facts.peer.ip, route: None, thread: 0 };
        let fields: Vec<(&[u8], &[u8])> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let view = HeadView {
            line: &request.line,
            method: &request.method,
            target: &request.target,
            protocol: &request.protocol,
            headers: &fields,
        };
        let bytes: Option<&Bytes> = Some(&request.body).filter(|body| !body.is_empty());
        let content = Content { bytes, call: &self.call };
        let answer = http::HeaderMap::new();
        let passes = self
            .guard
            .ask(&mut log, |waf, notes| waf.head(&mut turn, &asked, &view, notes))
            .and_then(|()| self.guard.ask(&mut log, |waf, _| waf.body(&mut turn, content, 0)))
            .and_then(|()| {
                self.guard.ask(&mut log, |waf, _| waf.reply_head(&mut turn, http::StatusCode::OK, &answer, 0))
            });
        assert!(passes.is_ok(), "watched rules refuse nothing");
        self.finish(&mut turn, &asked, 200);
    }

    /// The last phase alone.
    fn refused(&self) {
        let asked = Asked { facts: &self.facts, from: self.facts.peer.ip, route: None, thread: 0 };
        self.finish(&mut Turn::default(), &asked, 429);
    }

    fn finish(&self, turn: &mut Turn, asked: &Asked<'_>, status: u16) {
        if let Some(layer) = &self.guard.layer {
            layer.finish(turn, asked, Mode::Observe, status);
        }
        std::hint::black_box(turn);
    }

    /// Microseconds of one run in the best of the batches: what else the machine does only ever adds.
    fn best(&self, run: impl Fn()) -> f64 {
        let batch = |_| {
            let begun = now();
            (0..self.batch).for_each(|_| run());
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(self.batch)
        };
        (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
    }
}

fn facts() -> Facts {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer =
        Peer { ip, port: 4711, local: (ip, 443), listener: "public".into(), sni: None, tls: false, certificate: None };
    Facts { id: ExchangeId(7), peer: Arc::new(peer), started: Tick(0), unix_ms: 1_790_000_000_000 }
}

/// Rule files where they are.
struct Disk;

impl Source for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|why| why.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some((folder, end)) = pattern.split_once("/*") else {
            let here = std::path::Path::new(pattern).is_file();
            return Ok(Some(pattern.to_owned()).filter(|_| here).into_iter().collect());
        };
        let entries = std::fs::read_dir(folder).map_err(|why| why.to_string())?;
        let names = entries.flatten().map(|entry| entry.path().to_string_lossy().into_owned());
        let mut found: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
        found.sort_unstable();
        Ok(found)
    }
}
