//! The trait's own all-or-nothing, over ledgers that break or get stuck half-way. One poll is the whole run.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tollgate_limit::{
    Charge, Granted, Key, Ledger, LedgerFault, Level, Limit, Memory, MemoryConfig, Rate, Taken, Tick,
};

const NOW: Tick = Tick(1_000_000_000);

/// Real balances behind a ledger that fails at the key with hash `trouble`.
struct Troubled {
    memory: Memory,
    trouble: u64,
    kind: Trouble,
}

#[derive(Clone, Copy)]
enum Trouble {
    Breaks,
    None,
    Sticks,
}

impl Ledger for Troubled {
    async fn charge(&self, key: Key, limit: Limit, units: u64, now: Tick) -> Result<Taken, LedgerFault> {
        match self.kind {
            Trouble::Breaks if key.hash == self.trouble => Err(LedgerFault::new("the store is gone")),
            Trouble::Sticks if key.hash == self.trouble => pending().await,
            _ => Ok(self.memory.take(key, limit, units, now)),
        }
    }

    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        self.memory.give_back(key, limit, units, now);
    }

    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        self.memory.debit(key, limit, units, now);
    }

    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level {
        self.memory.peek(key, limit, now)
    }
}

fn troubled(kind: Trouble) -> Troubled {
    Troubled { memory: Memory::new(MemoryConfig { open_slots: 256, seed: (1, 2) }), trouble: 3, kind }
}

fn rate() -> Rate {
    Rate::new(10, 1, 0).expect("in range")
}

fn group(units: u64) -> [Charge; 4] {
    [1, 2, 3, 4].map(|hash| Charge::new(Key::configured(hash), rate(), units))
}

fn remaining(ledger: &impl Ledger) -> [u64; 4] {
    group(0).map(|charge| ledger.peek(charge.key, charge.limit, NOW).remaining)
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_group_that_fits_is_taken_whole() {
    let ledger = troubled(Trouble::None);
    assert_eq!(poll_once(ledger.charge_all(&group(4), NOW)), Poll::Ready(Ok(Granted::YES)));
    assert_eq!(remaining(&ledger), [6; 4]);
}

#[test]
fn a_refusal_gives_back_and_says_where_and_how_long() {
    let ledger = troubled(Trouble::None);
    Ledger::debit(&ledger, Key::configured(3), rate().into(), 8, NOW);
    let wait = std::time::Duration::from_secs(2);
    assert_eq!(
        poll_once(ledger.charge_all(&group(4), NOW)),
        Poll::Ready(Ok(Granted::No { at: 2, wait, apart: false }))
    );
    assert_eq!(remaining(&ledger), [10, 10, 2, 10]);
}

#[test]
fn a_fault_gives_back() {
    let ledger = troubled(Trouble::Breaks);
    let fault = LedgerFault::new("the store is gone");
    assert_eq!(fault.to_string(), "ledger fault: the store is gone");
    assert_eq!(poll_once(ledger.charge_all(&group(4), NOW)), Poll::Ready(Err(fault)));
    assert_eq!(remaining(&ledger), [10; 4]);
}

#[test]
fn a_caller_who_leaves_during_the_wait_has_paid_nothing() {
    let ledger = troubled(Trouble::Sticks);
    let charges = group(4);
    {
        let mut waiting = pin!(ledger.charge_all(&charges, NOW));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(remaining(&ledger), [6, 6, 10, 10]);
    }
    assert_eq!(remaining(&ledger), [10; 4]);
}

#[test]
fn memory_answers_at_once_and_like_the_default() {
    let memory = Memory::new(MemoryConfig { open_slots: 256, seed: (1, 2) });
    let default = troubled(Trouble::None);
    for units in [4, 4, 4, 1, 2, 11] {
        assert_eq!(poll_once(memory.charge_all(&group(units), NOW)), poll_once(default.charge_all(&group(units), NOW)));
        let key = Key::configured(9);
        assert_eq!(
            poll_once(memory.charge(key, rate().into(), units, NOW)),
            poll_once(default.charge(key, rate().into(), units, NOW)),
        );
        assert_eq!(remaining(&memory), remaining(&default));
    }
}

#[test]
fn futures_are_send_and_small() {
    fn sendable<F: Future + Send>(_: &F) {}
    let (ledger, charges) = (troubled(Trouble::None), group(1));
    let future = ledger.charge_all(&charges, NOW);
    sendable(&future);
    assert!(size_of_val(&future) <= 512, "{}", size_of_val(&future));
}
