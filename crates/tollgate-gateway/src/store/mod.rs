//! Balances that several nodes share: which store keeps them, who talks to it, and what a node does without it.
//!
//! `balances` is what layer `limits` charges. `shared` holds this node's leases, on the way of requests. `driver` runs on the
//! control thread and is the only one that waits for the store, whose words `valkey` speaks; `breaker` says when to stop
//! asking. `levers` carries the levers of an incident to the other nodes. The arithmetic of leases is that of `tollgate-limit`.

mod balances;
mod breaker;
mod driver;
mod levers;
mod meters;
#[cfg(feature = "store")]
mod records;
mod shared;
#[cfg(feature = "store")]
mod valkey;
#[cfg(not(feature = "store"))]
mod without;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tollgate_limit::{Demand, MAX_LEVELS, Standing};

pub use balances::Balances;
pub use driver::{FAREWELL, begin, drive};
pub use levers::{Notice, Relay};
pub use shared::{Settings, Shared};
#[cfg(feature = "store")]
pub use valkey::Dial;
#[cfg(not(feature = "store"))]
pub use without::Dial;

/// How long a request waits for the store, whatever it asks.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// Records that are kept in a store under one version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Records {
    /// Nobody has ever written any, or the store has lost its memory.
    Never,
    /// Others than those that are known.
    Other {
        /// Their version.
        version: u64,
        /// They, in no order.
        records: Vec<String>,
    },
    /// Those that are known.
    Same,
}

/// Tells of changes.
pub type Changes = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// What keeps the balances of all nodes. Nothing else talks to it.
pub trait Store: Clone + Send + Sync + 'static {
    /// Takes all of `claims`, which have one tag and are at most [`MAX_LEVELS`], or nothing.
    fn charge(&self, claims: &[Claim]) -> impl Future<Output = Result<Charged, StoreFault>> + Send;

    /// Debits and gives back, whatever the balances are; how each stands then.
    fn settle(&self, claims: &[Claim]) -> impl Future<Output = Result<Vec<Standing>, StoreFault>> + Send;

    /// Says that a node lives; how many do.
    fn heartbeat(&self, node: u64) -> impl Future<Output = Result<u32, StoreFault>> + Send;

    /// The list of levers; empty if there is none.
    fn read_levers(&self) -> impl Future<Output = Result<String, StoreFault>> + Send;

    /// Writes the list of levers, for so long, if it is still `was`; whether it was.
    fn write_levers(
        &self,
        was: &str,
        text: &str,
        keep: Duration,
    ) -> impl Future<Output = Result<bool, StoreFault>> + Send;

    /// Says that a node leaves.
    fn leave(&self, node: u64) -> impl Future<Output = Result<(), StoreFault>> + Send;
}

/// What makes connections to a store.
pub trait Connect: Send + Sync + 'static {
    /// The connection.
    type Store: Store;

    /// Connects, or says why it cannot, in a moment.
    fn connect(&self) -> impl Future<Output = Result<Self::Store, StoreFault>> + Send;
}

/// Where a balance is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// Balances of one tag are kept together.
    pub tag: u32,
    /// Of budget and scope.
    pub hash: u64,
    /// Of a quota: the number of its period. Of a rate: zero.
    pub period: u32,
}

/// What is to be done with one balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Where it is.
    pub name: Name,
    /// What is to be done.
    pub demand: Demand,
}

/// What became of a charge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Charged {
    /// None was taken.
    No {
        /// The claim that did not fit.
        at: usize,
        /// In so long it does, if nobody else charges; of a quota, it says nothing.
        wait: Duration,
        /// How that balance stands.
        standing: Standing,
    },
    /// So much of each was taken, and so each stands.
    Yes(arrayvec::ArrayVec<(u64, Standing), MAX_LEVELS>),
}

/// The store did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct StoreFault {
    /// What it said, for the operator.
    pub why: String,
    /// The connection is of no use any more.
    pub broken: bool,
}
