//! Interleaved rounds: every contestant runs once in each round, so that noise of the machine meets all of them.

use std::time::Instant;

use stats_alloc::Region;

use crate::ALLOCATOR;

const ROUNDS: usize = 7;

/// A figure over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// Distance between the quartiles.
    pub(crate) iqr: f64,
}

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (figures.len() - 1) as f64;
            let (low, high) = (figures[place.floor() as usize], figures[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Self { median: at(0.5), iqr: at(0.75) - at(0.25) }
    }

    /// How a bar on a noisy ratio is judged.
    pub(crate) fn within(&self, bar: f64) -> bool {
        self.median - self.iqr / 2.0 <= bar
    }
}

/// One contestant: runs the round of the given number, and says how many decisions it made.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut(usize) -> usize + 'a>,
}

/// What a contestant took.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) nanos: Vec<f64>,
    pub(crate) allocations: usize,
}

impl Lane {
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.nanos.clone())
    }

    /// This lane's time by the other's, round by round.
    pub(crate) fn ratio(&self, other: &Self) -> Spread {
        Spread::of(self.nanos.iter().zip(&other.nanos).map(|(mine, theirs)| mine / theirs).collect())
    }
}

/// Runs all contestants [`ROUNDS`] times in the same order, after one round that does not count. None runs twice in a
/// row, so none finds the cache warm from itself.
#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
pub(crate) fn interleave(contestants: &mut [Contestant<'_>]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = contestants
        .iter()
        .map(|contestant| Lane { name: contestant.name, nanos: Vec::with_capacity(ROUNDS), allocations: 0 })
        .collect();
    for round in 0..=ROUNDS {
        for i in 0..contestants.len() {
            let region = Region::new(ALLOCATOR);
            let start = Instant::now();
            let decisions = (contestants[i].run)(round);
            let nanos = start.elapsed().as_nanos() as f64 / decisions as f64;
            let allocations = region.change().allocations;
            if round > 0 {
                lanes[i].nanos.push(nanos);
                lanes[i].allocations += allocations;
            }
        }
    }
    lanes
}
