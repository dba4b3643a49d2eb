//! Runs one case: a fresh gateway in a rehearsal, its steps one after the other, and the record of what happened.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;
use tollgate_core::backend::Backend;
use tollgate_core::secret::{Secret, SecretRef};
use tollgate_core::time::Clock;
use tollgate_gateway::config::{Config, Serves};
use tollgate_gateway::record::RecordTarget;
use tollgate_gateway::rehearsal::Rehearsal;
use tollgate_gateway::start::{Gateway, Setup};
use tollgate_gateway::state::Embed;
use tollgate_layers::auth::{KeyFile, KeysConfig, NewKey, PepperValue, Timestamp};

use super::case::{Case, KeyOf, Step};
use super::client::{self, Reply};
use super::judge::{Happened, Miss, judge};
use super::stub::{Sent, Server};
use crate::embed::Onnx;

/// What all cases of a run share.
pub(crate) struct Stand {
    runtime: Runtime,
    server: Server,
    models: Arc<Models>,
    env: std::collections::BTreeMap<String, String>,
    scratch: Scratch,
}

/// How a step ended: the broken promises of the first of its requests that broke any.
pub(crate) struct Ended {
    pub(crate) misses: Vec<Miss>,
    pub(crate) record: Option<Value>,
}

impl Stand {
    /// Starts the model server that stands for all others.
    ///
    /// # Errors
    /// What of the system is missing.
    pub(crate) fn new(env: std::collections::BTreeMap<String, String>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = runtime.block_on(Server::start()).context("starting the stub of the model servers")?;
        Ok(Self { runtime, server, models: Arc::default(), env, scratch: Scratch::new()? })
    }

    /// Runs a case against the configuration at `path`.
    ///
    /// # Errors
    /// Mistakes of the configuration, or what of the system is missing.
    pub(crate) fn run(&self, path: &Path, config: &Config, case: &Case) -> anyhow::Result<Vec<Ended>> {
        let access = self.scratch.0.join("access.jsonl");
        drop(std::fs::remove_file(&access));
        let callers = case.steps.iter().filter_map(|step| step.caller.as_ref()).map(super::case::Caller::key);
        let keys = self.keys(callers)?;
        let setup = Setup {
            config: path.to_owned(),
            env: self.env.clone(),
            embed: Box::new(Lent(Arc::clone(&self.models))),
            access: Some(RecordTarget::File(access.clone())),
        };
        let gateway = Gateway::rehearse(setup, &self.rehearsal())?;
        let mut rounds = Vec::new();
        for step in &case.steps {
            let to = address(&gateway, config, step)?;
            let key = step.caller.as_ref().and_then(|caller| keys.get(&caller.key())).map(String::as_str);
            for _ in 0..step.times {
                self.server.answer(&step.stub);
                let reply = self.runtime.block_on(client::send(to, &step.send, key));
                rounds.push((step, reply.map_err(|error| error.to_string()), self.server.sent()));
            }
        }
        // Connections on our side must go on to close, or the gateway waits for them.
        self.runtime.block_on(async { tokio::task::spawn_blocking(move || gateway.drain()).await })?;
        let record = lines(&access);
        Ok(judged(case, rounds, &record))
    }

    fn rehearsal(&self) -> Rehearsal {
        let secret = |name: &str| SecretRef(format!("secret://file:{}", self.scratch.0.join(name).display()));
        Rehearsal {
            upstream: self.server.address,
            keys: KeysConfig {
                file: self.scratch.0.join("keys.yaml").display().to_string(),
                pepper: [("rehearsal".to_owned(), secret("pepper"))].into(),
                ..KeysConfig::default()
            },
            admin_key: secret("admin"),
        }
    }

    /// Writes the key file of a case, and says what its keys are.
    fn keys(&self, callers: impl Iterator<Item = KeyOf>) -> anyhow::Result<HashMap<KeyOf, String>> {
        let pepper = Secret::new(draw()?.into_bytes());
        self.scratch.write("pepper", pepper.expose())?;
        self.scratch.write("admin", draw()?.as_bytes())?;
        let now = Timestamp::of_unix_ms(Clock::real().unix_ms());
        let (mut file, mut keys) = (KeyFile::default(), HashMap::new());
        let mut random = |bytes: &mut [u8]| {
            if aws_lc_rs::rand::fill(bytes).is_err() {
                // Drawing rejects these bytes, and then says that the source is broken.
                bytes.fill(u8::MAX);
            }
        };
        for caller in callers {
            if keys.contains_key(&caller) {
                continue;
            }
            let request = NewKey {
                env: "test".to_owned(),
                tenant: caller.tenant.clone(),
                scopes: caller.scopes.clone(),
                models: caller.models.clone(),
                cidrs: caller.cidrs.clone(),
                days: Some(1),
                created_by: "tollgate test".to_owned(),
                ..NewKey::default()
            };
            let issued = file.issue(request, PepperValue { id: "rehearsal", value: &pepper }, &mut random, now)?;
            if caller.revoked {
                file.revoke(&issued.record.id, now)?;
            }
            keys.insert(caller, issued.reveal().to_owned());
        }
        self.scratch.write("keys.yaml", file.to_yaml().as_bytes())?;
        Ok(keys)
    }
}

type Round<'a> = (&'a Step, Result<Reply, String>, Vec<Sent>);

fn judged(case: &Case, rounds: Vec<Round<'_>>, record: &HashMap<String, Value>) -> Vec<Ended> {
    let mut ended: Vec<Ended> = Vec::with_capacity(case.steps.len());
    let mut rounds = rounds.into_iter();
    for step in &case.steps {
        let mut end = Ended { misses: Vec::new(), record: None };
        for (number, (_, reply, sent)) in rounds.by_ref().take(step.times as usize).enumerate() {
            let id = reply.as_ref().ok().and_then(|reply| client::field(&reply.headers, "x-request-id"));
            let record = id.and_then(|id| record.get(&id)).cloned();
            let happened = Happened { reply, sent, record };
            let misses = judge(&step.expect, &step.send, &happened);
            if end.misses.is_empty() && (!misses.is_empty() || number == 0) {
                end = Ended { misses, record: happened.record };
            }
        }
        ended.push(end);
    }
    ended
}

fn address(gateway: &Gateway, config: &Config, step: &Step) -> anyhow::Result<SocketAddr> {
    let data = || config.listeners.iter().find(|(_, listener)| listener.serves == Serves::Data).map(|(name, _)| name);
    let name = step.send.listener.as_ref().or_else(data).context("no listener serves `data`")?;
    gateway.addresses().get(name).copied().with_context(|| format!("`{name}` is not a listener"))
}

/// The lines of the record, by the id of the exchange.
fn lines(path: &Path) -> HashMap<String, Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some((line.get("id")?.as_str()?.to_owned(), line))).collect()
}

/// 32 random hexadecimal digits.
fn draw() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// A directory for the files of a run, which only this user can read; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tollgate-test-{}", draw()?));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("creating `{}`", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(bytes));
        written.with_context(|| format!("writing `{}`", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed holds keys of a gateway that is gone.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Models that ship with the gateway, loaded once for all cases.
#[derive(Default)]
struct Models {
    onnx: Onnx,
    shipped: Mutex<HashMap<String, Arc<dyn Backend>>>,
}

/// What one gateway sees of them.
struct Lent(Arc<Models>);

impl Embed for Lent {
    fn shipped(&self, name: &str) -> Result<Arc<dyn Backend>, String> {
        if let Some(model) = self.0.shipped.lock().get(name) {
            return Ok(Arc::clone(model));
        }
        let model = self.0.onnx.shipped(name)?;
        self.0.shipped.lock().insert(name.to_owned(), Arc::clone(&model));
        Ok(model)
    }

    fn file(&self, bytes: Vec<u8>, sha256: Option<&str>, labels: &[String]) -> Result<Arc<dyn Backend>, String> {
        self.0.onnx.file(bytes, sha256, labels)
    }
}
