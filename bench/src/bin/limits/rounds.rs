//! Interleaved rounds: every contestant runs once in each round, so that noise of the machine meets all of them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
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
    pub(crate) by: Stopwatch,
    pub(crate) run: Box<dyn FnMut(usize) -> usize + 'a>,
}

/// Whose time counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stopwatch {
    /// That of this thread: whoever else runs on the machine is not counted.
    Thread,
    /// That of the wall, where several threads run.
    Wall,
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
pub(crate) fn interleave(contestants: &mut [Contestant<'_>]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = contestants
        .iter()
        .map(|contestant| Lane { name: contestant.name, nanos: Vec::with_capacity(ROUNDS), allocations: 0 })
        .collect();
    for round in 0..=ROUNDS {
        for i in 0..contestants.len() {
            let region = Region::new(ALLOCATOR);
            let start = Started::new(contestants[i].by);
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

enum Started {
    Thread(Duration),
    Wall(Instant),
}

impl Started {
    #[expect(clippy::disallowed_methods, reason = "a stopwatch")]
    fn new(by: Stopwatch) -> Self {
        match by {
            Stopwatch::Thread => Self::Thread(thread_time()),
            Stopwatch::Wall => Self::Wall(Instant::now()),
        }
    }

    fn elapsed(&self) -> Duration {
        match self {
            Self::Thread(then) => thread_time().saturating_sub(*then),
            Self::Wall(then) => then.elapsed(),
        }
    }
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    Duration::new(seconds, nanos)
}
