//! What a verb needs to reach the gateway that serves a configuration: where its admin listener is, the key, and where it
//! keeps what survives a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tollgate_core::check::Checker;
use tollgate_core::secret::Secret;

use super::{Report, Serves, Sources, load_config};
use crate::secrets::Opener;
use crate::start::StartError;

/// The way to a gateway's admin listener, and to what it keeps.
pub struct OperatorDesk {
    /// Where the admin listener is; `None` where the configuration has none.
    pub admin: Option<SocketAddr>,
    /// Its key.
    pub key: Option<Secret>,
    /// `state.directory`.
    pub kept: Option<PathBuf>,
}

impl OperatorDesk {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// Every mistake of its form, or a key that cannot be opened.
    pub fn open(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let loaded = load_config(path, &Sources::disk(env)).map_err(StartError::Config)?;
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let config = &loaded.value;
        let mut check = Checker::default();
        let mut opener = Opener::new(&base, env);
        opener.configure(&config.secrets, &mut check);
        let key = check.within("admin", |check| opener.open(&config.admin.as_ref()?.key, "key", check));
        let (problems, _) = check.finish();
        if !problems.is_empty() {
            let located = problems.iter().map(|problem| loaded.places.locate(problem)).collect();
            return Err(StartError::Config(Report::new(located)));
        }
        let admin = config.listeners.values().find(|listener| listener.serves == Serves::Admin);
        let admin = admin.and_then(|listener| listener.bind.parse().ok());
        Ok(Self { admin, key, kept: config.state.directory.as_ref().map(|directory| base.join(directory)) })
    }
}
