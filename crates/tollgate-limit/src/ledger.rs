//! The trait behind which balances live: in memory, later in a shared store. Does not decide who is charged, or how much.

use std::borrow::Cow;
use std::future::Future;

use crate::charge::MAX_LEVELS;
use crate::{Charge, Granted, Key, Level, Limit, Mode, Over, Reservation, Taken, Tick};

/// The ledger itself broke: this is neither a yes nor a no.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("ledger fault: {why}")]
pub struct LedgerFault {
    /// What broke, for the operator.
    pub why: Cow<'static, str>,
}

impl LedgerFault {
    /// A fault with its reason.
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into() }
    }
}

/// Balances that can be charged.
///
/// `charge` may wait for a store; a charge whose future is dropped while it waits is given back by the ledger.
/// `give_back`, `debit`, `peek` and what is made of them never wait.
pub trait Ledger: Send + Sync {
    /// Takes `units` if the balance allows it, or nothing.
    fn charge(
        &self,
        key: Key,
        limit: Limit,
        units: u64,
        now: Tick,
    ) -> impl Future<Output = Result<Taken, LedgerFault>> + Send;

    /// Takes all of `charges` in their order, or nothing: a no, a fault and a dropped future give back what was taken.
    /// More than [`MAX_LEVELS`] charges are refused.
    ///
    /// Put the balance that refuses most often first and the most contended last. Other callers may see the taken part
    /// of a refused group for an instant.
    fn charge_all(&self, charges: &[Charge], now: Tick) -> impl Future<Output = Result<Granted, LedgerFault>> + Send {
        async move {
            if charges.len() > MAX_LEVELS {
                return Ok(Granted::TOO_MANY);
            }
            let mut taking = Taking { ledger: self, charges, taken: 0, over: Over::default(), now };
            for (at, charge) in charges.iter().enumerate() {
                match self.charge(charge.key, charge.limit, charge.units, now).await? {
                    Taken::Yes => {}
                    Taken::No { .. } if charge.mode == Mode::Shadow => {
                        taking.over.add(at);
                        if charge.was_taken(true) {
                            self.debit(charge.key, charge.limit, charge.units, now);
                        }
                    }
                    Taken::No { wait } => return Ok(Granted::No { at, wait, apart: false }),
                }
                taking.taken = at + 1;
            }
            taking.taken = 0;
            Ok(Granted::Yes { over: taking.over })
        }
    }

    /// Returns what an earlier charge of `units` took. The balance never rises above its burst.
    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick);

    /// Takes `units` unconditionally; the balance may fall below zero, to a rate's debt. The rest is written off.
    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick);

    /// Where the balance stands, without touching it.
    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level;

    /// Corrects what was reserved to what was really used: gives back the rest of each charge, or takes the debt.
    fn settle(&self, paid: Reservation, real: u64, now: Tick) {
        for &Charge { key, limit, units, .. } in paid.charges() {
            if real < units {
                self.give_back(key, limit, units - real, now);
            } else if real > units {
                self.debit(key, limit, real - units, now);
            }
        }
        drop(paid);
    }

    /// Gives everything back: what was reserved never ran.
    fn refund(&self, paid: Reservation, now: Tick) {
        self.settle(paid, 0, now);
    }
}

/// A group of charges in the making. Dropped before it is complete, it gives back what it holds.
struct Taking<'a, L: Ledger + ?Sized> {
    ledger: &'a L,
    charges: &'a [Charge],
    taken: usize,
    over: Over,
    now: Tick,
}

impl<L: Ledger + ?Sized> Drop for Taking<'_, L> {
    fn drop(&mut self) {
        for (at, charge) in self.charges.iter().enumerate().take(self.taken).rev() {
            if charge.was_taken(self.over.contains(at)) {
                self.ledger.give_back(charge.key, charge.limit, charge.units, self.now);
            }
        }
    }
}
