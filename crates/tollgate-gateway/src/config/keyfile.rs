//! The key file: read beside the configuration, with located errors of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{KeyFile, Keys};

use super::{Config, Located, Places, Report, Sources, load, load_config};
use crate::keep::used_in;
use crate::keys::{Place, Recipe, Room, Stamp, fetch, write};
use crate::secrets::Opener;
use crate::start::StartError;
use crate::store::StoreFault;

/// Reads and compiles the key file. Its mistakes are reported with their own file and line, under `keys.file`.
pub(crate) fn read(path: &Path, recipe: &Recipe, check: &mut Checker) -> Keys {
    let sources = Sources::disk(&|_| None);
    if !path.exists() {
        check.within("keys", |check| {
            let hint = "`tollgate keys new` makes it, with the first key";
            check.problem_hint("file", format!("{} does not exist", recipe.place), hint);
        });
        return Keys::default();
    }
    check.within("keys", |check| match load::<KeyFile>(path, &sources) {
        Ok(loaded) => {
            let mut own = Checker::default();
            let compiled = Keys::compile(&loaded.value, &mut own, &recipe.names(), recipe.peppers.clone());
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
    /// Names of the models that it may be held to.
    pub models: BTreeSet<String>,
    /// Whether keys of other systems are accepted.
    pub opaque: bool,
    place: Open,
}

/// What was read, and what it looked like then.
enum Open {
    /// A file. The lock is held until the desk is closed: two changes at once would lose one.
    File { path: PathBuf, stamp: Option<Stamp>, _turn: File },
    /// A store, which takes no change of what has changed since.
    Store { room: Arc<Room>, version: u64, before: KeyFile },
}

/// A change that was written.
#[derive(Debug)]
pub struct Saved {
    /// Where, in words.
    pub place: String,
    /// What the store holds now, and its version.
    pub known: Option<(u64, KeyFile)>,
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
        let (mut peppers, mut place) = (BTreeMap::new(), None);
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
                place = Place::of(config, &base, &mut opener, check);
            });
        });
        opener.farewell();
        let Some(place) = place.filter(|_| check.is_clean()) else {
            return Err(refused(check, &loaded.places));
        };
        let opaque = config.opaque;
        let used = loaded.value.state.directory.as_ref().map(|directory| used_in(&base.join(directory)));
        let Config { tenants, models, .. } = loaded.value;
        let (tenants, models) = (tenants.into_keys().collect(), models.into_keys().collect());
        let mut desk = Self::at(&place, peppers)?;
        desk.keys.note_used(&used.unwrap_or_default());
        Ok(Self { tenants, models, opaque, ..desk })
    }

    /// Opens the key file of a gateway that runs.
    ///
    /// # Errors
    /// Every mistake of the file, or what the system says.
    pub fn beside(recipe: &Recipe) -> Result<Self, StartError> {
        let desk = Self::at(&recipe.place, recipe.values.clone())?;
        let tenants = recipe.tenants.keys().cloned().collect();
        Ok(Self { tenants, models: recipe.models.keys().cloned().collect(), opaque: recipe.opaque, ..desk })
    }

    fn at(place: &Place, peppers: BTreeMap<String, Secret>) -> Result<Self, StartError> {
        let (keys, place) = match place {
            Place::File { path, .. } => {
                let turn = turn(path)?;
                let stamp = Stamp::of(path);
                let keys = match load::<KeyFile>(path, &Sources::disk(&|_| None)) {
                    Ok(loaded) => loaded.value,
                    Err(_) if !path.exists() => KeyFile::default(),
                    Err(report) => return Err(StartError::Config(report)),
                };
                (keys, Open::File { path: path.clone(), stamp, _turn: turn })
            }
            Place::Store(room) => {
                let (version, before) = in_passing(fetch(room))?;
                (before.clone(), Open::Store { room: Arc::clone(room), version, before })
            }
        };
        Ok(Self { keys, peppers, tenants: Vec::new(), models: BTreeSet::new(), opaque: false, place })
    }

    /// Writes the change, and nothing over one that somebody else has made since the keys were read.
    ///
    /// # Errors
    /// What the system or the store says, or that there is such a change.
    pub fn save(self) -> Result<Saved, StartError> {
        match self.place {
            Open::File { ref path, stamp, _turn: _ } => {
                write_file(path, stamp, &self.keys)?;
                Ok(Saved { place: path.display().to_string(), known: None })
            }
            Open::Store { room, version, before } => {
                let place = Place::Store(Arc::clone(&room)).to_string();
                let written = in_passing(write(&room, version, (&before, &self.keys)))?;
                let version = written.ok_or_else(|| meanwhile(&place))?;
                Ok(Saved { place, known: Some((version, self.keys)) })
            }
        }
    }
}

/// Somebody who does not keep to the lock, such as an editor, or another node.
fn meanwhile(place: &str) -> StartError {
    let error = io::Error::other("somebody else has changed the keys meanwhile: try again");
    StartError::System { what: format!("writing {place}"), error }
}

/// Waits for a store where nothing else runs.
fn in_passing<T>(call: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StartError> {
    let failed = |error| StartError::System { what: "asking the store of the keys".to_owned(), error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(call).map_err(|fault| failed(io::Error::other(fault.why)))
}

/// Writes a key file: whole or not at all, readable by its owner only.
fn write_file(path: &Path, stamp: Option<Stamp>, keys: &KeyFile) -> Result<(), StartError> {
    let failed = |error| StartError::System { what: format!("writing `{}`", path.display()), error };
    let fresh = path.with_extension("new");
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh).map_err(failed)?;
    file.write_all(keys.to_yaml().as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    // Who keeps to the lock cannot have been here: an editor, or a copy from elsewhere.
    if Stamp::of(path) != stamp {
        drop(std::fs::remove_file(&fresh));
        return Err(meanwhile(&path.display().to_string()));
    }
    std::fs::rename(&fresh, path).map_err(failed)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
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
