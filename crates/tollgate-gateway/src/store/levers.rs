//! Levers of an incident that are pulled on one node hold on all of them: one list in the store, read each second, and
//! written where somebody pulled or let go. What another node did is on this node's record before it holds here. A store
//! that is away leaves a lever where it was pulled, and hears of it when it is back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tollgate_layers::limits::{Lever, MAX_LEVERS};

use super::shared::Shared;
use super::{Connect, Store, StoreFault};
use crate::admin::levers::{self, Origin};
use crate::state::State;

/// How often the list is read.
const LOOK: Duration = Duration::from_secs(1);
/// How long whoever pulled one waits to hear that the store has it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is written again, if another node was faster.
const TRIES: usize = 8;
/// The longest list that is believed: every lever with its longest reason, and as many that were let go.
const MOST: usize = 4 << 20;
/// How long the list is kept beyond the end of its last lever.
const GRACE_MS: u64 = 60_000;

/// What was done to one target. The last one counts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The lever that was pulled, or let go.
    pub lever: Lever,
    /// It was let go. Told until it would have ended, so that nobody keeps it.
    pub let_go: bool,
}

/// What this node did and the store does not know yet.
#[derive(Debug, Default)]
pub struct Relay {
    outbox: Mutex<Vec<Notice>>,
    /// Told when it is empty.
    passed: Condvar,
    nudge: Notify,
}

impl Relay {
    /// Passes on what was done here: whether the store has it. Blocks for that, a second at most; what it does not have
    /// by then, it gets when it is back.
    pub fn pass(&self, notice: &Notice, is_up: bool) -> bool {
        let mut outbox = self.outbox.lock();
        outbox.retain(|other| other.lever.target != notice.lever.target);
        // Levers are bounded, those that were let go are not.
        if outbox.len() >= 2 * MAX_LEVERS {
            return false;
        }
        outbox.push(notice.clone());
        self.nudge.notify_one();
        is_up && !self.passed.wait_while_for(&mut outbox, |waiting| waiting.contains(notice), PATIENCE).timed_out()
    }

    fn waiting(&self) -> Vec<Notice> {
        self.outbox.lock().clone()
    }

    fn has_passed(&self, notices: &[Notice]) {
        self.outbox.lock().retain(|notice| !notices.contains(notice));
        self.passed.notify_all();
    }
}

/// Keeps the levers of `state` those of the store, until `stop` says so.
pub(super) async fn keep_in_step<C: Connect>(
    (state, shared): (Arc<State>, Arc<Shared>),
    connect: C,
    mut stop: watch::Receiver<bool>,
) {
    let (mut store, mut known) = (None, String::new());
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = shared.relay().nudge.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if !shared.is_up() {
            store = None;
            continue;
        }
        if store.is_none() {
            store = connect.connect().await.ok();
        }
        let Some(line) = &store else { continue };
        match exchange(line, shared.relay(), state.clock.unix_ms()).await {
            Ok((text, notices)) if text != known => {
                if take_over(&state, notices).await {
                    known = text;
                }
            }
            Ok(_) => {}
            Err(_) => store = None,
        }
    }
}

/// Reads the list, and writes what was done here into it. The list then, and what it says.
async fn exchange(store: &impl Store, relay: &Relay, unix_ms: u64) -> Result<(String, Vec<Notice>), StoreFault> {
    for _ in 0..TRIES {
        let text = store.read_levers().await?;
        let notices = parsed(&text)?;
        let ours = relay.waiting();
        if ours.is_empty() {
            return Ok((text, notices));
        }
        let merged = merged(notices, &ours, unix_ms);
        let new = serde_json::to_string(&merged).map_err(|error| garbled(&error))?;
        let last = merged.iter().map(|notice| notice.lever.until_unix_ms).max().unwrap_or(unix_ms);
        let keep = Duration::from_millis(last.saturating_sub(unix_ms).saturating_add(GRACE_MS));
        if store.write_levers(&text, &new, keep).await? {
            relay.has_passed(&ours);
            return Ok((new, merged));
        }
    }
    Err(StoreFault { why: "the list of levers changes all the time".to_owned(), broken: false })
}

fn parsed(text: &str) -> Result<Vec<Notice>, StoreFault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > MOST {
        return Err(StoreFault { why: "a list of levers that is too long".to_owned(), broken: false });
    }
    serde_json::from_str(text).map_err(|error| garbled(&error))
}

fn garbled(error: &serde_json::Error) -> StoreFault {
    StoreFault { why: format!("a list of levers that makes no sense: {error}"), broken: false }
}

/// The list with what was done here instead of what was done before to the same targets, without what is over.
fn merged(list: Vec<Notice>, ours: &[Notice], unix_ms: u64) -> Vec<Notice> {
    let is_ours = |notice: &Notice| ours.iter().any(|own| own.lever.target == notice.lever.target);
    let others = list.into_iter().filter(|notice| !is_ours(notice));
    others.chain(ours.iter().cloned()).filter(|notice| notice.lever.until_unix_ms > unix_ms).collect()
}

/// Does here what was done elsewhere; whether all of it is done, and on record.
async fn take_over(state: &Arc<State>, notices: Vec<Notice>) -> bool {
    let state = Arc::clone(state);
    // It waits for the disk: not on the thread that answers health checks.
    tokio::task::spawn_blocking(move || {
        let ours = state.balances.shared().map(|shared| shared.relay().waiting()).unwrap_or_default();
        let is_ours = |notice: &Notice| ours.iter().any(|own| own.lever.target == notice.lever.target);
        let done: Vec<_> =
            notices.into_iter().filter(|notice| !is_ours(notice)).map(|notice| follow(&state, notice)).collect();
        if done.contains(&Some(true))
            && let Some(keep) = &state.keep
        {
            // A restart that has lost it reads it in the store.
            drop(keep.write_levers(&state.levers.list().1));
        }
        !done.contains(&Some(false))
    })
    .await
    .unwrap_or(false)
}

/// Does one thing that was done elsewhere: nothing where it is so already, else whether it is done.
fn follow(state: &State, Notice { lever, let_go }: Notice) -> Option<bool> {
    let unix_ms = state.clock.unix_ms();
    if let_go {
        return state.levers.holds(&lever.target).then(|| levers::let_go(state, &lever.target, Origin::Store).is_ok());
    }
    let (_, pulled) = state.levers.list();
    let has_room = pulled.len() < MAX_LEVERS || state.levers.holds(&lever.target);
    // The store is not believed more than an operator.
    let can = has_room && !pulled.contains(&lever) && lever.check(unix_ms).is_ok();
    can.then(|| levers::pull(state, lever, unix_ms, Origin::Store).is_ok())
}

#[cfg(test)]
mod tests {
    use tollgate_layers::limits::Target;

    use super::*;

    fn notice(tenant: &str, until_unix_ms: u64, let_go: bool) -> Notice {
        let target = Target::Tenant(tenant.to_owned());
        let lever = Lever { target, permille: 100, since_unix_ms: 1, until_unix_ms, reason: String::new() };
        Notice { lever, let_go }
    }

    #[test]
    fn the_last_act_on_a_target_counts_and_what_is_over_is_forgotten() {
        let list = vec![notice("a", 100, false), notice("b", 100, false), notice("c", 50, false)];
        let merged = merged(list, &[notice("a", 100, true), notice("d", 200, false)], 60);
        assert_eq!(merged, [notice("b", 100, false), notice("a", 100, true), notice("d", 200, false)]);
    }

    #[test]
    fn a_list_reads_as_it_was_written_and_another_is_no_list() {
        let list = vec![notice("a", 100, false), notice("b", 100, true)];
        assert_eq!(parsed(&serde_json::to_string(&list).expect("it has a form")), Ok(list));
        assert_eq!(parsed(""), Ok(Vec::new()));
        for text in ["{", "[1]", "[{\"lever\":{},\"let_go\":false}]"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert!(parsed(&" ".repeat(MOST + 1)).is_err());
    }

    #[test]
    fn what_the_store_does_not_have_waits_for_it_once() {
        let relay = Relay::default();
        assert!(!relay.pass(&notice("a", 100, false), false), "nobody waits for a store that is away");
        assert!(!relay.pass(&notice("a", 100, true), false));
        assert_eq!(relay.waiting(), [notice("a", 100, true)], "only the last act is told");
        relay.has_passed(&[notice("a", 100, false)]);
        assert_eq!(relay.waiting().len(), 1, "that was another");
        relay.has_passed(&[notice("a", 100, true)]);
        assert!(relay.waiting().is_empty());
    }
}
