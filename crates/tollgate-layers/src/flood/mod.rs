//! How often one address may ask, before any cryptography is spent on it.
//!
//! It counts requests, not their cost: that is the business of `limits`, which knows who is asking.

mod config;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use tollgate_core::ruling::{Code, Refusal, Ruling};
use tollgate_core::time::Tick;
use tollgate_limit::{Charge, Granted, Key, Memory, Rate};

pub use config::{BucketConfig, FloodConfig, NetworkBucketConfig};

/// The compiled layer: immutable, replaced whole on reload. Levels live in the ledger and survive.
#[derive(Debug)]
pub struct Flood {
    address: Bucket,
    network: Option<Bucket>,
    ledger: Arc<Memory>,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// Keeps the keys of different buckets apart.
    name: &'static str,
    rate: Rate,
    v4_prefix: u8,
    v6_prefix: u8,
}

impl Flood {
    /// Takes one request from the buckets of `from`, or from none of them.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which the same request fits.
    pub fn check(&self, from: IpAddr, now: Tick) -> Ruling<()> {
        let now = tollgate_limit::Tick(now.0);
        let from = from.to_canonical();
        let address = self.address.charge(&self.ledger, from);
        let granted = match &self.network {
            // The narrow bucket first: one loud address is stopped before it spends what its neighbours share.
            Some(network) => self.ledger.take_all(&[address, network.charge(&self.ledger, from)], now),
            None => self.ledger.take_all(&[address], now),
        };
        match granted {
            Granted::Yes { .. } => Ok(()),
            Granted::No { at, wait, .. } => {
                let bucket = if at == 0 { "address" } else { "network" };
                let why = format_args!("too many requests from the {bucket} of `{from}`");
                Err(Refusal::new(Code::RateLimited).retry_after(wait).because(why).into())
            }
        }
    }
}

impl Bucket {
    fn charge(&self, ledger: &Memory, from: IpAddr) -> Charge {
        let network = self.network(from);
        Charge::new(Key::open(ledger.hash(self.name, network)), self.rate, 1)
    }

    /// The network of `from` that shares this bucket. Whoever has one IPv6 address has 2⁶⁴ of them.
    fn network(&self, from: IpAddr) -> (bool, u128) {
        network_of(from, self.v4_prefix, self.v6_prefix)
    }
}

/// The network of an address, of so many leading bits: whether it is of IPv6, and its bits.
pub(crate) fn network_of(from: IpAddr, v4_prefix: u8, v6_prefix: u8) -> (bool, u128) {
    match from {
        IpAddr::V4(address) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(v4_prefix.min(32))).unwrap_or(0);
            (false, u128::from(address.to_bits() & bits))
        }
        IpAddr::V6(address) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(v6_prefix.min(128))).unwrap_or(0);
            (true, address.to_bits() & bits)
        }
    }
}
