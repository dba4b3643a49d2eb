//! Finds the access record of an exchange: where it was stopped and why, in the gateway's own words.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tollgate_core::time::Clock;

/// Records are written every 100 ms; a loaded machine gets more time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The access records of the gateway.
pub(super) struct Records {
    path: PathBuf,
    clock: Clock,
}

/// What a record says of a verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) code: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) evidence: Option<String>,
}

impl Records {
    pub(super) const fn new(path: PathBuf, clock: Clock) -> Self {
        Self { path, clock }
    }

    /// How many bytes of records there are: a place to search from.
    pub(super) fn end(&self) -> u64 {
        self.path.metadata().map_or(0, |about| about.len())
    }

    /// The record with this id, or, for an answer without one, the first record after `start`.
    pub(super) async fn find(&self, id: Option<&str>, start: u64) -> anyhow::Result<Found> {
        let began = self.clock.now();
        while self.clock.now().since(began) < PATIENCE {
            if let Some(found) = self.search(id, start) {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("no record of exchange {} after {PATIENCE:?}", id.unwrap_or("without an id"))
    }

    fn search(&self, id: Option<&str>, start: u64) -> Option<Found> {
        let bytes = std::fs::read(&self.path).ok()?;
        let text = std::str::from_utf8(bytes.get(usize::try_from(start).ok()?..)?).ok()?;
        // The last line may be half written.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let mut lines = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| id.is_none_or(|id| line.get("id").and_then(Value::as_str) == Some(id)))?;
        let word = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Found { code: word("code"), stage: word("stage"), evidence: word("evidence") })
    }
}
