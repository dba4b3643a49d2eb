//! The in-memory ledger: exact cells for configured keys, the table for open-ended ones. Reads no clock; forgets
//! everything when the process ends.

use std::future::{Future, ready};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::direct::{Direct, Full, WhenFull};
use crate::gcra::{Act, Latest, Op};
use crate::table::Table;
use crate::{Charge, Granted, Key, KeyClass, Ledger, LedgerFault, Level, Rate, Taken, Tick, hash_key};

/// How large the ledger is.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// Slots of the table for open-ended keys, 8 bytes each. Plan for at most 0.7 live keys per slot.
    pub open_slots: usize,
    /// The secret of [`Memory::hash`]: random, drawn once per process.
    pub seed: (u64, u64),
}

/// Balances in memory, shared by all threads; no operation waits or takes a lock once its key has a cell.
#[derive(Debug)]
pub struct Memory {
    configured: Direct,
    open: Table,
    /// Open-ended keys whose burst is too short, or whose span is too long, for the table's time.
    fine: Direct,
    seed: (u64, u64),
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
    /// Operations on configured keys that found no cell left and went to the table.
    pub overflows: u64,
}

/// Cells for configured keys, unless [`Memory::with_configured_cells`] says otherwise: 16 MiB when all are used.
const CONFIGURED_CELLS: usize = 1 << 20;

impl Memory {
    /// An empty ledger: every balance is full.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self {
            configured: Direct::new(CONFIGURED_CELLS, WhenFull::Overflow),
            open: Table::new(config.open_slots),
            fine: Direct::new(config.open_slots, WhenFull::Evict),
            seed: config.seed,
            latest: Latest::default(),
            overflows: AtomicU64::new(0),
        }
    }

    /// Caps the cells for configured keys, 16 bytes each; memory is taken as keys appear.
    #[must_use]
    pub fn with_configured_cells(self, cells: usize) -> Self {
        Self { configured: Direct::new(cells, WhenFull::Overflow), ..self }
    }

    /// [`hash_key`] under this ledger's secret.
    #[must_use]
    pub fn hash(&self, policy: impl std::hash::Hash, scope: impl std::hash::Hash) -> u64 {
        hash_key(self.seed, policy, scope)
    }

    /// Takes `units` if the balance allows it, or nothing.
    #[inline]
    pub fn take(&self, key: Key, rate: Rate, units: u64, now: Tick) -> Taken {
        self.apply(key, &self.op(Act::Charge, rate, units, now))
    }

    /// Takes all of `charges` in their order, or nothing.
    pub fn take_all(&self, charges: &[Charge], now: Tick) -> Granted {
        for (at, charge) in charges.iter().enumerate() {
            if let Taken::No { wait } = self.take(charge.key, charge.rate, charge.units, now) {
                for taken in charges[..at].iter().rev() {
                    self.give_back(taken.key, taken.rate, taken.units, now);
                }
                return Granted::No { at, wait };
            }
        }
        Granted::Yes
    }

    /// Returns what an earlier charge of `units` took. The balance never rises above its burst.
    pub fn give_back(&self, key: Key, rate: Rate, units: u64, now: Tick) {
        let _ = self.apply(key, &self.op(Act::GiveBack, rate, units, now));
    }

    /// Takes `units` unconditionally; the balance may fall to minus the rate's debt, and the rest is written off.
    pub fn debit(&self, key: Key, rate: Rate, units: u64, now: Tick) {
        let _ = self.apply(key, &self.op(Act::Debit, rate, units, now));
    }

    /// Where the balance stands.
    #[must_use]
    pub fn peek(&self, key: Key, rate: Rate, now: Tick) -> Level {
        let now = self.latest.bring(now);
        let cell = match key.class {
            KeyClass::Configured => self.configured.backlog(key.hash, now),
            KeyClass::Open => None,
        };
        match cell {
            Some(backlog) => Level::of(&rate, backlog),
            None if rate.suits_table() => Level::of(&rate.coarse(), self.open.backlog(key.hash, now).unwrap_or(0)),
            None => Level::of(&rate, self.fine.backlog(key.hash, now).unwrap_or(0)),
        }
    }

    /// Drops the cells of configured keys that `keep` disowns, after a reload has removed them.
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
        self.open.evictions() + self.fine.evictions()
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

    /// Bytes held for balances.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.configured.bytes() + self.open.bytes() + self.fine.bytes()
    }

    #[inline]
    fn op(&self, act: Act, rate: Rate, units: u64, now: Tick) -> Op<'_> {
        Op::new(act, rate, units, self.latest.bring(now), &self.latest)
    }

    #[inline]
    fn apply(&self, key: Key, op: &Op) -> Taken {
        if key.class == KeyClass::Configured {
            match self.configured.apply(key.hash, op) {
                Ok(taken) => return taken,
                Err(Full) => self.overflows.fetch_add(1, Ordering::Relaxed),
            };
        }
        if op.rate.suits_table() {
            return self.open.apply(key.hash, op);
        }
        // `Evict` always finds a cell; if it ever did not, the key is judged as new.
        self.fine.apply(key.hash, op).unwrap_or_else(|Full| op.on(0).taken)
    }
}

impl Ledger for Memory {
    fn charge(
        &self,
        key: Key,
        rate: Rate,
        units: u64,
        now: Tick,
    ) -> impl Future<Output = Result<Taken, LedgerFault>> + Send {
        ready(Ok(self.take(key, rate, units, now)))
    }

    fn charge_all(&self, charges: &[Charge], now: Tick) -> impl Future<Output = Result<Granted, LedgerFault>> + Send {
        ready(Ok(self.take_all(charges, now)))
    }

    fn give_back(&self, key: Key, rate: Rate, units: u64, now: Tick) {
        Self::give_back(self, key, rate, units, now);
    }

    fn debit(&self, key: Key, rate: Rate, units: u64, now: Tick) {
        Self::debit(self, key, rate, units, now);
    }

    fn peek(&self, key: Key, rate: Rate, now: Tick) -> Level {
        Self::peek(self, key, rate, now)
    }
}
