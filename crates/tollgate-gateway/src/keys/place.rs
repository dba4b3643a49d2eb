//! Where keys are kept: a file beside the configuration, or a store that several gateways read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_layers::auth::KeysConfig;

use crate::config::{Address, dial};
use crate::secrets::Opener;
use crate::store::Dial;

/// See the module.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// As the configuration calls it.
        name: String,
    },
    /// A store.
    Store(Arc<Room>),
}

/// A store of keys.
#[derive(Debug)]
pub struct Room {
    /// How it is reached.
    pub dial: Dial,
    /// For how long what was read last is good without a word from it.
    pub max_stale: Duration,
    /// What the names in it begin with.
    pub namespace: String,
}

impl Place {
    /// Where `auth.keys` says, or what is wrong with that. `check` stands there.
    pub(crate) fn of(config: &KeysConfig, base: &Path, opener: &mut Opener<'_>, check: &mut Checker) -> Option<Self> {
        let Some(store) = &config.store else {
            return Some(Self::File { path: base.join(&config.file), name: config.file.clone() });
        };
        check.within("store", |check| {
            let address = Address {
                url: &store.url,
                ca: store.ca.as_ref().map(|ca| base.join(ca)),
                cluster: store.cluster,
                namespace: &store.namespace,
            };
            let (max_stale, namespace) = (Duration::from_secs(store.max_stale_s), store.namespace.clone());
            let dial = dial(&address, opener, check)?;
            Some(Self::Store(Arc::new(Room { dial, max_stale, namespace })))
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, .. } => write!(f, "`{name}`"),
            Self::Store(room) => write!(f, "the store, under `{}`", room.namespace),
        }
    }
}
