//! One compilation's desk: opens references, and remembers what it opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};

use super::{Secrets, SecretsConfig, Unopened, env, exec, file, systemd, value};
use crate::config::SecretSource;

/// Opens references.
pub struct Opener<'a> {
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    config: SecretsConfig,
    /// What is held from before.
    held: Option<&'a Secrets>,
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
}

impl<'a> Opener<'a> {
    /// References to files are relative to `base`.
    #[must_use]
    pub fn new(base: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { base, env, config: SecretsConfig::default(), held: None, opened: BTreeMap::new() }
    }

    /// The same for a gateway that holds secrets from before.
    #[must_use]
    pub fn beside(self, secrets: &'a Secrets) -> Self {
        Self { held: Some(secrets), ..self }
    }

    /// Reports every mistake of the section, by which references are opened from now on.
    pub fn configure(&mut self, config: &SecretsConfig, check: &mut Checker) {
        check.within("secrets", |check| config.check(check));
        self.config = config.clone();
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
        let asks = self.held.is_none_or(Secrets::asks);
        if !asks && matches!(source, SecretSource::Exec { .. }) {
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
        Opened { files, values: self.opened, config: self.config }
    }

    /// Where a reference leads, if to a file.
    fn path(&self, source: &SecretSource) -> Option<PathBuf> {
        match source {
            SecretSource::File { path } => Some(self.base.join(path)),
            SecretSource::Systemd { name } => systemd::path(name, self.env).ok(),
            _ => None,
        }
    }

    fn value(&self, source: &SecretSource) -> Result<(Secret, bool), Unopened> {
        match source {
            SecretSource::Env { name } => value(env::read(name, self.env)?),
            SecretSource::Exec { name } => self.command(source, name).map(|secret| (secret, false)),
            SecretSource::File { path } => value(file::read(&self.base.join(path))?),
            SecretSource::Systemd { name } => value(systemd::read(&systemd::path(name, self.env)?)?),
            SecretSource::Vault { .. } => Err("cannot be opened: Vault is not spoken to yet".to_owned()),
        }
    }

    fn command(&self, source: &SecretSource, name: &str) -> Result<Secret, Unopened> {
        if let Some(known) = self.opened.get(source) {
            return Ok(known.clone());
        }
        let config = self.config.exec.get(name).ok_or("is not one of `secrets.exec`")?;
        if let Some(secrets) = self.held.filter(|secrets| secrets.has_started()) {
            return secrets.get(source).ok_or_else(|| "is run when the gateway starts: restart it".to_owned());
        }
        Ok(value(exec::run(config, self.env)?)?.0)
    }
}
