//! How fast the baseline is: the latency that nine of ten of its last calls kept to.
//!
//! What counts as slow is always told from calls that ended before, never from the call itself: that is all that the test
//! in `evidence` asks of it.

/// How many calls are looked back at.
const WINDOW: usize = 128;
/// After how many calls the mark is found anew.
const EVERY: usize = 32;
/// Calls without which nothing is called slow.
const LEAST: usize = 64;

/// Latencies of the last calls, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    last: Vec<u32>,
    next: usize,
    since: usize,
    mark: Option<u32>,
}

impl Pace {
    /// Takes in a call that was answered.
    pub fn add(&mut self, latency_us: u32) {
        match self.last.get_mut(self.next) {
            Some(oldest) => *oldest = latency_us,
            None => self.last.push(latency_us),
        }
        self.next = (self.next + 1) % WINDOW;
        self.since += 1;
        if self.since >= EVERY && self.last.len() >= LEAST {
            (self.since, self.mark) = (0, self.percentile(90));
        }
    }

    /// What nine of ten calls kept to; `None` before enough of them.
    #[must_use]
    pub const fn mark(&self) -> Option<u32> {
        self.mark
    }

    /// What so many percent of the last calls kept to.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<u32> {
        let place = (self.last.len() * percent.min(100)).div_ceil(100).checked_sub(1)?;
        let mut sorted = self.last.clone();
        Some(*sorted.select_nth_unstable(place).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_what_nine_of_ten_calls_kept_to_and_follows_them() {
        let mut pace = Pace::default();
        for turn in 1..=63 {
            pace.add(turn);
            assert_eq!(pace.mark(), None, "{turn}");
        }
        pace.add(64);
        assert_eq!(pace.mark(), Some(58));
        for _ in 0..WINDOW {
            pace.add(1000);
        }
        assert_eq!((pace.mark(), pace.percentile(50), pace.percentile(0)), (Some(1000), Some(1000), None));
        assert_eq!((Pace::default().percentile(90), pace.last.len()), (None, WINDOW));
    }
}
