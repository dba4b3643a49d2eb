//! This node's leases, on the way of requests: spends them under a short lock, asks the driver for more over a bounded
//! channel, and waits for its answer for milliseconds at most. Speaks to no store.

mod group;
mod table;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tollgate_core::time::Clock;
use tollgate_layers::limits::{LeaseMs, StoreConfig, WhenDown};
use tollgate_limit::{Key, LeaseTime, Level, Limit, MAX_LEVELS, Standing, Terms, Tick};

use super::levers::Relay;
use super::meters::StoreMeters;
use super::{Charged, Claim};
use table::Table;
pub(super) use table::{Due, Place};

/// Questions that wait for the driver at most: beyond, a request is judged as if the store were late.
const QUESTIONS: usize = 4096;

/// What the configuration says of the store; only a restart changes it.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long leases last.
    pub lasts: LeaseTime,
    /// Whether a store that is away or late is a fault, for the guard to decide about.
    pub fault_when_down: bool,
    /// There are at least so many nodes.
    pub expected_nodes: u32,
}

impl From<&StoreConfig> for Settings {
    fn from(config: &StoreConfig) -> Self {
        Self {
            lasts: match config.lease_ms {
                LeaseMs::Fixed(ms) => LeaseTime::Fixed(Duration::from_millis(ms)),
                LeaseMs::Word(_) => LeaseTime::Auto,
            },
            fault_when_down: config.when_down == WhenDown::Fault,
            expected_nodes: config.expected_nodes,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shared {
    table: Table,
    settings: Settings,
    clock: Clock,
    questions: mpsc::Sender<Question>,
    /// Until the driver takes it.
    inbox: Mutex<Option<mpsc::Receiver<Question>>>,
    up: AtomicBool,
    /// When it went away last.
    went: AtomicU64,
    nodes: AtomicU32,
    epoch: AtomicU32,
    pub(super) meters: StoreMeters,
    relay: Relay,
}

/// What a request asks of the driver.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a request that must be charged at the store pays no heap for it")]
pub(super) enum Question {
    /// Charge these together.
    Charge { claims: ArrayVec<(Place, Claim), MAX_LEVELS>, answer: oneshot::Sender<Option<Charged>> },
    /// Fill the lease there.
    Lease(Place, Claim),
}

impl Shared {
    /// Nothing is leased, and the store is away until the driver says otherwise.
    #[must_use]
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let (questions, inbox) = mpsc::channel(QUESTIONS);
        Self {
            table: Table::default(),
            settings,
            clock,
            questions,
            inbox: Mutex::new(Some(inbox)),
            up: AtomicBool::new(false),
            went: AtomicU64::new(0),
            nodes: AtomicU32::new(settings.expected_nodes.max(1)),
            epoch: AtomicU32::new(0),
            meters: StoreMeters::default(),
            relay: Relay::default(),
        }
    }

    /// Whether the store is asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// How many nodes share the balances.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// What carries levers to the other nodes.
    #[must_use]
    pub const fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Writes what happened, as metrics.
    pub fn render(&self, out: &mut String) {
        self.meters.render(out, (self.is_up(), self.nodes()));
    }

    pub(super) fn give_back(&self, key: Key, limit: &Limit, units: u64) {
        let terms = self.terms();
        self.table.with(Place::of(key, limit), limit, |slot| match slot {
            Some(slot) if is_strict(key) => slot.lease.give_all_back(limit, units),
            Some(slot) => slot.lease.give_back(limit, &terms, units),
            None => {}
        });
    }

    pub(super) fn debit(&self, key: Key, limit: &Limit, units: u64) {
        self.table.with(Place::of(key, limit), limit, |slot| {
            if let Some(slot) = slot {
                slot.lease.debit(units);
            }
        });
    }

    pub(super) fn level(&self, key: Key, limit: &Limit, now: Tick) -> Level {
        let level = self.table.look(Place::of(key, limit), |slot| slot.lease.level(limit, now));
        level.unwrap_or_else(|| tollgate_limit::Lease::default().level(limit, now))
    }

    fn terms(&self) -> Terms {
        Terms { nodes: self.nodes(), lasts: self.settings.lasts, epoch: self.epoch.load(Ordering::Relaxed) }
    }

    fn now(&self) -> Tick {
        Tick(self.clock.now().0)
    }
}

/// What the driver does with it.
impl Shared {
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn take_inbox(&self) -> Option<mpsc::Receiver<Question>> {
        self.inbox.lock().take()
    }

    /// The store is there, and may have forgotten what this node knows of it.
    pub(super) fn came(&self, nodes: u32) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.counted(nodes);
        let now = self.now();
        self.table.note_what_is_known(now);
        self.up.store(true, Ordering::Release);
    }

    /// The store is away: nobody waits for it any more.
    pub(super) fn went(&self) {
        if self.up.swap(false, Ordering::AcqRel) {
            self.went.store(self.now().0, Ordering::Relaxed);
        }
        self.table.wake_everybody();
    }

    pub(super) fn counted(&self, nodes: u32) {
        self.nodes.store(nodes.max(self.settings.expected_nodes).max(1), Ordering::Relaxed);
    }

    /// What came of asking for a lease.
    pub(super) fn leased(&self, place: Place, answer: Option<&Charged>) {
        let (terms, now) = (self.terms(), self.now());
        self.table.answer(place, |slot| match answer {
            Some(Charged::Yes(granted)) => {
                let granted = granted.first().copied().unwrap_or_default();
                slot.lease.answered(&slot.limit, &terms, granted, now);
            }
            Some(Charged::No { standing, .. }) => slot.lease.answered(&slot.limit, &terms, (0, *standing), now),
            None => slot.lease.failed(),
        });
    }

    /// What the store did to a balance, and how that stands, as it just said.
    pub(super) fn stands(&self, (place, claim): &(Place, Claim), standing: Standing) {
        let (terms, now) = (self.terms(), self.now());
        let told = (&claim.demand, standing);
        self.table.answer(*place, |slot| slot.lease.told(&slot.limit, &terms, told, now));
    }

    /// The store granted a charge that nobody waited for any more: it pays for what was admitted meanwhile.
    pub(super) fn came_late(&self, place: Place, granted: u64) {
        self.table.remember(place, |slot| slot.lease.came_late(&slot.limit, granted));
    }

    /// What the store has yet to be told: everything that changed, or everything at all when this node stops.
    pub(super) fn due(&self, most: usize, all: bool) -> Due {
        self.table.due(most, &self.terms(), (self.now(), all))
    }

    /// What was due was not heard.
    pub(super) fn untold(&self, claims: &[(Place, Claim)]) {
        for (place, claim) in claims {
            self.table.remember(*place, |slot| slot.lease.untold(&slot.limit, &claim.demand));
        }
    }

    /// Looks at some of the leases: what nobody uses is due, what says nothing is forgotten. All of them are looked at
    /// within a third of a second if this is called each 5 ms.
    pub(super) fn sweep(&self) {
        self.table.sweep(self.now());
    }

    /// How long the earliest wait may last yet.
    pub(super) const fn patience() -> Duration {
        super::PATIENCE
    }
}

const fn is_strict(key: Key) -> bool {
    matches!(key.class, tollgate_limit::KeyClass::Shared { strict: true, .. })
}
