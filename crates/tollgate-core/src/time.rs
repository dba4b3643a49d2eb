//! Time as an argument: ticks, and the one clock that makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since the process began.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tick(pub u64);

impl Tick {
    /// How long after `earlier`; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The tick `wait` later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where ticks come from: the machine, or a test.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Moved by hand, in nanoseconds; wall time starts at the Unix epoch.
    Driven(Arc<AtomicU64>),
    /// The machine's monotonic clock, counted from here.
    Real(std::time::Instant),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    pub fn real() -> Self {
        // Starting one hour ahead keeps arithmetic on "an hour ago" away from zero.
        let now = std::time::Instant::now();
        Self::Real(now.checked_sub(Duration::from_hours(1)).unwrap_or(now))
    }

    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn driven() -> Self {
        Self::Driven(Arc::new(AtomicU64::new(3_600_000_000_000)))
    }

    /// Now, monotonic.
    #[must_use]
    pub fn now(&self) -> Tick {
        match self {
            Self::Driven(nanos) => Tick(nanos.load(Ordering::Relaxed)),
            Self::Real(start) => Tick(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// Now, as milliseconds since the Unix epoch.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of wall time")]
    pub fn unix_ms(&self) -> u64 {
        match self {
            Self::Driven(nanos) => nanos.load(Ordering::Relaxed) / 1_000_000,
            Self::Real(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Moves a driven clock.
    ///
    /// # Panics
    /// If the clock is real.
    pub fn advance(&self, by: Duration) {
        let Self::Driven(nanos) = self else { panic!("only a driven clock can be moved") };
        nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
