//! When to stop asking a store that does not answer, or too late. Pure: time is an argument.

use std::time::Duration;

use tollgate_core::time::Tick;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 3;

/// A call that takes longer has failed, although its answer still counts. Requests wait for less: an answer that is late for
/// one of them is no failure yet.
pub(super) const SLOW: Duration = Duration::from_millis(20);

/// One call in a hundred may be slower.
const SLOW_ONE_IN: u32 = 100;

/// How long that is looked at, and the fewest calls that say anything.
const WINDOW: Duration = Duration::from_secs(1);
const FEWEST: u32 = 20;

/// See the module. Made anew with each connection.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    row: u32,
    /// A call sent before that is part of the same failure.
    failed_at: Tick,
    window: Tick,
    calls: u32,
    slow: u32,
}

impl Breaker {
    /// A call that was sent at `sent` was answered; whether the breaker opens.
    pub(super) fn answered(&mut self, sent: Tick, now: Tick) -> bool {
        if now.since(sent) <= SLOW {
            self.row = 0;
        }
        self.calls += 1;
        self.slow += u32::from(now.since(sent) > SLOW);
        if now.since(self.window) < WINDOW {
            return false;
        }
        let opens = self.calls >= FEWEST && self.slow.saturating_mul(SLOW_ONE_IN) > self.calls;
        (self.window, self.calls, self.slow) = (now, 0, 0);
        opens
    }

    /// A call that was sent at `sent` failed, or was not answered in time; whether the breaker opens. Calls that were under
    /// way together fail once: one hiccup is no outage.
    pub(super) fn failed(&mut self, sent: Tick, now: Tick) -> bool {
        if self.row == 0 || sent >= self.failed_at {
            self.row += 1;
            self.failed_at = now;
        }
        self.row >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(at(0), at(5)));
        assert!(!breaker.failed(at(6), at(11)));
        assert!(!breaker.answered(at(12), at(12)));
        assert!(!breaker.failed(at(13), at(18)));
        assert!(!breaker.failed(at(19), at(24)));
        assert!(breaker.failed(at(25), at(30)));
    }

    #[test]
    fn calls_that_were_under_way_together_fail_once() {
        let mut breaker = Breaker::default();
        assert!((0..100).all(|i| !breaker.failed(at(i / 50), at(5))));
        assert!(!breaker.failed(at(6), at(11)));
        assert!(breaker.failed(at(12), at(17)));
    }

    #[test]
    fn a_store_that_is_slow_for_a_second_opens_it() {
        for (slow, opens) in [(1, false), (3, true)] {
            let mut breaker = Breaker::default();
            breaker.answered(at(0), at(1_000));
            let opened = (0..200).any(|i| {
                let sent = 1_000 + i * 6;
                breaker.answered(at(sent), at(sent + if i % 200 < slow { 25 } else { 1 }))
            });
            assert_eq!(opened, opens, "{slow} of some 170");
        }
    }
}
