//! Keys in a store: read when they have changed there, which the store tells of, and asked for in any case every
//! [`POLL`], because a word of it may be lost. While it is away, the keys that were read last are good for as long as the
//! configuration says, and nobody is told by them from then on.
//!
//! A store that has lost its memory, or came back with an older one, is away: it may have forgotten a revocation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tollgate_layers::auth::{KeyFile, KeyRecord};

use super::{Recipe, Room};
use crate::start::Control;
use crate::store::{Connect as _, Records, StoreFault};

/// How often the store is asked, whether or not it tells of a change.
const POLL: Duration = Duration::from_secs(2);
/// How long an answer of it may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Follows the store until the connection breaks, or the configuration is another.
pub(super) async fn follow(control: &Arc<Control>, recipe: &Arc<Recipe>, room: &Room) -> Result<(), StoreFault> {
    let store = room.dial.connect().await?;
    let mut told = room.dial.changes().await?;
    let mut every = interval(POLL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            word = told.next() => if word.is_none() {
                return Err(broken("it does not tell of changes any more"));
            },
        }
        let shelf = &control.state.keys;
        if !shelf.is_served(recipe) {
            return Ok(());
        }
        let known = shelf.version();
        let asked = control.state.clock.unix_ms();
        let answer = timeout(PATIENCE, store.records(known.unwrap_or(0))).await;
        let records = answer.map_err(|_| broken("it does not answer"))??;
        let (version, file) = match (records, known) {
            (Records::Same, Some(_)) => (None, None),
            (Records::Never, None) => (Some(0), Some(Ok(KeyFile::default()))),
            (Records::Never, Some(0)) => (None, None),
            (Records::Other { version, records }, known) if known.is_none_or(|known| version > known) => {
                (Some(version), Some(read(&records)))
            }
            (Records::Other { .. } | Records::Never | Records::Same, _) => {
                return Err(broken("its keys are older than those that were read"));
            }
        };
        if let (Some(version), Some(file)) = (version, file) {
            let (control, recipe) = (Arc::clone(control), Arc::clone(recipe));
            // A hundred thousand records take a while.
            let learn = move || control.state.keys.learn(&recipe, version, file);
            if !tokio::task::spawn_blocking(learn).await.unwrap_or(false) {
                continue;
            }
        }
        // From before the question: what changed since then was not seen.
        let until = asked.saturating_add(u64::try_from(room.max_stale.as_millis()).unwrap_or(u64::MAX));
        shelf.vouch(recipe, until);
    }
}

/// The records of a store as a file, oldest first.
pub(super) fn read(records: &[String]) -> Result<KeyFile, String> {
    let parsed: Result<Vec<KeyRecord>, _> = records.iter().map(|record| serde_json::from_str(record)).collect();
    let mut keys = parsed.map_err(|error| format!("a record in the store is none: {error}"))?;
    keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(KeyFile { keys })
}

/// What a store must be told.
#[derive(Debug, Default)]
struct Difference {
    /// Records to be written, by id.
    set: Vec<(String, String)>,
    /// Ids of those to be removed.
    gone: Vec<String>,
}

/// What the store must be told for `after` to take the place of `before`.
fn difference(before: &KeyFile, after: &KeyFile) -> Result<Difference, String> {
    let old: BTreeMap<&str, &KeyRecord> = before.keys.iter().map(|record| (&*record.id, record)).collect();
    let new: BTreeMap<&str, &KeyRecord> = after.keys.iter().map(|record| (&*record.id, record)).collect();
    let mut set = Vec::new();
    for (id, record) in &new {
        if old.get(id) != Some(record) {
            let text = serde_json::to_string(record).map_err(|error| error.to_string())?;
            set.push(((*id).to_owned(), text));
        }
    }
    let gone = old.keys().filter(|id| !new.contains_key(*id)).map(|id| (*id).to_owned()).collect();
    Ok(Difference { set, gone })
}

/// Reads what is there, for a change: the version, and the keys.
pub(crate) async fn fetch(room: &Room) -> Result<(u64, KeyFile), StoreFault> {
    let store = room.dial.connect().await?;
    match store.records(0).await? {
        Records::Never | Records::Same => Ok((0, KeyFile::default())),
        Records::Other { version, records } => {
            let file = read(&records).map_err(|why| StoreFault { why, broken: false })?;
            Ok((version, file))
        }
    }
}

/// Writes a change: the new version, or `None` where somebody was here since `version`.
pub(crate) async fn write(
    room: &Room,
    version: u64,
    (before, after): (&KeyFile, &KeyFile),
) -> Result<Option<u64>, StoreFault> {
    let Difference { set, gone } = difference(before, after).map_err(|why| StoreFault { why, broken: false })?;
    let store = room.dial.connect().await?;
    store.change(version, &set, &gone).await
}

fn broken(why: &str) -> StoreFault {
    StoreFault { why: why.to_owned(), broken: true }
}
