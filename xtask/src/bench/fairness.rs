//! `cargo xtask bench fairness`: good tenants and one that floods, through sockets, before a stub of a model server with
//! eight places. The same flood goes to nginx with `limit_req`, to Envoy and to LiteLLM's proxy with limits for each key, as
//! far as they can be had, and to the stub alone.

mod peers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use peers::{Counts, Peers};
use serde_json::{Value, json};

use super::build::Nginx;
use super::machine::Machine;
use super::process::{Core, Running, free_port, pinned};
use super::scene::Folder;
use super::{build, build_release, page, root};
use crate::tally::say;

const GOOD: usize = 9;
/// Of the design's simulation without any limit, and of its queue: goodput, in time, p99, Jain.
const ALONE: [(u32, [f64; 4]); 2] = [(2, [0.017, 0.017, 92.0, 0.869]), (10, [0.008, 0.003, 196.0, 0.589])];
const DESIGN: [(u32, [f64; 4]); 2] = [(2, [0.815, 0.997, 0.92, 0.998]), (10, [0.900, 0.997, 0.87, 0.998])];

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    json: bool,
    write: bool,
    quick: bool,
    deaf: bool,
    seconds: u32,
    tollgate: Option<PathBuf>,
    flood: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options =
            Self { json: false, write: false, quick: false, deaf: false, seconds: 60, tollgate: None, flood: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
            match arg.as_str() {
                "--quick" => (options.quick, options.seconds) = (true, 10),
                "--json" => options.json = true,
                "--write" => options.write = true,
                "--deaf" => options.deaf = true,
                "--seconds" => options.seconds = value()?.parse()?,
                "--flood" => options.flood = Some(value()?.into()),
                "--tollgate" => options.tollgate = Some(value()?.into()),
                other => bail!("`bench fairness` takes no `{other}`"),
            }
        }
        ensure!((5..=600).contains(&options.seconds), "`--seconds` from 5 to 600");
        Ok(options)
    }
}

/// Who stands before the stub.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Front {
    Envoy(Counts),
    LiteLlm,
    Nginx,
    Nobody,
    Tollgate,
}

impl Front {
    const ALL: [Self; 6] = [
        Self::Tollgate,
        Self::Nginx,
        Self::Envoy(Counts::Requests),
        Self::Envoy(Counts::Bytes),
        Self::LiteLlm,
        Self::Nobody,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Envoy(Counts::Bytes) => "Envoy, bytes of each key",
            Self::Envoy(Counts::Requests) => "Envoy, requests of each key",
            Self::LiteLlm => "LiteLLM",
            Self::Nginx => "nginx limit_req",
            Self::Nobody => "nobody",
            Self::Tollgate => "Tollgate",
        }
    }
}

/// What a run found.
#[derive(Clone, Debug)]
struct Row {
    front: Front,
    flood: u32,
    report: Value,
    /// The 99th percentile without a flood.
    calm: f64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let flood = match &options.flood {
        Some(program) => program.clone(),
        None => build_release("tollgate-sim", "flood")?,
    };
    let tollgate = match &options.tollgate {
        Some(program) => program.clone(),
        None => build::build(&[("tollgate", "tollgate")])?.pop().context("no program")?,
    };
    let programs = Programs { flood, tollgate, nginx: Nginx::find()?, peers: Peers::find()? };
    let (machine, folder) = (Machine::read(), Folder::make(false)?);
    let (mut rows, mut lacking) = (Vec::new(), Vec::new());
    for front in Front::ALL {
        let mut calm = f64::NAN;
        if let Some(why) = programs.lack(front) {
            lacking.push((front, why));
            continue;
        }
        for flood in [0, 2, 10] {
            say(&format!("{}, a flood of {flood}×, {} s …", front.name(), options.seconds));
            let report = Stage::set(&programs, front, folder.path(), options)?.play(flood, options.seconds)?;
            calm = if flood == 0 { number(&report, "p99") } else { calm };
            rows.push(Row { front, flood, report, calm });
        }
    }
    say("two tenants that always want more …");
    let stage = Stage::set(&programs, Front::Tollgate, folder.path(), options)?;
    let backlog = stage.ask(&["backlog", "--seconds", &options.seconds.to_string()])?;
    let text = text((&rows, &lacking), &backlog, options, &machine);
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| json!({ "front": row.front.name(), "flood": row.flood, "report": row.report }))
            .collect();
        let lacking: Vec<_> =
            lacking.iter().map(|(front, why)| json!({ "front": front.name(), "not_run": why })).collect();
        let machine = machine.json();
        let all =
            json!({ "bench": "fairness", "machine": machine, "rows": rows, "lacking": lacking, "backlog": backlog });
        say(&format!("{all:#}"));
    } else {
        say(&text);
    }
    if options.write {
        page::write(&root(), "fairness", &text)?;
    }
    let missed = missed(&rows, &backlog);
    ensure!(options.quick || missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

struct Programs {
    flood: PathBuf,
    tollgate: PathBuf,
    nginx: Nginx,
    peers: Peers,
}

impl Programs {
    /// Why a front is not here.
    fn lack(&self, front: Front) -> Option<String> {
        let found = match front {
            Front::Envoy(_) => &self.peers.envoy,
            Front::LiteLlm => &self.peers.litellm,
            Front::Nginx | Front::Nobody | Front::Tollgate => return None,
        };
        found.as_ref().err().cloned()
    }
}

/// A stub, whoever stands before it, and the way to both.
struct Stage {
    _front: Option<Running>,
    _stub: Running,
    port: u16,
    flood: PathBuf,
    keys: PathBuf,
    /// Whether it takes nothing but chats.
    chats: bool,
}

impl Stage {
    fn set(programs: &Programs, front: Front, folder: &Path, options: &Options) -> anyhow::Result<Self> {
        let mut command = pinned(Core::Load, &programs.flood);
        command.args(["stub", "--slots", "8"]).args(options.deaf.then_some("--deaf")).stdout(Stdio::piped());
        let mut stub = Running::start("stub", command, folder)?;
        let upstream: u16 = stub.first_line()?.parse().context("the stub's port")?;
        let keys = folder.join("keys.txt");
        std::fs::write(&keys, "")?;
        let lacks = |why: &String| anyhow::anyhow!("{why}");
        let (running, port) = match front {
            Front::Nobody => (None, upstream),
            Front::Envoy(counts) => {
                let program = programs.peers.envoy.as_ref().map_err(lacks)?;
                let (envoy, port) = peers::envoy(program, counts, (upstream, folder))?;
                (Some(envoy), port)
            }
            Front::LiteLlm => {
                let program = programs.peers.litellm.as_ref().map_err(lacks)?;
                let (proxy, port) = peers::litellm(program, (upstream, folder))?;
                (Some(proxy), port)
            }
            Front::Nginx => {
                let port = free_port()?;
                let config = folder.join("nginx.conf");
                let text = NGINX.replace("@PORT@", &port.to_string()).replace("@STUB@", &upstream.to_string());
                std::fs::write(&config, text.replace("@DIR@", &folder.to_string_lossy()))?;
                let mut command = pinned(Core::Gateway, Path::new(programs.nginx.program));
                command.arg("-c").arg(&config).arg("-p").arg(folder);
                let mut nginx = Running::start("nginx", command, folder)?;
                nginx.listening(port)?;
                (Some(nginx), port)
            }
            Front::Tollgate => {
                let port = free_port()?;
                let config = folder.join("fairness.yaml");
                std::fs::write(&config, ours(port, upstream))?;
                // Keys are sealed in a file that is made anew each time.
                let _ = std::fs::remove_file(folder.join("keys.yaml"));
                std::fs::write(&keys, issued(&programs.tollgate, &config)?)?;
                let mut command = pinned(Core::Gateway, &programs.tollgate);
                command.args(["serve", "--config"]).arg(&config).env("PEPPER", PEPPER).stdout(Stdio::null());
                let mut gateway = Running::start("tollgate", command, folder)?;
                gateway.listening(port)?;
                (Some(gateway), port)
            }
        };
        let chats = front == Front::LiteLlm;
        Ok(Self { _front: running, _stub: stub, port, flood: programs.flood.clone(), keys, chats })
    }

    fn play(&self, flood: u32, seconds: u32) -> anyhow::Result<Value> {
        let (flood, seconds) = (flood.to_string(), seconds.to_string());
        let mut words = vec!["play", "--flood", &flood, "--seconds", &seconds];
        words.extend(self.chats.then_some("--chats"));
        self.ask(&words)
    }

    fn ask(&self, verb: &[&str]) -> anyhow::Result<Value> {
        let mut command = pinned(Core::Load, &self.flood);
        command.args(verb).args(["--to", &format!("127.0.0.1:{}", self.port), "--keys"]).arg(&self.keys);
        let output = command.output().context("the clients cannot be run")?;
        ensure!(output.status.success(), "the clients failed\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("the clients' report")
    }
}

fn tenants() -> impl Iterator<Item = String> {
    (1..=GOOD).map(|number| format!("good-{number}")).chain(std::iter::once("flood".to_owned()))
}

/// Lines of tenants and their keys.
fn issued(tollgate: &Path, config: &Path) -> anyhow::Result<String> {
    let mut lines = String::new();
    for tenant in tenants() {
        let mut command = Command::new(tollgate);
        let output = command
            .args(["keys", "new", "--tenant", &tenant, "--config"])
            .arg(config)
            .env("PEPPER", PEPPER)
            .output()?;
        ensure!(output.status.success(), "no key\n{}", String::from_utf8_lossy(&output.stderr));
        lines.push_str(&format!("{tenant} {}\n", String::from_utf8_lossy(&output.stdout).trim()));
    }
    Ok(lines)
}

/// Each tenant may use half of the server, as in the design's simulation; the queue does the rest. A byte is thought to cost
/// 100 µs, and the clients make bodies as long as what they are thought to cost.
fn ours(port: u16, stub: u16) -> String {
    let tenants: Vec<_> = tenants().map(|name| format!("  {name}: {{ models: [m], budgets: [half] }}")).collect();
    format!(
        r#"version: 1
runtime: {{ workers: 1 }}
listeners: {{ plain: {{ bind: "127.0.0.1:{port}" }} }}
upstreams: {{ server: {{ endpoints: ["http://127.0.0.1:{stub}"], inflight: {{ max: 8 }} }} }}
models:
  m:
    upstream: server
    cost: {{ per_byte_ns: 100000 }}
    contract:
      schema:
        type: object
        properties: {{ true_us: {{ type: integer }}, pad: {{ type: string, maxLength: 500000 }} }}
        required: [true_us, pad]
routes: [{{ name: predict, path: /predict, protocol: json, models: [m] }}]
limits: {{ budgets: [{{ name: half, per: tenant, burst: 8000000, refill_per_sec: 4000000 }}] }}
tenants:
{}
auth: {{ keys: {{ file: keys.yaml, pepper: {{ v1: "secret://env/PEPPER" }} }} }}
flood: {{ mode: "off" }}
record: {{ access: "off" }}
"#,
        tenants.join("\n")
    )
}

/// Seals the keys of this bench alone.
const PEPPER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Three times the rate of a good tenant, as in the design's simulation.
const NGINX: &str = "\
daemon off;
worker_processes 1;
error_log @DIR@/nginx-error.log;
pid @DIR@/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy; fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi; scgi_temp_path @DIR@/scgi;
  client_max_body_size 2m; client_body_buffer_size 1m;
  limit_req_zone $http_authorization zone=tenants:1m rate=16r/s;
  server {
    listen 127.0.0.1:@PORT@;
    location / {
      limit_req zone=tenants burst=32 nodelay;
      limit_req_status 429;
      proxy_read_timeout 60s;
      proxy_pass http://127.0.0.1:@STUB@;
    }
  }
}
";

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or(f64::NAN)
}

/// The bars of the acceptance, for the tenfold flood, and of two backlogged tenants.
fn missed(rows: &[Row], backlog: &Value) -> Vec<String> {
    let mut missed = Vec::new();
    for row in rows.iter().filter(|row| row.front == Front::Tollgate && row.flood > 0) {
        let of = |name| number(&row.report, name);
        let ratio = of("p99") / row.calm;
        let bars = [
            (of("in_time") >= 0.99, format!("in time {:.4} < 0.99", of("in_time"))),
            (ratio <= 2.0, format!("p99 {ratio:.2} × unloaded > 2")),
            (row.flood < 10 || of("goodput") >= 0.85, format!("goodput {:.3} < 0.85", of("goodput"))),
            (of("jain") >= 0.99, format!("Jain {:.4} < 0.99", of("jain"))),
        ];
        missed.extend(bars.into_iter().filter(|(met, _)| !met).map(|(_, what)| format!("{}×: {what}", row.flood)));
    }
    let jain = number(backlog, "jain");
    if jain.is_nan() || jain < 0.95 {
        missed.push(format!("two backlogged tenants: Jain {jain:.3} < 0.95"));
    }
    missed
}

fn text(
    (rows, lacking): (&[Row], &[(Front, String)]),
    backlog: &Value,
    options: &Options,
    machine: &Machine,
) -> String {
    let server = if options.deaf { "works on for clients that have left" } else { "stops when its client leaves" };
    let mut lines = vec![
        format!(
            "A stub with 8 places that {server}; nine good tenants at 60 % of it with requests of 0.1 s, one flooding with \
             requests of 2 s; deadline 2 s, costs foreseen with sigma 0.5, {} s. In brackets: the design's simulation.\n",
            options.seconds
        ),
        "| before the stub | flood | good in time | goodput | good p99 s | p99 ÷ unloaded | Jain |\n|---|---|---|---|---|---|---|"
            .to_owned(),
    ];
    for row in rows {
        let of = |name| number(&row.report, name);
        let table = match row.front {
            Front::Envoy(_) | Front::LiteLlm | Front::Nginx => &[],
            Front::Nobody => &ALONE[..],
            Front::Tollgate => &DESIGN[..],
        };
        let known = table.iter().find(|(flood, _)| *flood == row.flood).map(|(_, known)| known);
        let beside = |place: usize, value: f64, digits: usize| match known.and_then(|known| known.get(place)) {
            Some(known) => format!("{value:.digits$} ({known:.digits$})"),
            None => format!("{value:.digits$}"),
        };
        let ratio = if row.flood == 0 { "1".to_owned() } else { format!("{:.2}", of("p99") / row.calm) };
        lines.push(format!(
            "| {} | {}× | {} | {} | {} | {ratio} | {} |",
            row.front.name(),
            row.flood,
            beside(1, of("in_time"), 4),
            beside(0, of("goodput"), 3),
            beside(2, of("p99"), 2),
            beside(3, of("jain"), 4),
        ));
    }
    for (front, why) in lacking {
        lines.push(format!("| {} | | not run: {why} | | | | |", front.name()));
    }
    lines.push(
        "\nFor each key, nginx and Envoy have 16 requests a second with bursts of 32 (three times a good tenant's), or Envoy \
         1.5 times an equal share of the server in bytes, of which each is thought to cost 100 µs; LiteLLM has 16 requests a \
         second, the same share in tokens of a millisecond, and four requests at once, and gets the same flood as chats."
            .to_owned(),
    );
    let served = backlog["served_us"].as_array().into_iter().flatten().filter_map(Value::as_f64);
    let served: Vec<_> = served.map(|us| format!("{:.1} s", us / 1e6)).collect();
    lines.push(format!(
        "\nTwo tenants that always want more, with requests of 50 ms and of 1 s, were served {}: Jain {:.4} (bar 0.95).",
        served.join(" and "),
        number(backlog, "jain")
    ));
    lines.push(
        "Bars: in time ≥ 0.99, p99 ≤ 2 × unloaded, Jain ≥ 0.99, and goodput ≥ 0.85 under the tenfold flood (what is asked \
         for in all under the twofold one that can be done in time is less than the server could do)."
            .to_owned(),
    );
    let missed = missed(rows, backlog);
    lines.push(if missed.is_empty() {
        "All bars are met.".to_owned()
    } else {
        format!("Missed: {}.", missed.join("; "))
    });
    let busy = if machine.was_busy() { "\n\nThe machine was busy: the figures deserve less trust." } else { "" };
    format!("{}\n\n{machine}{busy}", lines.join("\n"))
}
