//! The trait behind which balances live: in memory, later in a shared store. Does not decide who is charged, or how much.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use crate::{Key, Level, Rate, Taken, Tick};

/// One amount to take from one balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Charge {
    /// Whose balance.
    pub key: Key,
    /// The rate of that balance.
    pub rate: Rate,
    /// How much.
    pub units: u64,
}

/// What became of several charges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "charges that were not taken must not be served"]
pub enum Granted {
    /// All were taken.
    Yes,
    /// None was taken.
    No {
        /// The index of the charge that was refused.
        at: usize,
        /// After this long that charge fits, if nobody else charges.
        wait: Duration,
    },
}

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
/// `give_back`, `debit` and `peek` never wait.
pub trait Ledger: Send + Sync {
    /// Takes `units` if the balance allows it, or nothing.
    fn charge(
        &self,
        key: Key,
        rate: Rate,
        units: u64,
        now: Tick,
    ) -> impl Future<Output = Result<Taken, LedgerFault>> + Send;

    /// Takes all of `charges` in their order, or nothing: a no, a fault and a dropped future give back what was taken.
    ///
    /// Put the balance that refuses most often first and the most contended last. Other callers may see the taken part
    /// of a refused group for an instant.
    fn charge_all(&self, charges: &[Charge], now: Tick) -> impl Future<Output = Result<Granted, LedgerFault>> + Send {
        async move {
            let mut taking = Taking { ledger: self, charges, taken: 0, now };
            for (at, charge) in charges.iter().enumerate() {
                match self.charge(charge.key, charge.rate, charge.units, now).await? {
                    Taken::Yes => taking.taken = at + 1,
                    Taken::No { wait } => return Ok(Granted::No { at, wait }),
                }
            }
            taking.taken = 0;
            Ok(Granted::Yes)
        }
    }

    /// Returns what an earlier charge of `units` took. The balance never rises above its burst.
    fn give_back(&self, key: Key, rate: Rate, units: u64, now: Tick);

    /// Takes `units` unconditionally; the balance may fall below zero, to the rate's debt. The rest is written off.
    fn debit(&self, key: Key, rate: Rate, units: u64, now: Tick);

    /// Where the balance stands, without touching it.
    fn peek(&self, key: Key, rate: Rate, now: Tick) -> Level;
}

/// A group of charges in the making. Dropped before it is complete, it gives back what it holds.
struct Taking<'a, L: Ledger + ?Sized> {
    ledger: &'a L,
    charges: &'a [Charge],
    taken: usize,
    now: Tick,
}

impl<L: Ledger + ?Sized> Drop for Taking<'_, L> {
    fn drop(&mut self) {
        for charge in self.charges.iter().take(self.taken).rev() {
            self.ledger.give_back(charge.key, charge.rate, charge.units, self.now);
        }
    }
}
