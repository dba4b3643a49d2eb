//! The same requests through engines in this process, in one thread: ours, and `zentinel-modsec` on the same rules.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use seclang::{Options, RuleSet, Scratch};
use serde_json::{Value, json};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::pages::Page;
use tollgate_conformance::{exchange, rules};
use zentinel_modsec::ModSecurity;

use crate::client::now;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Only ours.
    #[arg(long)]
    alone: bool,
    /// Requests of each row, at most.
    #[arg(long, default_value_t = 300)]
    requests: u64,
    /// Seconds for each row and engine, when there were three requests.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Text that no run saw before.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this row.
    #[arg(long)]
    page: Option<String>,
    /// Microseconds of sleep before each request, as a gateway has them: caches and clocks of an idle core are cold.
    #[arg(long, default_value_t = 0)]
    rest_us: u64,
}

/// Runs one request.
type Engine<'a> = Box<dyn FnMut(&Request) -> anyhow::Result<()> + 'a>;

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let folder = Folder::find().map_err(|why| anyhow!(why))?;
    let mut engines: Vec<(&str, Engine<'_>)> = vec![("seclang", ours(&folder)?)];
    let mut note = Value::Null;
    if !args.alone {
        match theirs(&folder) {
            Ok(engine) => engines.push(("zentinel-modsec", engine)),
            Err(why) => note = json!(why.to_string()),
        }
    }
    let mut rows = Vec::new();
    let asked = |page: &Page| args.page.as_ref().is_none_or(|name| page.name() == *name);
    for page in Page::ALL.into_iter().filter(asked) {
        let mut row = json!({ "page": page.name() });
        for (name, engine) in &mut engines {
            row[*name] = measured(args, page, engine)?;
        }
        rows.push(row);
    }
    Ok(json!({ "rows": rows, "note": note }))
}

fn measured(args: &Args, page: Page, engine: &mut Engine<'_>) -> anyhow::Result<Value> {
    let (mut spent, begun) = (Vec::new(), now());
    for number in 0..args.requests + 5 {
        if spent.len() >= 3 && begun.elapsed().as_secs_f64() > args.seconds {
            break;
        }
        let request = page.head_and_body(args.seed.wrapping_mul(1_000_003).wrapping_add(number));
        if args.rest_us > 0 {
            std::thread::sleep(std::time::Duration::from_micros(args.rest_us));
        }
        let started = now();
        engine(&request)?;
        if number >= 5 || begun.elapsed().as_secs_f64() > args.seconds {
            spent.push(u64::try_from(started.elapsed().as_nanos())?);
        }
    }
    Ok(json!({ "requests": spent.len(), "us": crate::quantiles(&mut spent) }))
}

fn ours(folder: &Folder) -> anyhow::Result<Engine<'static>> {
    let loaded: Result<Arc<RuleSet>, _> = rules::load(folder, "", &Options::default());
    let rules = loaded.map_err(|problems| anyhow!(rules::told(&problems)))?;
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    Ok(Box::new(move |request| {
        std::hint::black_box(exchange::run(&rules, exchange::facts(false), request, &mut scratch));
        Ok(())
    }))
}

/// Phases 1 to 4, as ours.
fn theirs(folder: &Folder) -> anyhow::Result<Engine<'static>> {
    let crs = folder.path().canonicalize()?;
    let entry = std::env::temp_dir().join(format!("tollgate-zentinel-{}.conf", std::process::id()));
    std::fs::write(&entry, entry_file(&crs))?;
    let loaded = ModSecurity::from_file(&entry.to_string_lossy());
    std::fs::remove_file(&entry)?;
    let engine = loaded.map_err(|why| anyhow!("zentinel-modsec does not load the rules: {why}"))?;
    Ok(Box::new(move |request| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut transaction = engine.new_transaction();
        transaction.set_client_addr("127.0.0.1", 40_000);
        transaction.process_uri(&text(&request.target), &text(&request.method), &text(&request.protocol))?;
        for (name, value) in &request.headers {
            transaction.add_request_header(&text(name), &text(value))?;
        }
        transaction.process_request_headers()?;
        transaction.append_request_body(&request.body)?;
        transaction.process_request_body()?;
        transaction.add_response_header("Content-Length", "0")?;
        transaction.process_response_headers()?;
        transaction.process_response_body()?;
        std::hint::black_box(transaction.has_intervention());
        Ok(())
    }))
}

/// Of our base configuration what it knows; it finds the readers of bodies by itself.
fn entry_file(crs: &Path) -> String {
    let base = "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n";
    format!("{base}Include {0}/crs-setup.conf.example\nInclude {0}/rules/*.conf\n", crs.display())
}
