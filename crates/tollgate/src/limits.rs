//! `tollgate limits`: the published policy of a configuration, and the lever of an incident on a gateway that runs.

use std::time::Duration;

use clap::{Args, Subcommand};
use tollgate_gateway::admin::levers::{Asked, PATH};
use tollgate_gateway::config::{Config, DurationText, Sources, load_config};
use tollgate_gateway::start::StartError;
use tollgate_layers::auth::Timestamp;

use crate::door::{Door, Whose};
use crate::environment;
use crate::exit::Exit;

/// The published quota policy, and overrides for an incident: for a while, a tenant, a key or a network gets only a part of
/// its budgets. Overrides are asked of the gateway that runs with this configuration, through its admin listener.
#[derive(Args, Debug)]
pub(crate) struct Limits {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let an override go before its time.
    Clear(Whom),
    /// List the overrides that hold now.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lower rates and bursts of one tenant, key or network for a while.
    Override(Override),
    /// Print the quota policy of the configuration, as Markdown.
    Policy {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whom {
    /// A network, such as `203.0.113.0/24`.
    #[arg(long)]
    cidr: Option<String>,
    /// The id of a key: the 10 characters between its second and its third `_`.
    #[arg(long)]
    key: Option<String>,
    /// The name of a tenant.
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Args, Debug)]
struct Override {
    #[command(flatten)]
    whom: Whom,
    /// What is left of rates and bursts: 0 lets nothing pass; at most 0.999.
    #[arg(long)]
    factor: f64,
    /// For how long, such as `30m` or `1h`: 30 days at most.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Duration,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    DurationText::parse(text).map(|time| time.0).map_err(|_| format!("`{text}` is not a time such as `30m` or `1h`"))
}

impl Limits {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let Self { whose, what } = self;
        match what {
            What::Clear(whom) => cleared(&whose.door()?, whom),
            What::List { json } => listed(&whose.door()?, json),
            What::Override(given) => given.pull(&whose.door()?),
            What::Policy { json } => {
                let vars = environment();
                let env = |name: &str| vars.get(name).cloned();
                let loaded = load_config(&whose.config, &Sources::disk(&env)).map_err(StartError::Config)?;
                policy(&loaded.value, json)
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn policy(config: &Config, json: bool) -> anyhow::Result<Exit> {
    let page = config.limits.page();
    if json {
        println!("{}", serde_json::to_string_pretty(&page)?);
    } else {
        print!("{}", page.markdown());
    }
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn listed(door: &Door, json: bool) -> anyhow::Result<Exit> {
    let told = door.ask("GET", PATH, "")?;
    if json {
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(Exit::Good);
    }
    println!("{:<8}  {:<24}  {:<6}  {:<20}  reason", "for", "whom", "factor", "until");
    for one in told["overrides"].as_array().into_iter().flatten() {
        let (kind, whom) = ["cidr", "key", "tenant"]
            .into_iter()
            .find_map(|kind| Some((kind, one[kind].as_str()?)))
            .unwrap_or(("?", "?"));
        let until = Timestamp::of_unix_ms(one["until_unix_ms"].as_u64().unwrap_or(0)).to_string();
        let (factor, reason) = (one["factor"].as_f64().unwrap_or(0.0), one["reason"].as_str().unwrap_or_default());
        println!("{kind:<8}  {whom:<24}  {factor:<6}  {until:<20}  {reason}");
    }
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn cleared(door: &Door, whom: Whom) -> anyhow::Result<Exit> {
    let told = door.ask("DELETE", PATH, &serde_json::to_string(&whom.asked())?)?;
    println!("it is cleared");
    warn_of_others(&told);
    Ok(Exit::Good)
}

impl Whom {
    fn asked(self) -> Asked {
        Asked { cidr: self.cidr, key: self.key, tenant: self.tenant, ..Asked::default() }
    }
}

impl Override {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn pull(self, door: &Door) -> anyhow::Result<Exit> {
        let for_ms = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        let more = Asked { factor: Some(self.factor), for_ms: Some(for_ms), reason: self.reason, ..self.whom.asked() };
        let told = door.ask("POST", PATH, &serde_json::to_string(&more)?)?;
        let until = Timestamp::of_unix_ms(told["override"]["until_unix_ms"].as_u64().unwrap_or(0));
        println!("it holds until {until}");
        if told["recorded"] == false {
            eprintln!("it is on no record: `record.access` is off");
        }
        if told["survives_restart"] == false {
            eprintln!("a restart forgets it: `state.directory` is not set, or could not be written");
        }
        warn_of_others(&told);
        Ok(Exit::Good)
    }
}

/// Says so where the other gateways do not know of it yet.
#[expect(clippy::print_stderr, reason = "the bin speaks to people")]
fn warn_of_others(told: &serde_json::Value) {
    if told["nodes"] == "this_one" {
        eprintln!("on this gateway only: the store is away. The others follow when it is back");
    }
}
