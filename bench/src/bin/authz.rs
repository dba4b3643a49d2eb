//! Authorization benchmark: microseconds of a decision with 4, 200 and 2,000 policies, and without any.
//!
//! `authz [--quick] [--json]`. Times are those of this thread, read before and after each decision: p50 and p99 are over
//! single decisions, 0.2 µs of reading the clock included. The exit code is 1 if a bar is missed.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tollgate_core::call::{Call, Dialect, Knobs, ModelId};
use tollgate_core::check::Checker;
use tollgate_core::identity::{Identity, Method, Person};
use tollgate_layers::authz::{self, Asked, Authz, AuthzConfig, Late, Occasion, PolicyNames, TenantConfig, TenantNames};
use tollgate_layers::routes::{self, Found, RouteConfig, RouteNames, Routes, Verb};
use tollgate_layers::waf::Source;

/// Policies, and the most microseconds of the median decision.
const SCENES: [(usize, f64); 3] = [(4, 10.0), (200, 25.0), (2_000, 50.0)];
const MODELS: usize = 20;

/// Policies for all tenants. The first scene has the first of them alone.
const GLOBAL: [&str; 8] = [
    "forbid(principal, action, resource) when { context.ip.isInRange(ip(\"203.0.113.0/24\")) };",
    "forbid(principal, action, resource == Model::\"m5\") unless { context.mtls };",
    "forbid(principal, action == Action::\"stream\", resource) when { context.hour < 1 };",
    "forbid(principal, action, resource) when { context has payload && context.payload.has_url };",
    "forbid(principal, action, resource in ModelGroup::\"dear\") when { context has cost && context.cost > 9000000 };",
    "forbid(principal, action, resource) when { context.region == \"nowhere\" };",
    "forbid(principal is Workload, action, resource) unless { context.mtls };",
    "forbid(principal, action, resource) when { context has payload && context.payload.bytes > 10000000 };",
];

struct Text(String);

impl Source for Text {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

/// A gateway's answers to who may do what.
struct House {
    authz: Authz,
    routes: Routes,
}

/// What one scene took, in microseconds.
struct Row {
    what: String,
    policies: usize,
    partition: usize,
    head: [f64; 2],
    call: [f64; 2],
    bar: Option<f64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let (mut quick, mut as_json) = (false, false);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--quick" => quick = true,
            "--json" => as_json = true,
            other => {
                println!("unknown argument `{other}`\nusage: authz [--quick] [--json]");
                return Ok(ExitCode::from(2));
            }
        }
    }
    let rounds = if quick { 5_000 } else { 100_000 };
    let mut rows = Vec::new();
    for (policies, bar) in SCENES {
        rows.push(Row { bar: Some(bar), ..House::with(policies)?.row(format!("{policies} policies"), rounds)? });
    }
    rows.push(House::remembering()?.row("2000 policies, nothing that changes is read".to_owned(), rounds)?);
    rows.push(House::with(0)?.row("allow lists alone".to_owned(), rounds)?);
    println!("{}", if as_json { Row::json(&rows) } else { Row::table(&rows) });
    let passes = rows.iter().all(Row::passes);
    Ok(if passes || quick { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl House {
    /// `policies` policies: some for everybody, four for each tenant.
    fn with(policies: usize) -> anyhow::Result<Self> {
        let global = match policies {
            0 => 0,
            4 => 1,
            200 => 4,
            _ => GLOBAL.len(),
        };
        let mut text = GLOBAL.iter().take(global).fold(String::new(), |text, policy| text + policy + "\n");
        for i in 0..(policies - global) {
            let tenant = i / 4;
            // Writing to a string cannot fail.
            let _ = match i % 4 {
                0 => writeln!(
                    text,
                    "permit(principal in Tenant::\"t{tenant}\", action in [Action::\"infer\", Action::\"stream\"], \
                     resource in ModelGroup::\"chat\") when {{ context.scopes.contains(\"infer\") }};"
                ),
                1 => writeln!(
                    text,
                    "forbid(principal in Tenant::\"t{tenant}\", action, resource is Model) when \
                     {{ context has payload && principal.tenant has max_batch && \
                     context.payload.batch > principal.tenant.max_batch }};"
                ),
                2 => writeln!(
                    text,
                    "permit(principal in Tenant::\"t{tenant}\", action == Action::\"embed\", resource == Model::\"m3\") \
                     when {{ context.hour >= 6 && context.hour < 22 }};"
                ),
                _ => {
                    writeln!(text, "permit(principal in Tenant::\"t{tenant}\", action == Action::\"list\", resource);")
                }
            };
        }
        Self::of(text)
    }

    /// As many, none of which reads what changes.
    fn remembering() -> anyhow::Result<Self> {
        let policy = |i: usize| {
            let tenant = i / 4;
            format!(
                "permit(principal in Tenant::\"t{tenant}\", action, resource == Model::\"m{}\") \
                 when {{ context.scopes.contains(\"infer\") }};\n",
                i % 4
            )
        };
        Self::of((0..2_000).map(policy).collect())
    }

    fn of(text: String) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..MODELS).map(|i| format!("m{i}")).collect();
        let models: BTreeMap<String, ModelId> = {
            let mut sorted = names.clone();
            sorted.sort();
            (0..).map(ModelId).zip(sorted).map(|(id, name)| (name, id)).collect()
        };
        let route = json!([{ "name": "chat", "path": "/v1/{*rest}", "protocol": "openai", "models": names }]);
        let routes: Vec<RouteConfig> = serde_json::from_value(route)?;
        let mut check = Checker::default();
        let (upstreams, classes) = (BTreeMap::new(), BTreeSet::new());
        let route_names = RouteNames { models: &models, upstreams: &upstreams, classes: &classes };
        let routes = routes::compile(&routes, &mut check, &route_names);
        let policies = !text.is_empty();
        let mut tenant = json!({ "models": ["m0", "m1"] });
        if policies {
            tenant["attributes"] = json!({ "max_batch": 16 });
        }
        let tenants: BTreeMap<String, Value> = (0..500).map(|i| (format!("t{i}"), tenant.clone())).collect();
        let tenants: BTreeMap<String, TenantConfig> = serde_json::from_value(serde_json::to_value(tenants)?)?;
        let config = match policies {
            false => json!({}),
            true => json!({
                "policies": ["all.cedar"], "region": "eu",
                "model_groups": { "chat": ["m0", "m1", "m2"], "dear": ["m2", "m3"] },
            }),
        };
        let config: AuthzConfig = serde_json::from_value(config)?;
        let budgets = BTreeSet::new();
        let names = TenantNames { models: &models, routes: routes.all(), budgets: &budgets, policies };
        let layer = authz::compile(&tenants, &mut check, &names);
        let source = &Text(text);
        let names =
            PolicyNames { tenants: &tenants, models: &models, routes: routes.all(), source, failed: Arc::default() };
        let authz = layer.with(config.policies(&mut check, &names));
        let (problems, _) = check.finish();
        ensure!(problems.is_empty(), "{:?}", problems.first());
        Ok(Self { authz, routes })
    }

    fn row(&self, what: String, rounds: usize) -> anyhow::Result<Row> {
        let (policies, partition) = self.authz.policy_counts();
        let tenants = if policies == 4 { 1 } else { (policies / 4).clamp(1, 490) };
        let people: Vec<Identity> = (0..tenants).map(caller).collect();
        let route = self.routes.all().first().context("the route is there")?;
        let found = Found { route, verb: Verb::Infer, model: None };
        let at = Occasion { from: "192.0.2.1".parse()?, unix_ms: 12 * 3_600_000 };
        let call = Call {
            dialect: Dialect::OpenAi,
            body_bytes: 2_000,
            knobs: Knobs { choices: 1, output_tokens: Some(256), ..Knobs::default() },
            ..Call::default()
        };
        let (mut head, mut whole) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
        for round in 0..rounds + rounds / 10 {
            let who = people.get(round * 7 % people.len()).context("a caller")?;
            let asked = Asked::new(who, &found, "/v1/chat/completions", at);
            let late = Late::Parsed { call: &call, cost: &|| 5_000 };
            let (first, took_first) = timed(|| self.authz.permit(black_box(&asked)).is_ok());
            let (second, took_second) = timed(|| self.authz.use_model(black_box(&asked), ModelId(0), late).is_ok());
            ensure!(first && second, "`{what}`: a request that may pass was refused");
            if round >= rounds / 10 {
                head.push(took_first);
                whole.push(took_second);
            }
        }
        Ok(Row { what, policies, partition, head: percentiles(head), call: percentiles(whole), bar: None })
    }
}

fn caller(tenant: usize) -> Identity {
    Identity::new(Person {
        principal: format!("k{tenant}").into(),
        tenant: format!("t{tenant}").into(),
        method: Method::ApiKey,
        ..Person::default()
    })
}

/// What `run` gave, and how many microseconds of this thread it took.
fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
    };
    let start = now();
    let given = run();
    (given, now() - start)
}

/// The 50th and the 99th.
fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [50, 99].map(|percent| times.get(times.len() * percent / 100).copied().unwrap_or(f64::NAN))
}

impl Row {
    fn passes(&self) -> bool {
        self.bar.is_none_or(|bar| self.head[0] <= bar && self.call[0] <= bar)
    }

    fn table(rows: &[Self]) -> String {
        let mut out = format!(
            "{:<44} {:>8} {:>9}  {:>17}  {:>17}  {}\n",
            "µs of a decision", "policies", "largest", "head p50 / p99", "call p50 / p99", "bar"
        );
        for row in rows {
            let pair = |[median, tail]: [f64; 2]| format!("{median:.2} / {tail:.2}");
            let bar = row
                .bar
                .map_or_else(String::new, |bar| format!("<= {bar} {}", if row.passes() { "held" } else { "MISSED" }));
            let _ = writeln!(
                out,
                "{:<44} {:>8} {:>9}  {:>17}  {:>17}  {bar}",
                row.what,
                row.policies,
                row.partition,
                pair(row.head),
                pair(row.call)
            );
        }
        out
    }

    fn json(rows: &[Self]) -> String {
        let one = |row: &Self| {
            json!({
                "what": row.what, "policies": row.policies, "largest_partition": row.partition,
                "head_us": row.head, "call_us": row.call, "bar_us": row.bar, "passes": row.passes(),
            })
        };
        Value::Array(rows.iter().map(one).collect()).to_string()
    }
}
