//! The in-memory ledger: exact cells for configured keys, the table for open-ended ones, accounts for quotas and windows.
//! Reads no clock; forgets everything when the process ends, but for the quotas that `state.rs` writes down.

use std::future::{Future, ready};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::book::Book;
use crate::charge::MAX_LEVELS;
use crate::direct::{Direct, Full, WhenFull};
use crate::gcra::{Act, Latest, Op};
use crate::quota::Used;
use crate::table::Table;
use crate::window::Log;
use crate::{
    Charge, Granted, Key, KeyClass, Ledger, LedgerFault, Level, Limit, Mode, Over, Quota, Rate, Taken, Tick, Window,
    hash_key,
};

/// How large the ledger is.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// Slots of the table for open-ended keys, 8 bytes each. Plan for at most 0.7 live keys per slot.
    pub open_slots: usize,
    /// The secret of [`Memory::hash`]: random, drawn once per process, or kept with what [`Memory::restore`] reads.
    pub seed: (u64, u64),
}

/// Balances in memory, shared by all threads. Nothing waits; rates take no lock once their key has a cell, quotas and
/// windows a short one.
#[derive(Debug)]
pub struct Memory {
    configured: Direct,
    open: Table,
    /// Open-ended keys whose burst is too short, or whose span is too long, for the table's time.
    fine: Direct,
    pub(crate) quotas: Book<Used>,
    windows: Book<Log>,
    /// The windows of open-ended keys.
    open_windows: Book<Log>,
    pub(crate) seed: (u64, u64),
    latest: Latest,
    overflows: AtomicU64,
}

/// What the ledger has had to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Keys in use that lost their balance because their lines were full.
    pub evictions: u64,
    /// Times that two threads inserted one key at once; at most one charge each went uncounted.
    pub claim_races: u64,
    /// Operations on configured keys that found no cell left: rates went to the table, quotas and windows refused.
    pub overflows: u64,
}

/// Cells for configured keys, unless [`Memory::with_configured_cells`] says otherwise: 16 MiB when all are used.
const CONFIGURED_CELLS: usize = 1 << 20;

/// Quotas and windows of configured keys: some 100 bytes each, and up to a kilobyte for a window.
pub(crate) const ACCOUNTS: usize = 1 << 20;

/// Windows of open-ended keys, unless there are fewer slots.
const OPEN_WINDOWS: usize = 1 << 16;

impl Memory {
    /// An empty ledger: every balance is full.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self {
            configured: Direct::new(CONFIGURED_CELLS, WhenFull::Overflow),
            open: Table::new(config.open_slots),
            fine: Direct::new(config.open_slots, WhenFull::Evict),
            quotas: Book::new(ACCOUNTS, WhenFull::Overflow),
            windows: Book::new(ACCOUNTS, WhenFull::Overflow),
            open_windows: Book::new(config.open_slots.min(OPEN_WINDOWS), WhenFull::Evict),
            seed: config.seed,
            latest: Latest::default(),
            overflows: AtomicU64::new(0),
        }
    }

    /// Caps the cells for configured keys, 16 bytes each, and their quotas and windows; memory is taken as keys appear.
    #[must_use]
    pub fn with_configured_cells(self, cells: usize) -> Self {
        Self {
            configured: Direct::new(cells, WhenFull::Overflow),
            quotas: Book::new(cells, WhenFull::Overflow),
            windows: Book::new(cells, WhenFull::Overflow),
            ..self
        }
    }

    /// [`hash_key`] under this ledger's secret.
    #[must_use]
    pub fn hash(&self, policy: impl std::hash::Hash, scope: impl std::hash::Hash) -> u64 {
        hash_key(self.seed, policy, scope)
    }

    /// Takes `units` if the balance allows it, or nothing.
    #[inline]
    pub fn take(&self, key: Key, limit: impl Into<Limit>, units: u64, now: Tick) -> Taken {
        self.take_of(key, &limit.into(), units, now)
    }

    /// Takes all of `charges` in their order, or nothing; more than [`MAX_LEVELS`] are refused.
    pub fn take_all(&self, charges: &[Charge], now: Tick) -> Granted {
        if charges.len() > MAX_LEVELS {
            return Granted::TOO_MANY;
        }
        for charge in charges {
            self.touch(charge);
        }
        let mut over = Over::default();
        for (at, charge) in charges.iter().enumerate() {
            let Taken::No { wait } = self.take_of(charge.key, &charge.limit, charge.units, now) else { continue };
            if charge.mode == Mode::Enforce {
                self.take_back(charges.get(..at).unwrap_or_default(), over, now);
                return Granted::No { at, wait, apart: false };
            }
            over.add(at);
            if charge.was_taken(true) {
                self.debit(charge.key, charge.limit, charge.units, now);
            }
        }
        Granted::Yes { over }
    }

    /// Returns what an earlier charge of `units` took. The balance never rises above its burst.
    #[inline]
    pub fn give_back(&self, key: Key, limit: impl Into<Limit>, units: u64, now: Tick) {
        match limit.into() {
            Limit::Rate(rate) => {
                let _ = self.apply(key, &self.op(Act::GiveBack, &rate, units, now));
            }
            Limit::Quota(quota) => self.quotas.change_known(key.hash, |used| used.give_back(&quota, units)),
            Limit::Window(window) => {
                self.windows_of(key).change_known(key.hash, |log| log.give_back(&window, units, now));
            }
        }
    }

    /// Takes `units` unconditionally; the balance may fall to minus a rate's debt, and the rest is written off. Quotas and
    /// windows count all of it.
    #[inline]
    pub fn debit(&self, key: Key, limit: impl Into<Limit>, units: u64, now: Tick) {
        let done = match limit.into() {
            Limit::Rate(rate) => {
                let _ = self.apply(key, &self.op(Act::Debit, &rate, units, now));
                return;
            }
            Limit::Quota(quota) => self.quotas.change(key.hash, (&quota, now), |used| used.debit(&quota, units)),
            Limit::Window(window) => {
                self.windows_of(key).change(key.hash, (&window, now), |log| log.debit(&window, units, now))
            }
        };
        self.note(done.is_err());
    }

    /// Where the balance stands.
    #[must_use]
    pub fn peek(&self, key: Key, limit: impl Into<Limit>, now: Tick) -> Level {
        match limit.into() {
            Limit::Rate(rate) => self.peek_rate(key, rate, now),
            Limit::Quota(quota) => self.quotas.look(key.hash, |used| quota.level(used, now)),
            Limit::Window(window) => self.windows_of(key).look(key.hash, |log| window.level(log, now)),
        }
    }

    /// Drops the cells of configured keys that `keep` disowns, after a reload has removed them. Quotas stay: a tenant that
    /// comes back in the same month has used what it has used.
    pub fn retain(&self, mut keep: impl FnMut(Key) -> bool) {
        self.configured.retain(|hash| keep(Key::configured(hash)));
    }

    /// Clears expired slots in the next `lines` lines (of eight slots) of the open table, and says how many it cleared.
    ///
    /// Call it often enough that all lines are passed every 7 days: a slot's time has 32 bits and wraps.
    pub fn sweep(&self, now: Tick, lines: usize) -> usize {
        self.open.sweep(self.latest.bring(now), lines)
    }

    /// What the ledger has had to do since it was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            evictions: self.evictions(),
            claim_races: self.claim_races(),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }

    /// Keys in use that lost their balance because their lines were full.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.open.evictions() + self.fine.evictions() + self.open_windows.evictions()
    }

    /// Times that two threads inserted one key at once.
    #[must_use]
    pub fn claim_races(&self) -> u64 {
        self.open.claim_races()
    }

    /// Slots of the open table.
    #[must_use]
    pub fn open_slots(&self) -> usize {
        self.open.slots()
    }

    /// Keys in the open table that are not full again yet. Reads the whole table.
    #[must_use]
    pub fn open_live(&self, now: Tick) -> usize {
        self.open.live(self.latest.bring(now))
    }

    /// Configured keys that have a cell. Reads all cells.
    #[must_use]
    pub fn configured_keys(&self) -> usize {
        self.configured.len()
    }

    /// Keys that have a quota or a window account.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.quotas.len() + self.windows.len() + self.open_windows.len()
    }

    /// Bytes held for the balances of rates.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.configured.bytes() + self.open.bytes() + self.fine.bytes()
    }

    /// Shows each configured key that has a cell: its hash, its time and its backlog.
    pub(crate) fn show_cells(&self, now: Tick, see: impl FnMut(u64, u64, u64)) {
        self.configured.show(self.latest.bring(now), see);
    }

    /// Takes over a backlog of an earlier run; false if there is none, or no room.
    pub(crate) fn owes(&self, hash: u64, backlog: u64, now: Tick) -> bool {
        backlog > 0 && self.configured.raise(hash, backlog, self.latest.bring(now)).is_ok()
    }

    #[inline]
    fn take_of(&self, key: Key, limit: &Limit, units: u64, now: Tick) -> Taken {
        match limit {
            Limit::Rate(rate) => self.apply(key, &self.op(Act::Charge, rate, units, now)),
            Limit::Quota(quota) => self.take_quota(key, quota, units, now),
            Limit::Window(window) => self.take_window(key, window, units, now),
        }
    }

    #[inline]
    fn op(&self, act: Act, rate: &Rate, units: u64, now: Tick) -> Op<'_> {
        Op::new(act, rate, units, self.latest.bring(now), &self.latest)
    }

    #[inline]
    fn apply(&self, key: Key, op: &Op) -> Taken {
        if key.class != KeyClass::Open {
            match self.configured.apply(key.hash, op) {
                Ok(taken) => return taken,
                Err(Full) => self.note(true),
            }
        }
        if op.suits_table() {
            return self.open.apply(key.hash, op);
        }
        // `Evict` always finds a cell; if it ever did not, the key is judged as new.
        self.fine.apply(key.hash, op).unwrap_or_else(|Full| op.on(0).taken)
    }

    fn take_quota(&self, key: Key, quota: &Quota, units: u64, now: Tick) -> Taken {
        let refused = Taken::No { wait: quota.ends_in(now) };
        if units == 0 || units > quota.max() {
            return if units == 0 { Taken::Yes } else { refused };
        }
        let taken = self.quotas.change(key.hash, (quota, now), |used| used.charge(quota, units, now));
        self.note(taken.is_err());
        taken.unwrap_or(refused)
    }

    fn take_window(&self, key: Key, window: &Window, units: u64, now: Tick) -> Taken {
        let refused = Taken::No { wait: window.span() };
        if units == 0 || units > window.max() {
            return if units == 0 { Taken::Yes } else { refused };
        }
        let taken = self.windows_of(key).change(key.hash, (window, now), |log| log.charge(window, units, now));
        self.note(taken.is_err());
        taken.unwrap_or(refused)
    }

    /// Undoes the first charges of a group that a later one ended.
    #[cold]
    fn take_back(&self, taken: &[Charge], over: Over, now: Tick) {
        for (at, charge) in taken.iter().enumerate().rev() {
            let limit = match charge.limit {
                // What was written down a moment ago goes, not something older.
                Limit::Window(window) => Limit::Window(window.at(now)),
                limit => limit,
            };
            if charge.was_taken(over.contains(at)) {
                self.give_back(charge.key, limit, charge.units, now);
            }
        }
    }

    /// Brings near what a charge will need. Each decision ends with a locked instruction, which nothing passes: asked for
    /// one by one, the balances of a group would come one after the other.
    #[inline]
    fn touch(&self, charge: &Charge) {
        let Limit::Rate(rate) = &charge.limit else { return };
        match charge.key.class {
            KeyClass::Configured | KeyClass::Shared { .. } => self.configured.touch(charge.key.hash),
            KeyClass::Open if rate.suits_table() => self.open.touch(charge.key.hash),
            KeyClass::Open => self.fine.touch(charge.key.hash),
        }
    }

    fn peek_rate(&self, key: Key, rate: Rate, now: Tick) -> Level {
        let now = self.latest.bring(now);
        let cell = match key.class {
            KeyClass::Configured | KeyClass::Shared { .. } => self.configured.backlog(key.hash, now),
            KeyClass::Open => None,
        };
        match cell {
            Some(backlog) => Level::of(&rate, backlog),
            None if rate.suits_table() => Level::of(&rate.coarse(), self.open.backlog(key.hash, now).unwrap_or(0)),
            None => Level::of(&rate, self.fine.backlog(key.hash, now).unwrap_or(0)),
        }
    }

    const fn windows_of(&self, key: Key) -> &Book<Log> {
        match key.class {
            KeyClass::Configured | KeyClass::Shared { .. } => &self.windows,
            KeyClass::Open => &self.open_windows,
        }
    }

    fn note(&self, overflow: bool) {
        if overflow {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ledger for Memory {
    fn charge(
        &self,
        key: Key,
        limit: Limit,
        units: u64,
        now: Tick,
    ) -> impl Future<Output = Result<Taken, LedgerFault>> + Send {
        ready(Ok(self.take(key, limit, units, now)))
    }

    fn charge_all(&self, charges: &[Charge], now: Tick) -> impl Future<Output = Result<Granted, LedgerFault>> + Send {
        ready(Ok(self.take_all(charges, now)))
    }

    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        Self::give_back(self, key, limit, units, now);
    }

    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        Self::debit(self, key, limit, units, now);
    }

    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level {
        Self::peek(self, key, limit, now)
    }
}
