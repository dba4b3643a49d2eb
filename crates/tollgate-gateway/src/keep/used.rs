//! When API keys were last used, over a restart and for who lists them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use tollgate_layers::auth::{KeyId, Timestamp};

use super::Keep;

/// Name of the file.
const FILE: &str = "keys";

impl Keep {
    /// Writes when each key was last used, if that has changed.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_used(&self, used: &[(KeyId, Timestamp)]) -> io::Result<()> {
        let _one_at_a_time = self.log.lock();
        let by_id: BTreeMap<&str, Timestamp> = used.iter().map(|(id, at)| (id.as_str(), *at)).collect();
        let bytes = serde_json::to_vec(&by_id)?;
        if by_id.is_empty() || self.read(FILE)?.is_some_and(|before| before == bytes) {
            return Ok(());
        }
        self.replace(FILE, &bytes).map(drop)
    }

    /// When each key was last used, as an earlier run has written it; nothing where that cannot be read.
    #[must_use]
    pub fn used(&self) -> Vec<(KeyId, Timestamp)> {
        used_in(&self.directory)
    }
}

/// When each key was last used, as the gateway that keeps its state in `directory` has written it.
#[must_use]
pub fn used_in(directory: &Path) -> Vec<(KeyId, Timestamp)> {
    let bytes = std::fs::read(directory.join(FILE)).unwrap_or_default();
    let by_id: BTreeMap<String, Timestamp> = serde_json::from_slice(&bytes).unwrap_or_default();
    by_id.into_iter().filter_map(|(id, at)| Some((KeyId::parse(&id)?, at))).collect()
}
