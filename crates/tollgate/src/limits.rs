//! `tollgate limits`: the published policy of a configuration, and the lever of an incident on a gateway that runs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;
use tollgate_gateway::admin::levers::{Asked, PATH};
use tollgate_gateway::config::{Config, DurationText, Serves, Sources, load_config};
use tollgate_gateway::secrets::Vault;
use tollgate_gateway::start::StartError;
use tollgate_layers::auth::Timestamp;

use crate::environment;
use crate::exit::Exit;

/// How long an answer of the admin listener may take: an act waits for its record.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of such an answer.
const MOST: u64 = 1 << 22;

/// The published quota policy, and overrides for an incident: for a while, a tenant, a key or a network gets only a part of
/// its budgets. Overrides are asked of the gateway that runs with this configuration, through its admin listener.
#[derive(Args, Debug)]
pub(crate) struct Limits {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// Where the admin listener is, if not where the configuration says.
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
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
        let vars = environment();
        let env = |name: &str| vars.get(name).cloned();
        let loaded = load_config(&self.config, &Sources::disk(&env)).map_err(StartError::Config)?;
        let door = || Door::of(&loaded.value, self.admin, &self.config, &vars);
        match self.what {
            What::Clear(whom) => cleared(&door()?, whom),
            What::List { json } => listed(&door()?, json),
            What::Override(given) => given.pull(&door()?),
            What::Policy { json } => policy(&loaded.value, json),
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
    let told = door.ask("GET", "")?;
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
    door.ask("DELETE", &serde_json::to_string(&whom.asked())?)?;
    println!("it is cleared");
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
        let told = door.ask("POST", &serde_json::to_string(&more)?)?;
        let until = Timestamp::of_unix_ms(told["override"]["until_unix_ms"].as_u64().unwrap_or(0));
        println!("it holds until {until}");
        if told["recorded"] == false {
            eprintln!("it is on no record: `record.access` is off");
        }
        if told["survives_restart"] == false {
            eprintln!("a restart forgets it: `state.directory` is not set, or could not be written");
        }
        Ok(Exit::Good)
    }
}

/// The admin listener of a gateway.
struct Door {
    at: SocketAddr,
    key: Secret,
}

impl Door {
    fn of(
        config: &Config,
        at: Option<SocketAddr>,
        path: &Path,
        vars: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let named = config.listeners.values().find(|listener| listener.serves == Serves::Admin);
        let bind = named.map(|listener| listener.bind.as_str());
        let at = match (at, bind) {
            (Some(at), _) => at,
            (None, Some(bind)) => bind.parse().with_context(|| format!("`{bind}` is not an address and a port"))?,
            (None, None) => bail!("no listener serves `admin`"),
        };
        if at.port() == 0 {
            bail!("the admin listener takes any free port: say `--admin ADDRESS`");
        }
        let admin = config.admin.as_ref().context("no `admin: { key: … }`")?;
        let env = |name: &str| vars.get(name).cloned();
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut check = Checker::default();
        let key = Vault::new(&base, &env).open(&admin.key, "key", &mut check);
        let why = || check.finish().0.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ");
        Ok(Self { at, key: key.ok_or_else(|| anyhow!("the admin key: {}", why()))? })
    }

    /// Asks the gateway; an error with what it said where that is no yes.
    fn ask(&self, method: &str, body: &str) -> anyhow::Result<Value> {
        let at = self.at;
        let mut stream =
            TcpStream::connect_timeout(&at, PATIENCE).with_context(|| format!("no gateway answers at {at}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request =
            format!("{method} {PATH} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer ")
                .into_bytes();
        request.extend_from_slice(self.key.expose());
        let rest = format!("\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request.extend_from_slice(rest.as_bytes());
        stream.write_all(&request)?;
        let mut answer = String::new();
        stream.take(MOST).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the gateway's answer is none")?;
        let told: Value = serde_json::from_str(body).unwrap_or_default();
        match head.split(' ').nth(1) {
            Some("200") => Ok(told),
            Some("401") => bail!("the gateway at {at} has another admin key"),
            status => {
                let why = told["error"].as_str().unwrap_or(body);
                bail!("the gateway says {}: {why}", status.unwrap_or("nothing"))
            }
        }
    }
}
