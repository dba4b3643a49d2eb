//! `tollgate keys`: issue, list, rotate, revoke and take over API keys on the key file of a configuration.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use tollgate_core::secret::Secret;
use tollgate_core::time::Clock;
use tollgate_gateway::config::{DurationText, KeyDesk};
use tollgate_gateway::keys::{Done, KeyAct};
use tollgate_layers::auth::{IssuedKey, KeyRow, NewKey, Rotation, Timestamp};
use tollgate_layers::authz::Scope;

use crate::environment;
use crate::exit::Exit;

/// The most bytes of keys to be taken over at once.
const MOST_IMPORTED: u64 = 16 << 20;

/// Issue, list, rotate, revoke and take over API keys. The file holds seals, never keys: a key is shown once, when it is
/// made. A running gateway takes a change within a second.
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
    /// Take over keys that exist already, also those of other systems: read from standard input, one on a line, because
    /// arguments stand in the list of processes and in the history of the shell.
    Import(Given),
    /// List keys: who, until when, and whether they live.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Issue a key and print it, once.
    New(New),
    /// Drop the records of keys that were revoked or ended long ago. Access lines name keys by their ids: keep the records
    /// for as long as those.
    Prune {
        /// How long ago at least.
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
        kept: Duration,
    },
    /// Revoke a key, for ever.
    Revoke {
        /// Its id: the 10 characters between the second and the third `_` of the key.
        id: String,
    },
    /// Issue a key that follows another one and print it, once. The old one is good for a while yet, and answers to it say
    /// until when.
    Rotate(Rotate),
    /// Show what is known of one key.
    Show {
        /// Its id.
        id: String,
    },
}

#[derive(Args, Debug)]
struct Given {
    /// On whose behalf and bill it is used: a name of `tenants`.
    #[arg(long)]
    tenant: String,
    /// Who of the tenant uses it, such as `batch-scorer`: budgets and policies know its user as `TENANT/CLIENT`.
    #[arg(long, default_value = "")]
    client: String,
    /// What the client uses it for: of one client and purpose at most two keys live.
    #[arg(long, default_value = "")]
    purpose: String,
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
    /// Pepper that seals it. Default: the last of `auth.keys.pepper` by name.
    #[arg(long)]
    pepper: Option<String>,
    /// What it is for, in words.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Args, Debug)]
struct New {
    #[command(flatten)]
    given: Given,
    /// Word in the key that says where it is for: 1 to 8 of `a-z`, `0-9`.
    #[arg(long, default_value = "live")]
    env: String,
}

#[derive(Args, Debug)]
struct Rotate {
    /// The id of the key that is followed.
    id: String,
    /// How long it is still good, such as `7d` or `12h`; never beyond its own end.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
    grace: Duration,
    /// Days that the new key lives. Default: as many as the old one was given.
    #[arg(long)]
    days: Option<u32>,
    /// Pepper that seals it. Default: the last of `auth.keys.pepper` by name.
    #[arg(long)]
    pepper: Option<String>,
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

fn duration(text: &str) -> Result<Duration, String> {
    // Days are what keys are counted in.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_hours(24) * days);
    }
    DurationText::parse(text).map(|time| time.0).map_err(|_| format!("`{text}` is not a time such as `7d` or `12h`"))
}

impl Keys {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let environment = environment();
        let desk = KeyDesk::open(&self.config, &|name| environment.get(name).cloned())?;
        let now = Timestamp::of_unix_ms(Clock::real().unix_ms());
        let user = environment.get("USER").cloned().unwrap_or_else(|| "tollgate keys".to_owned());
        match self.what {
            What::Import(given) => given.import(desk, now, user),
            What::List { json } => list(&desk, now, json),
            What::New(new) => new.issue(desk, now, user),
            What::Prune { kept } => prune(desk, kept, now),
            What::Revoke { id } => revoke(desk, id, now),
            What::Rotate(rotate) => rotate.run(desk, now, user),
            What::Show { id } => show(&desk, &id, now),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn list(desk: &KeyDesk, now: Timestamp, json: bool) -> anyhow::Result<Exit> {
    if json {
        println!("{}", serde_json::to_string_pretty(&desk.keys.rows(now).collect::<Vec<_>>())?);
        return Ok(Exit::Good);
    }
    println!("{:<10}  {:<8}  {:<20}  {:<24}  {:<20}  {:<20}  note", "id", "state", "tenant", "user", "expires", "used");
    for row in desk.keys.rows(now) {
        let KeyRow { id, tenant, note, .. } = row;
        let (state, user, expires) = (row.standing.name(), &row.principal, row.expires_at.to_string());
        let used = row.last_used.map_or_else(|| "-".to_owned(), |at| at.to_string());
        println!("{id:<10}  {state:<8}  {tenant:<20}  {user:<24}  {expires:<20}  {used:<20}  {note}");
    }
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn show(desk: &KeyDesk, id: &str, now: Timestamp) -> anyhow::Result<Exit> {
    let Some(row) = desk.keys.rows(now).find(|row| row.id == id) else {
        // Whoever pastes a whole key here by mistake must not find it in the message.
        bail!("no key has that id: it is the 10 characters between the second and the third `_`");
    };
    println!("{}", serde_json::to_string_pretty(&row)?);
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
fn revoke(mut desk: KeyDesk, id: String, now: Timestamp) -> anyhow::Result<Exit> {
    let done = desk.act(KeyAct::Revoke(id), None, now)?;
    let id = done.ids.join(", ");
    if !done.changed {
        println!("{id} was revoked before");
        return Ok(Exit::Good);
    }
    desk.save()?;
    println!("{id} is revoked");
    eprintln!("a running gateway refuses it within a second");
    Ok(Exit::Good)
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn prune(mut desk: KeyDesk, kept: Duration, now: Timestamp) -> anyhow::Result<Exit> {
    let done = desk.act(KeyAct::Prune(kept), None, now)?;
    if done.changed {
        desk.save()?;
    }
    for id in &done.ids {
        println!("{id}");
    }
    Ok(Exit::Good)
}

impl Rotate {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn run(self, mut desk: KeyDesk, now: Timestamp, user: String) -> anyhow::Result<Exit> {
        let rotation = Rotation { grace: self.grace, days: self.days, created_by: user };
        let done = desk.act(KeyAct::Rotate { id: self.id.clone(), rotation }, self.pepper.as_deref(), now)?;
        let old = desk.keys.rows(now).find(|row| row.id == self.id).map(|row| row.expires_at);
        let (issued, _) = saved(desk, done)?;
        println!("{}", issued.reveal());
        if let Some(until) = old {
            eprintln!("the key is shown only this once; {} is good until {until}", self.id);
        }
        Ok(Exit::Good)
    }
}

impl Given {
    fn request(self, env: String, user: String) -> (NewKey, Option<String>) {
        let request = NewKey {
            env,
            tenant: self.tenant,
            client: self.client,
            purpose: self.purpose,
            scopes: self.scope.into_iter().map(ScopeName::scope).collect(),
            models: self.model,
            cidrs: self.cidr,
            not_before: None,
            days: Some(self.days),
            created_by: user,
            note: self.note,
            first: None,
        };
        (request, self.pepper)
    }

    /// Takes over every key of standard input, or none.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn import(self, mut desk: KeyDesk, now: Timestamp, user: String) -> anyhow::Result<Exit> {
        let mut text = Vec::new();
        std::io::stdin().take(MOST_IMPORTED + 1).read_to_end(&mut text).context("reading standard input")?;
        let text = Secret::new(text);
        if text.expose().len() as u64 > MOST_IMPORTED {
            bail!("more than 16 MiB of keys");
        }
        let (request, pepper) = self.request("live".to_owned(), user);
        let mut ids = Vec::new();
        for (number, line) in (1..).zip(text.expose().split(|byte| *byte == b'\n')) {
            let key = line.trim_ascii();
            if key.is_empty() {
                continue;
            }
            let act = KeyAct::Import { request: request.clone(), key: Secret::new(key.to_vec()) };
            let done = desk.act(act, pepper.as_deref(), now).with_context(|| format!("line {number}"))?;
            if let Some(bits) = done.weak {
                eprintln!(
                    "line {number}: the key is worth only {bits} bits; replace it soon with `tollgate keys rotate`"
                );
            }
            ids.extend(done.ids);
        }
        if ids.is_empty() {
            bail!("no key on standard input: write one on each line");
        }
        desk.save()?;
        for id in ids {
            println!("{id}");
        }
        Ok(Exit::Good)
    }
}

impl New {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn issue(self, desk: KeyDesk, now: Timestamp, user: String) -> anyhow::Result<Exit> {
        let (request, pepper) = self.given.request(self.env, user);
        let (issued, place) = issue(desk, request, pepper.as_deref(), now)?;
        println!("{}", issued.reveal());
        eprintln!("written to {place}; the key is shown only this once");
        eprintln!("it expires {}; a running gateway knows it within a second", issued.record.expires_at);
        Ok(Exit::Good)
    }
}

/// Issues a key and writes the file. It is sealed with the pepper of that name, or else the last by name.
pub(crate) fn issue(
    mut desk: KeyDesk,
    request: NewKey,
    pepper: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<(IssuedKey, String)> {
    let done = desk.act(KeyAct::Issue(request), pepper, now)?;
    saved(desk, done)
}

/// Writes the change; the key that was made, and where its record is.
fn saved(desk: KeyDesk, done: Done) -> anyhow::Result<(IssuedKey, String)> {
    let saved = desk.save()?;
    Ok((done.issued.context("no key was made")?, saved.place))
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
