//! `tollgate keys`: issue, list and revoke API keys on the key file of a configuration.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use tollgate_core::time::Clock;
use tollgate_gateway::config::KeyDesk;
use tollgate_layers::auth::{IssuedKey, NewKey, PepperValue, Revoked, Timestamp};
use tollgate_layers::authz::Scope;

use crate::environment;
use crate::exit::Exit;

/// Issue, list and revoke API keys. The file holds seals, never keys: a key is shown once, when it is made. A running
/// gateway takes a change with its next reload (SIGHUP or `POST /reload`).
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List keys: who, until when, and whether they live.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Issue a key and print it, once.
    New(New),
    /// Revoke a key, for ever.
    Revoke {
        /// Its id: the 10 characters between the second and the third `_` of the key.
        id: String,
    },
}

#[derive(Args, Debug)]
struct New {
    /// On whose behalf and bill it is used: a name of `tenants`.
    #[arg(long)]
    tenant: String,
    /// What it may do; may be given more than once. Default: everything that the tenant may, but never `admin`.
    #[arg(long, value_enum)]
    scope: Vec<ScopeName>,
    /// A model that it is held to; may be given more than once. Default: all of the tenant's.
    #[arg(long)]
    model: Vec<String>,
    /// A network that it may come from, such as `10.0.0.0/8`; may be given more than once. Default: anywhere.
    #[arg(long)]
    cidr: Vec<String>,
    /// Days that it lives: at most 365.
    #[arg(long, default_value_t = 90)]
    days: u32,
    /// Word in the key that says where it is for: 1 to 8 of `a-z`, `0-9`.
    #[arg(long, default_value = "live")]
    env: String,
    /// Pepper that seals it. Default: the last of `auth.keys.pepper` by name.
    #[arg(long)]
    pepper: Option<String>,
    /// What it is for.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// The admin listener.
    Admin,
    /// Inference, and reading what may be inferred with.
    Infer,
    /// Metadata and readiness only.
    List,
}

impl Keys {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let environment = environment();
        let desk = KeyDesk::open(&self.config, &|name| environment.get(name).cloned())?;
        let now = Timestamp::of_unix_ms(Clock::real().unix_ms());
        match self.what {
            What::List { json } => list(&desk, now, json),
            What::New(new) => new.issue(desk, now, environment.get("USER")),
            What::Revoke { id } => revoke(desk, &id, now),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn list(desk: &KeyDesk, now: Timestamp, json: bool) -> anyhow::Result<Exit> {
    if json {
        println!("{}", serde_json::to_string_pretty(&desk.keys.rows(now).collect::<Vec<_>>())?);
        return Ok(Exit::Good);
    }
    println!("{:<10}  {:<8}  {:<20}  {:<20}  note", "id", "state", "tenant", "expires");
    for row in desk.keys.rows(now) {
        let state = serde_json::to_value(row.standing)?;
        let state = state.as_str().unwrap_or_default().to_owned();
        println!("{:<10}  {state:<8}  {:<20}  {:<20}  {}", row.id, row.tenant, row.expires_at.to_string(), row.note);
    }
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
fn revoke(mut desk: KeyDesk, id: &str, now: Timestamp) -> anyhow::Result<Exit> {
    match desk.keys.revoke(id, now)? {
        Revoked::Before => println!("{id} was revoked before"),
        Revoked::Now => {
            desk.save()?;
            println!("{id} is revoked");
            eprintln!("a running gateway refuses it from its next reload on");
        }
    }
    Ok(Exit::Good)
}

impl New {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn issue(self, desk: KeyDesk, now: Timestamp, user: Option<&String>) -> anyhow::Result<Exit> {
        let request = NewKey {
            env: self.env,
            tenant: self.tenant,
            scopes: self.scope.into_iter().map(ScopeName::scope).collect(),
            models: self.model,
            cidrs: self.cidr,
            not_before: None,
            days: Some(self.days),
            created_by: user.cloned().unwrap_or_else(|| "tollgate keys".to_owned()),
            note: self.note,
        };
        let (issued, path) = issue(desk, request, self.pepper.as_deref(), now)?;
        println!("{}", issued.reveal());
        eprintln!("written to {}; the key is shown only this once", path.display());
        eprintln!("it expires {}; a running gateway knows it from its next reload on", issued.record.expires_at);
        Ok(Exit::Good)
    }
}

/// Issues a key and writes the file. It is sealed with the pepper of that name, or else the last by name.
pub(crate) fn issue(
    mut desk: KeyDesk,
    request: NewKey,
    pepper: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<(IssuedKey, PathBuf)> {
    if !desk.tenants.contains(&request.tenant) {
        bail!("`{}` is not one of the tenants: {}", request.tenant, desk.tenants.join(", "));
    }
    let pepper = match pepper {
        Some(name) => desk.peppers.get_key_value(name).with_context(|| format!("no pepper is called `{name}`"))?,
        None => desk.peppers.last_key_value().context("no pepper is configured")?,
    };
    let pepper = PepperValue { id: pepper.0, value: pepper.1 };
    let mut random = |bytes: &mut [u8]| {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // Drawing rejects these bytes, and then says that the source is broken.
            bytes.fill(u8::MAX);
        }
    };
    let issued = desk.keys.issue(request, pepper, &mut random, now)?;
    let path = desk.save()?;
    Ok((issued, path))
}

impl ScopeName {
    const fn scope(self) -> Scope {
        match self {
            Self::Admin => Scope::Admin,
            Self::Infer => Scope::Infer,
            Self::List => Scope::List,
        }
    }
}
