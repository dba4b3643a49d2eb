//! What layer `limits` charges: this node's own balances, and those that it shares with others. Decides nothing itself.

use std::sync::Arc;

use tollgate_limit::{Charge, Granted, Key, KeyClass, Ledger, LedgerFault, Level, Limit, Memory, Taken, Tick};

use super::shared::Shared;

/// The balances of a gateway.
#[derive(Debug)]
pub struct Balances {
    memory: Arc<Memory>,
    shared: Option<Arc<Shared>>,
}

impl Balances {
    /// Balances in memory, and those of `shared` in a store.
    #[must_use]
    pub const fn new(memory: Arc<Memory>, shared: Option<Arc<Shared>>) -> Self {
        Self { memory, shared }
    }

    /// What is shared with other nodes, if anything is.
    #[must_use]
    pub const fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    /// Where the balance of a key is shared, if it is.
    fn of(&self, key: Key) -> Option<&Shared> {
        self.shared.as_deref().filter(|_| matches!(key.class, KeyClass::Shared { .. }))
    }
}

impl Ledger for Balances {
    async fn charge(&self, key: Key, limit: Limit, units: u64, now: Tick) -> Result<Taken, LedgerFault> {
        match self.charge_all(&[Charge::new(key, limit, units)], now).await? {
            Granted::Yes { .. } => Ok(Taken::Yes),
            Granted::No { wait, .. } => Ok(Taken::No { wait }),
        }
    }

    async fn charge_all(&self, charges: &[Charge], now: Tick) -> Result<Granted, LedgerFault> {
        match &self.shared {
            None => Ok(self.memory.take_all(charges, now)),
            Some(shared) => shared.charge_all(&self.memory, charges, now).await,
        }
    }

    fn give_back(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        match self.of(key) {
            None => self.memory.give_back(key, limit, units, now),
            Some(shared) => shared.give_back(key, &limit, units),
        }
    }

    fn debit(&self, key: Key, limit: Limit, units: u64, now: Tick) {
        match self.of(key) {
            None => self.memory.debit(key, limit, units, now),
            Some(shared) => shared.debit(key, &limit, units),
        }
    }

    fn peek(&self, key: Key, limit: Limit, now: Tick) -> Level {
        match self.of(key) {
            None => self.memory.peek(key, limit, now),
            Some(shared) => shared.level(key, &limit, now),
        }
    }
}
