//! Prices that calls read without a lock while a settled call may put others in their place: all of one set, never a mixture.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::features::FEATURES;
use super::normal::Prices;

/// How often a reader looks again before it makes do with what it has: prices are put there in nanoseconds.
const LOOKS: usize = 16;

/// One set of prices, written by one thread at a time and read by many.
#[derive(Debug)]
pub(super) struct Published {
    /// Odd while prices are being put there.
    version: AtomicU64,
    prices: [AtomicU64; FEATURES],
}

impl Published {
    /// Begins with these.
    #[must_use]
    pub(super) fn new(prices: &Prices) -> Self {
        Self { version: AtomicU64::new(0), prices: prices.map(|price| AtomicU64::new(price.to_bits())) }
    }

    /// The prices now.
    #[must_use]
    pub(super) fn get(&self) -> Prices {
        let mut prices = Prices::default();
        for _ in 0..LOOKS {
            let before = self.version.load(Ordering::Acquire);
            for (price, published) in prices.iter_mut().zip(&self.prices) {
                *price = f64::from_bits(published.load(Ordering::Relaxed));
            }
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                break;
            }
        }
        // Even of two sets, each price is one that was meant.
        prices
    }

    /// Puts others in their place. One thread at a time.
    pub(super) fn set(&self, prices: &Prices) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (published, price) in self.prices.iter().zip(prices) {
            published.store(price.to_bits(), Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}
