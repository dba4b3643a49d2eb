//! One compilation's desk: opens references, and remembers what it opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};
use tollgate_core::time::{Clock, Tick};

use super::vault::{Known, Line, Local, Trouble, VaultConfig};
use super::{Secrets, SecretsConfig, Unopened, env, exec, file, systemd, value};
use crate::config::SecretSource;

/// How long a reload waits for what nobody read yet.
const WHILE_SERVING: Duration = Duration::from_secs(10);
/// How long giving back may take.
const FAREWELL: Duration = Duration::from_secs(2);

const NO_COMMAND: &str = "is not one of `secrets.exec`";
const NO_VAULT: &str = "needs `secrets.vault`, which says where that is";

/// Opens references.
pub struct Opener<'a> {
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    config: SecretsConfig,
    /// What is held from before.
    held: Option<&'a Secrets>,
    /// The way to Vault.
    line: Option<Arc<Line>>,
    /// Until when something that nobody read yet is waited for.
    deadline: Option<Tick>,
    withdrawn: BTreeSet<SecretSource>,
    opened: BTreeMap<SecretSource, Secret>,
}

/// What a compilation opened.
#[derive(Default)]
pub struct Opened {
    /// Every value.
    pub values: BTreeMap<SecretSource, Secret>,
    /// Where those are that come from files.
    pub files: Vec<(SecretSource, PathBuf)>,
    /// The section that said how.
    pub config: SecretsConfig,
    /// The way to Vault.
    pub line: Option<Arc<Line>>,
    /// What had a value once, and has none any more.
    pub withdrawn: BTreeSet<SecretSource>,
}

impl<'a> Opener<'a> {
    /// References to files are relative to `base`.
    #[must_use]
    pub fn new(base: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let (config, opened, withdrawn) = (SecretsConfig::default(), BTreeMap::new(), BTreeSet::new());
        Self { base, env, config, held: None, line: None, deadline: None, withdrawn, opened }
    }

    /// The same for a gateway that holds secrets from before.
    #[must_use]
    pub fn beside(self, secrets: &'a Secrets) -> Self {
        Self { held: Some(secrets), ..self }
    }

    /// Reports every mistake of the section, by which references are opened from now on.
    pub fn configure(&mut self, config: &SecretsConfig, check: &mut Checker) {
        self.config = config.clone();
        check.within("secrets", |check| {
            config.check(check);
            self.line = config.vault.as_ref().and_then(|vault| check.within("vault", |check| self.line(vault, check)));
        });
    }

    /// The way to Vault: the one that is there, if it leads to the same.
    fn line(&mut self, config: &VaultConfig, check: &mut Checker) -> Option<Arc<Line>> {
        let base = self.base;
        let mut local = |reference: &SecretRef, at: &str, check: &mut Checker| self.local(reference, at, check);
        let plan = config.compile(base, check, &mut local)?;
        let known = self.held.and_then(Secrets::line).filter(|line| line.is_of(config));
        let clock = self.held.map_or_else(Clock::real, Secrets::clock);
        Some(known.unwrap_or_else(|| Arc::new(Line::new(plan, config.clone(), clock))))
    }

    /// What proves to Vault who we are cannot come from there.
    fn local(&mut self, reference: &SecretRef, at: &str, check: &mut Checker) -> Option<Local> {
        let source = SecretSource::parse(&reference.0).ok();
        if matches!(source, Some(SecretSource::Vault { .. })) {
            check.problem_hint(at, "the way into Vault cannot come from Vault", "use `secret://file/PATH`");
            return None;
        }
        let value = self.open(reference, at, check)?;
        let source = source?;
        match self.path(&source) {
            Some(path) => Some(Local::File(source, path)),
            None => Some(Local::Fixed(value)),
        }
    }

    /// Whether a reference had a value once, and has none any more: what needs it is to be closed.
    #[must_use]
    pub fn is_withdrawn(&self, reference: &SecretRef) -> bool {
        SecretSource::parse(&reference.0).is_ok_and(|source| self.withdrawn.contains(&source))
    }

    /// A value that nobody knows.
    #[must_use]
    pub fn stand_in(&self) -> Secret {
        let mut bytes = vec![0; 32];
        // Without random numbers no start gets this far.
        let _drawn = aws_lc_rs::rand::fill(&mut bytes);
        Secret::new(bytes)
    }

    /// Gives back what Vault granted, for a verb that is done with it.
    pub fn farewell(&self) {
        if let Some(line) = &self.line {
            drop(block(async { tokio::time::timeout(FAREWELL, line.farewell()).await }));
        }
    }

    /// Opens a reference, or reports why it cannot be opened; never the value.
    pub fn open(&mut self, reference: &SecretRef, at: &str, check: &mut Checker) -> Option<Secret> {
        let source = match SecretSource::parse(&reference.0) {
            Ok(source) => source,
            Err(unfit) => {
                check.problem_hint(at, unfit.message, unfit.hint.unwrap_or_default());
                return None;
            }
        };
        if matches!(source, SecretSource::Env { .. }) {
            check.warn(at, env::WARNING);
        }
        if let Some(why) = self.cannot_be_asked(&source) {
            check.problem(at, format!("`{source}` {why}"));
            return None;
        }
        let asks = self.held.is_none_or(Secrets::asks);
        if !asks && matches!(source, SecretSource::Exec { .. } | SecretSource::Vault { .. }) {
            check.warn(at, format!("`{source}` is left out: a check runs no command and asks no server"));
            return None;
        }
        match self.value(&source) {
            Ok((value, trimmed)) => {
                if trimmed {
                    check.warn(at, format!("`{source}` ends in a line break, which is not part of the secret"));
                }
                self.opened.insert(source, value.clone());
                Some(value)
            }
            Err(_) if self.withdrawn.contains(&source) => {
                check.warn(at, format!("`{source}` is withdrawn: it was not read for too long"));
                None
            }
            // That is told where `secrets.vault` stands.
            Err(_)
                if matches!(source, SecretSource::Vault { .. })
                    && self.line.is_none()
                    && self.config.vault.is_some() =>
            {
                None
            }
            Err(why) => {
                check.problem(at, format!("`{source}` {why}"));
                None
            }
        }
    }

    /// What a reference stood for until not long ago.
    #[must_use]
    pub fn before(&self, reference: &SecretRef) -> Option<Secret> {
        let source = SecretSource::parse(&reference.0).ok()?;
        self.held?.before(&source, self.opened.get(&source)?)
    }

    /// Everything that was opened.
    #[must_use]
    pub fn opened(self) -> Opened {
        let path = |source: &SecretSource| Some((source.clone(), self.path(source)?));
        let files = self.opened.keys().filter_map(path).collect();
        Opened { files, values: self.opened, config: self.config, line: self.line, withdrawn: self.withdrawn }
    }

    /// Whom nobody said how to ask.
    fn cannot_be_asked(&self, source: &SecretSource) -> Option<&'static str> {
        match source {
            SecretSource::Exec { name } if !self.config.exec.contains_key(name) => Some(NO_COMMAND),
            SecretSource::Vault { .. } if self.config.vault.is_none() => Some(NO_VAULT),
            _ => None,
        }
    }

    /// Where a reference leads, if to a file.
    fn path(&self, source: &SecretSource) -> Option<PathBuf> {
        match source {
            SecretSource::File { path } => Some(self.base.join(path)),
            SecretSource::Systemd { name } => systemd::path(name, self.env).ok(),
            _ => None,
        }
    }

    fn value(&mut self, source: &SecretSource) -> Result<(Secret, bool), Unopened> {
        match source {
            SecretSource::Env { name } => value(env::read(name, self.env)?),
            SecretSource::Exec { name } => self.command(source, name).map(|secret| (secret, false)),
            SecretSource::File { path } => value(file::read(&self.base.join(path))?),
            SecretSource::Systemd { name } => value(systemd::read(&systemd::path(name, self.env)?)?),
            SecretSource::Vault { path, field } => self.of_vault(source, path, field),
        }
    }

    fn command(&self, source: &SecretSource, name: &str) -> Result<Secret, Unopened> {
        if let Some(known) = self.opened.get(source) {
            return Ok(known.clone());
        }
        let config = self.config.exec.get(name).ok_or(NO_COMMAND)?;
        if let Some(secrets) = self.held.filter(|secrets| secrets.has_started()) {
            return secrets.get(source).ok_or_else(|| "is run when the gateway starts: restart it".to_owned());
        }
        Ok(value(exec::run(config, self.env)?)?.0)
    }

    fn of_vault(&mut self, source: &SecretSource, path: &str, field: &str) -> Result<(Secret, bool), Unopened> {
        let line = self.line.clone().ok_or(NO_VAULT)?;
        if matches!(line.known(path, field), Known::Nothing) {
            let wait = if self.held.is_some_and(Secrets::has_started) { WHILE_SERVING } else { line.start_wait() };
            let deadline = *self.deadline.get_or_insert_with(|| line.now().after(wait));
            if let Err((trouble, by_time)) = block(line.fetch(path, deadline)).unwrap_or_else(|why| Err((why, false))) {
                if let Some(secrets) = self.held.filter(|_| by_time) {
                    secrets.note_missing(format!("`{source}`: {trouble}"));
                }
                return Err(format!("cannot be read: {trouble}"));
            }
        }
        match line.known(path, field) {
            Known::Value(secret) => value(secret.expose().to_vec()),
            Known::NoField => Err("names a field that is not there".to_owned()),
            Known::Nothing => Err("cannot be read".to_owned()),
            Known::Withdrawn => {
                self.withdrawn.insert(source.clone());
                Err("is withdrawn".to_owned())
            }
        }
    }
}

/// Runs a conversation to its end, on a thread of its own: who compiles may be inside a runtime already.
fn block<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, Trouble> {
    let failed = |error: std::io::Error| Trouble::Local(format!("no thread for it: {error}"));
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            Ok(runtime.block_on(work))
        };
        let thread = std::thread::Builder::new().name("secrets".to_owned()).spawn_scoped(scope, run).map_err(failed)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
