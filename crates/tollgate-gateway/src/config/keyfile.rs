//! The key file: read beside the configuration, with located errors of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{AuthConfig, KeyFile, KeyNames, Keys, Peppers};

use super::{Located, Places, Report, Sources, load, load_config};
use crate::secrets::Opener;
use crate::start::StartError;

/// Reads and compiles the key file. Its mistakes are reported with their own file and line, under `auth.keys.file`.
pub(super) fn read(
    auth: &AuthConfig,
    base: &Path,
    check: &mut Checker,
    names: &KeyNames<'_>,
    peppers: Peppers,
) -> Keys {
    let Some(keys) = &auth.keys else { return Keys::default() };
    let path = base.join(&keys.file);
    let sources = Sources::disk(&|_| None);
    if !path.exists() {
        check.within("keys", |check| {
            let hint = "`tollgate keys new` makes it, with the first key";
            check.problem_hint("file", format!("`{}` does not exist", keys.file), hint);
        });
        return Keys::default();
    }
    check.within("keys", |check| match load::<KeyFile>(&path, &sources) {
        Ok(loaded) => {
            let mut own = Checker::default();
            let compiled = Keys::compile(&loaded.value, &mut own, names, peppers);
            let (problems, warnings) = own.finish();
            for problem in &problems {
                report(check, &loaded.places.locate(problem));
            }
            for warning in &warnings {
                check.warn("file", loaded.places.locate(warning).to_string());
            }
            compiled
        }
        Err(report_of_file) => {
            for located in &report_of_file.problems {
                report(check, located);
            }
            Keys::default()
        }
    })
}

fn report(check: &mut Checker, located: &Located) {
    let place = format!("{}:{}:{}: {}", located.file.display(), located.line, located.column, located.message);
    match &located.hint {
        Some(hint) => check.problem_hint("file", place, hint.clone()),
        None => check.problem("file", place),
    }
}

/// The key file of a configuration, open for a change: what `tollgate keys` works on.
pub struct KeyDesk {
    /// The keys.
    pub keys: KeyFile,
    /// The peppers, opened.
    pub peppers: BTreeMap<String, Secret>,
    /// Names of the tenants that a key may belong to.
    pub tenants: Vec<String>,
    path: PathBuf,
    /// Held until the desk is closed: two changes at once would lose one.
    _turn: File,
}

impl KeyDesk {
    /// Opens the key file that the configuration at `path` names; a file that does not exist yet is empty.
    ///
    /// # Errors
    /// Every mistake of the two files, or what the system says.
    pub fn open(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let loaded = load_config(path, &Sources::disk(env)).map_err(StartError::Config)?;
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut check = Checker::default();
        let mut opener = Opener::new(&base, env);
        opener.configure(&loaded.value.secrets, &mut check);
        let mut peppers = BTreeMap::new();
        let Some(config) = &loaded.value.auth.keys else {
            check.problem_hint("auth", "no key file is configured", "write `auth: { keys: { file: …, pepper: … } }`");
            return Err(refused(check, &loaded.places));
        };
        check.within("auth", |check| {
            check.within("keys", |check| {
                check.within("pepper", |check| {
                    for (name, reference) in &config.pepper {
                        peppers.extend(opener.open(reference, name, check).map(|value| (name.clone(), value)));
                    }
                });
            });
        });
        opener.farewell();
        if !check.is_clean() {
            return Err(refused(check, &loaded.places));
        }
        let path = base.join(&config.file);
        let turn = turn(&path)?;
        let keys = match load::<KeyFile>(&path, &Sources::disk(&|_| None)) {
            Ok(loaded) => loaded.value,
            Err(_) if !path.exists() => KeyFile::default(),
            Err(report) => return Err(StartError::Config(report)),
        };
        let tenants = loaded.value.tenants.into_keys().collect();
        Ok(Self { keys, peppers, tenants, path, _turn: turn })
    }

    /// Writes the file: whole or not at all, readable by its owner only.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(self) -> Result<PathBuf, StartError> {
        let what = || format!("writing `{}`", self.path.display());
        let failed = |error| StartError::System { what: what(), error };
        let fresh = self.path.with_extension("new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(failed)?;
        file.write_all(self.keys.to_yaml().as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&fresh, &self.path).map_err(failed)?;
        Ok(self.path)
    }
}

/// Waits until no other `tollgate keys` changes the file.
fn turn(path: &Path) -> Result<File, StartError> {
    let lock = path.with_extension("lock");
    let failed = |error| StartError::System { what: format!("locking `{}`", lock.display()), error };
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&lock).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn refused(check: Checker, places: &Places) -> StartError {
    let problems = check.finish().0;
    StartError::Config(Report::new(problems.iter().map(|problem| places.locate(problem)).collect()))
}
