//! Ledgers for tests: an exact one that remembers everything, and one that breaks or waits for ever at a given charge.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_limit::{Key, Ledger, LedgerFault, Level, Limit, Memory, MemoryConfig, Taken, Tick};

/// Rates to the nanosecond, and the log of all charges taken. Quotas and windows are exact in the product's own ledger.
#[derive(Debug)]
pub(super) struct Exact {
    books: Mutex<Books>,
    others: Memory,
}

impl Default for Exact {
    fn default() -> Self {
        let config = MemoryConfig { open_slots: 1 << 10, seed: (5, 6) };
        Self { books: Mutex::default(), others: Memory::new(config) }
    }
}

#[derive(Debug, Default)]
struct Books {
    /// When each bucket is full again.
    full_at: HashMap<Key, u64>,
    charges: Vec<(Key, Limit, u64)>,
    outstanding: i128,
}

impl Exact {
    pub(super) fn log(&self) -> Vec<(Key, Limit, u64)> {
        self.books.lock().charges.clone()
    }

    /// Units charged and debited, less units given back, over all balances.
    pub(super) fn outstanding(&self) -> i128 {
        self.books.lock().outstanding
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("below 584 years")
}

impl Ledger for Exact {
    async fn charge(&self, key: Key, limit: Limit, units: u64, now: Tick) -> Result<Taken, LedgerFault> {
        let mut books = self.books.lock();
        let Limit::Rate(rate) = limit else {
            let taken = self.others.take(key, limit, units, now);
            if taken == Taken::Yes {
                books.outstanding += i128::from(units);
                books.charges.push((key, limit, units));
            }
            return Ok(taken);
        };
        let full_at = books.full_at.entry(key).or_default();
        let next = now.0.max(*full_at) + nanos(rate.refill_time(units));
        let latest = now.0 + nanos(rate.refill_time(rate.burst()));
        if next > latest {
            return Ok(Taken::No { wait: Duration::from_nanos(next - latest) });
        }
        *full_at = next;
        books.outstanding += i128::from(units);
        books.charges.push((key, limit, units));
        Ok(Taken::Yes)
    }

    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        let mut books = self.books.lock();
        let Limit::Rate(rate) = limit else {
            books.outstanding -= i128::from(units);
            return self.others.give_back(key, limit, units, now);
        };
        let full_at = books.full_at.entry(key).or_default();
        *full_at = full_at.saturating_sub(nanos(rate.refill_time(units)));
        books.outstanding -= i128::from(units);
    }

    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        let mut books = self.books.lock();
        let Limit::Rate(rate) = limit else {
            books.outstanding += i128::from(units);
            return self.others.debit(key, limit, units, now);
        };
        let full_at = books.full_at.entry(key).or_default();
        let deepest = now.0 + nanos(rate.refill_time(rate.burst())) + nanos(rate.refill_time(rate.debt()));
        let owed = nanos(rate.refill_time(units.min(rate.burst() + rate.debt())));
        *full_at = (now.0.max(*full_at) + owed).min(deepest);
        books.outstanding += i128::from(units);
    }

    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level {
        let Limit::Rate(rate) = limit else { return self.others.peek(key, limit, now) };
        let backlog = self.books.lock().full_at.get(&key).copied().unwrap_or(0).saturating_sub(now.0);
        let burst = nanos(rate.refill_time(rate.burst()));
        let unit = nanos(rate.refill_time(1));
        Level {
            burst: rate.burst(),
            remaining: burst.saturating_sub(backlog) / unit,
            wait: Duration::from_nanos((backlog + unit).saturating_sub(burst)),
            full_in: Duration::from_nanos(backlog),
        }
    }
}

/// What happens at the charge that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Fault,
    Stuck,
}

/// Exact until one charge goes wrong.
#[derive(Debug)]
pub(super) struct Troubled {
    pub(super) exact: Exact,
    trouble: Trouble,
    charges_left: AtomicUsize,
}

impl Troubled {
    pub(super) fn new(trouble: Trouble, good_charges: usize) -> Self {
        Self { exact: Exact::default(), trouble, charges_left: AtomicUsize::new(good_charges) }
    }
}

impl Ledger for Troubled {
    async fn charge(&self, key: Key, limit: Limit, units: u64, now: Tick) -> Result<Taken, LedgerFault> {
        let left = self.charges_left.load(Ordering::Relaxed);
        if left > 0 {
            self.charges_left.store(left - 1, Ordering::Relaxed);
            return self.exact.charge(key, limit, units, now).await;
        }
        match self.trouble {
            Trouble::Fault => Err(LedgerFault::new("the store is gone")),
            Trouble::Stuck => pending().await,
        }
    }

    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        self.exact.give_back(key, limit, units, now);
    }

    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        self.exact.debit(key, limit, units, now);
    }

    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level {
        self.exact.peek(key, limit, now)
    }
}
