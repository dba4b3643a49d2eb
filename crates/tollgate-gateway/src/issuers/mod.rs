//! The issuers of access tokens as the gateway knows them: their keys, and whoever fetches those. They outlive policies,
//! keyed by their configured names; the layer that judges tokens opens no connection itself.

mod discover;
mod fetch;
mod introspect;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tollgate_core::backend::BoxFuture;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::{Clock, Tick};
use tollgate_layers::auth::{KeyRoom, KeySet, Outside};

use crate::egress::Egress;
use crate::state::State;
pub use introspect::Introspection;
pub use told::{document, render};

/// Requests that may wait for the keys of one issuer at once.
const MOST_WAITING: usize = 1_024;
/// How long a request waits for them.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests may cause one fetch in this time: a flood of unknown names of keys is no way to use us against an issuer.
const BETWEEN: Duration = Duration::from_secs(30);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How often it is looked whether a fetch is due.
const LOOK: Duration = Duration::from_secs(1);

/// Every issuer that is or was configured.
#[derive(Debug, Default)]
pub struct Issuers {
    desks: Mutex<BTreeMap<String, Arc<IssuerDesk>>>,
    serving: ArcSwap<Vec<Arc<IssuerDesk>>>,
    replaced: Notify,
}

/// One issuer.
#[derive(Debug)]
pub struct IssuerDesk {
    /// Its configured name.
    pub name: Box<str>,
    /// Where its keys are.
    pub room: Arc<KeyRoom>,
    clock: Clock,
    plan: ArcSwapOption<Plan>,
    introspection: ArcSwapOption<Introspection>,
    /// When its keys are fetched next, as a tick.
    due: AtomicU64,
    /// Fetches in a row that failed, and all of them.
    failed: AtomicU32,
    failures: AtomicU64,
    why: Mutex<Option<String>>,
    /// Held while keys or the plan for them are replaced: what comes by an old plan must not take the place of what is new.
    changing: Mutex<()>,
    /// When a request last caused a fetch, as a tick; zero for never.
    asked_at: AtomicU64,
    asked: Notify,
    running: AtomicBool,
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

/// How the keys of an issuer are fetched.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where they are.
    pub source: Source,
    /// How they are reached.
    pub egress: Egress,
    /// How long keys may be used that cannot be fetched anew.
    pub max_stale: Duration,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// At this address.
    Address(String),
    /// Where the metadata of this issuer says.
    Discovered(String),
}

/// What a configuration says of an issuer.
#[derive(Debug)]
pub struct Fresh {
    /// Its keys.
    pub keys: FreshKeys,
    /// How it is asked about tokens.
    pub introspection: Option<Introspection>,
}

/// What a configuration says of the keys of an issuer.
#[derive(Debug)]
pub enum FreshKeys {
    /// They are fetched.
    Fetched(Plan),
    /// They were read from a file, and nothing is fetched.
    Read(KeySet),
}

impl Issuers {
    /// The issuer of that name: kept, with its keys, if it is there.
    pub fn desk(&self, name: &str, clock: &Clock) -> Arc<IssuerDesk> {
        let mut desks = self.desks.lock();
        let desk = desks.entry(name.to_owned()).or_insert_with(|| Arc::new(IssuerDesk::new(name, clock.clone())));
        Arc::clone(desk)
    }

    /// Puts what a configuration says into effect; the others are forgotten.
    pub fn install(&self, fresh: Vec<(Arc<IssuerDesk>, Fresh)>) {
        let serving: Vec<_> = fresh.iter().map(|(desk, _)| Arc::clone(desk)).collect();
        for (desk, fresh) in fresh {
            desk.install(fresh);
        }
        self.desks.lock().retain(|_, desk| serving.iter().any(|serving| Arc::ptr_eq(serving, desk)));
        self.serving.store(Arc::new(serving));
        self.replaced.notify_one();
    }

    /// Those that serve.
    #[must_use]
    pub fn serving(&self) -> Arc<Vec<Arc<IssuerDesk>>> {
        self.serving.load_full()
    }
}

/// Fetches keys for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    loop {
        let desks = state.issuers.serving();
        let following = join_all(desks.iter().map(|desk| desk.follow()));
        tokio::select! {
            biased;
            () = state.issuers.replaced.notified() => {}
            _ = following, if !desks.is_empty() => {}
        }
    }
}

impl IssuerDesk {
    /// An issuer without keys yet.
    #[must_use]
    pub fn new(name: &str, clock: Clock) -> Self {
        Self {
            name: name.into(),
            room: Arc::default(),
            clock,
            plan: ArcSwapOption::empty(),
            introspection: ArcSwapOption::empty(),
            due: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            failures: AtomicU64::new(0),
            why: Mutex::default(),
            changing: Mutex::default(),
            asked_at: AtomicU64::new(0),
            asked: Notify::new(),
            running: AtomicBool::new(false),
            rounds: watch::Sender::default(),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }

    /// Puts what a configuration says into effect. Keys of the same source stay, if it is reached in the same way.
    pub fn install(&self, fresh: Fresh) {
        let _alone = self.changing.lock();
        self.introspection.store(fresh.introspection.map(Arc::new));
        match fresh.keys {
            FreshKeys::Read(set) => {
                self.plan.store(None);
                self.room.put(set);
            }
            FreshKeys::Fetched(plan) => {
                let same = |old: &Arc<Plan>| old.source == plan.source && old.egress.is_like(&plan.egress);
                if !self.plan.load().as_ref().is_some_and(same) {
                    // Keys of another source are nobody's now.
                    self.room.clear();
                    self.due.store(0, Ordering::Release);
                    self.failed.store(0, Ordering::Release);
                }
                if self.plan.load().as_ref().is_none_or(|old| old.max_stale != plan.max_stale) {
                    // They are to be good for another time.
                    self.due.store(0, Ordering::Release);
                }
                self.plan.store(Some(Arc::new(plan)));
            }
        }
    }

    /// Fetches whenever that is due, for as long as it is polled.
    pub async fn follow(&self) {
        loop {
            let Some(plan) = self.plan.load_full() else { return std::future::pending().await };
            let wait = Tick(self.due.load(Ordering::Acquire)).since(self.clock.now());
            if wait > Duration::ZERO {
                tokio::select! {
                    () = tokio::time::sleep(wait.min(LOOK)) => continue,
                    () = self.asked.notified() => {}
                }
            }
            self.round(&plan).await;
        }
    }

    /// One fetch, and what follows from it.
    async fn round(&self, plan: &Arc<Plan>) {
        let running = Running::begin(self);
        let fetched = fetch::keys(plan).await;
        let _alone = self.changing.lock();
        if !self.plan.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, plan)) {
            return; // The configuration says something else by now.
        }
        let now = self.clock.unix_ms();
        let good_until = now.saturating_add(u64::try_from(plan.max_stale.as_millis()).unwrap_or(u64::MAX));
        let set = fetched.and_then(|(text, every)| {
            let set = KeySet::parse(&text, good_until).map_err(|why| format!("the key set is refused: {why}"))?;
            Ok((set.0, every))
        });
        let wait = match set {
            Ok((set, every)) => {
                self.room.put(set);
                self.failed.store(0, Ordering::Release);
                *self.why.lock() = None;
                // Twice at least before they are too old.
                every.min(plan.max_stale / 2)
            }
            Err(why) => {
                let failed = self.failed.fetch_add(1, Ordering::AcqRel);
                self.failures.fetch_add(1, Ordering::Relaxed);
                *self.why.lock() = Some(why);
                Duration::from_secs(1 << failed.min(9)).min(LONGEST_PAUSE)
            }
        };
        running.end(self.clock.now().after(wait));
    }

    /// Waits for the fetch that runs, or for a new one if it is time for that.
    async fn wait(&self) {
        if self.plan.load().is_none() {
            return;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return };
        let mut rounds = self.rounds.subscribe();
        if self.running.load(Ordering::Acquire) || self.may_ask() {
            drop(tokio::time::timeout(PATIENCE, rounds.changed()).await);
        }
    }

    fn may_ask(&self) -> bool {
        let (now, last) = (self.clock.now(), self.asked_at.load(Ordering::Acquire));
        if last != 0 && now.since(Tick(last)) < BETWEEN {
            return false;
        }
        if self.asked_at.compare_exchange(last, now.0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.asked.notify_one();
        }
        true
    }
}

impl Outside for IssuerDesk {
    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait())
    }

    fn introspect<'a>(&'a self, token: &'a str, from: IpAddr) -> BoxFuture<'a, Result<Bytes, Fault>> {
        Box::pin(async move {
            let asked = self.introspection.load_full();
            let asked = asked.ok_or_else(|| Fault::new(Origin::Own, "the issuer is not to be asked"))?;
            asked.ask(token, from).await
        })
    }
}

/// A fetch that runs. One that is broken off, because another configuration serves, is begun again at once: those who wait
/// for it wait on.
struct Running<'a> {
    desk: &'a IssuerDesk,
    next: Tick,
}

impl<'a> Running<'a> {
    fn begin(desk: &'a IssuerDesk) -> Self {
        desk.running.store(true, Ordering::Release);
        Self { desk, next: Tick::default() }
    }

    /// It is over, and those who wait are told.
    fn end(mut self, next: Tick) {
        self.next = next;
        drop(self);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { desk, next } = self;
        desk.due.store(next.0, Ordering::Release);
        if *next > Tick::default() {
            desk.running.store(false, Ordering::Release);
            desk.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        }
    }
}
