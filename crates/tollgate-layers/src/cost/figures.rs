//! How well costs are predicted, in counts: for metrics and reports.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_core::cost::Cost;

/// Upper bounds of the ratio of what calls cost to what was expected on average.
pub const BOUNDS: [f64; 12] = [0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0];

/// Counts of one model at one kind of server.
#[derive(Debug, Default)]
pub struct Figures {
    /// Calls by the ratio of what they cost to what was expected on average.
    ratios: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of the ratios, in thousandths.
    sum: AtomicU64,
    reserved_us: AtomicU64,
    spent_us: AtomicU64,
    under_us: AtomicU64,
    missed: AtomicU64,
    cold: AtomicU64,
    /// The median error of late where the length of the answer is known, as bits.
    error: AtomicU64,
}

/// What the counts are now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Calls with at most the ratio of that bound; the last has all of them.
    pub ratios: [u64; BOUNDS.len() + 1],
    /// The sum of the ratios.
    pub sum: f64,
    /// What was reserved, in microseconds.
    pub reserved_us: u64,
    /// What calls cost, in microseconds.
    pub spent_us: u64,
    /// What calls cost above what was reserved for them, in microseconds.
    pub under_us: u64,
    /// Samples that were let go because somebody else was learning.
    pub missed: u64,
    /// Samples that were let go because the server was cold.
    pub cold: u64,
    /// The median error of late, where the length of the answer is known; 0 before any.
    pub error: f64,
}

/// How far a sample moves the median error.
const STEP: f64 = 1.03;

impl Figures {
    /// A call was answered: for it this was reserved, this was expected on average, and this was spent.
    pub fn settled(&self, reserved: Cost, mean: Cost, spent: Cost) {
        let ratio = spent.0 as f64 / mean.0.max(1) as f64;
        let place = BOUNDS.iter().position(|bound| ratio <= *bound).unwrap_or(BOUNDS.len());
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::Relaxed);
        };
        if let Some(bucket) = self.ratios.get(place) {
            add(bucket, 1);
        }
        add(&self.sum, (ratio.min(1e9) * 1e3) as u64);
        add(&self.reserved_us, reserved.0);
        add(&self.spent_us, spent.0);
        add(&self.under_us, spent.0.saturating_sub(reserved.0));
    }

    /// The counts now.
    #[must_use]
    pub fn count(&self) -> Count {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut below = 0;
        let ratios = std::array::from_fn(|place| {
            below += self.ratios.get(place).map_or(0, get);
            below
        });
        Count {
            ratios,
            sum: get(&self.sum) as f64 / 1e3,
            reserved_us: get(&self.reserved_us),
            spent_us: get(&self.spent_us),
            under_us: get(&self.under_us),
            missed: get(&self.missed),
            cold: get(&self.cold),
            error: f64::from_bits(get(&self.error)),
        }
    }

    pub(super) fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn cold(&self) {
        self.cold.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes on from a median error.
    pub(super) fn begin_with(&self, error: f64) {
        self.error.store(error.clamp(0.0, 1e4).to_bits(), Ordering::Relaxed);
    }

    /// With the length of the answer known, a call was worth `predicted` and cost `real`. One thread at a time.
    pub(super) fn fitted(&self, predicted: f64, real: f64) {
        let now = ((predicted - real).abs() / real).clamp(1e-4, 1e4);
        let error = f64::from_bits(self.error.load(Ordering::Relaxed));
        let error = match error {
            0.0 => now,
            error if now > error => error * STEP,
            error => error / STEP,
        };
        self.error.store(error.to_bits(), Ordering::Relaxed);
    }
}
