//! What was learned of costs, as a file: JSON with a version. It is replaced as a whole; a file that cannot be read is no
//! reason not to start, because all of it is learned again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use tollgate_layers::cost::{Kept, KeptLength};

use super::Keep;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The name of the file.
const NAME: &str = "costs";

/// What was learned of every model at every upstream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct KeptCosts {
    version: u32,
    /// How long answers of all models become.
    pub answers: KeptLength,
    /// Each model at each upstream.
    pub costs: Vec<KeptCost>,
}

/// What was learned of a model at an upstream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct KeptCost {
    /// The model.
    pub model: String,
    /// The upstream.
    pub upstream: String,
    /// What was learned.
    #[serde(flatten)]
    pub learned: Kept,
}

impl KeptCosts {
    /// What is to be written.
    #[must_use]
    pub const fn new(answers: KeptLength, costs: Vec<KeptCost>) -> Self {
        Self { version: VERSION, answers, costs }
    }

    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From what was written.
    ///
    /// # Errors
    /// It is of another version, or not of ours.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Begins {
            version: u32,
        }
        let Begins { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it is of version {version}, and this program reads version {VERSION}"));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// What a gateway keeps in this directory, also while it runs. `None` where it has kept nothing.
    ///
    /// # Errors
    /// What the system said, or that the file is none of ours.
    pub fn read(directory: &Path) -> Result<Option<Self>, String> {
        let path = directory.join(NAME);
        match fs::metadata(&path) {
            Ok(about) if about.len() > MAX_BYTES => return Err("it is larger than 256 MiB".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        Self::from_json(&bytes).map(Some)
    }
}

impl Keep {
    /// What earlier runs learned of costs.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn costs(&self) -> Result<Option<KeptCosts>, String> {
        KeptCosts::read(&self.directory)
    }

    /// Writes what was learned of costs, and waits for the disk. A failure is counted.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_costs(&self, costs: &KeptCosts) -> io::Result<()> {
        let written = self.replace(NAME, costs.to_json().as_bytes()).map(drop);
        if written.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        written
    }
}
