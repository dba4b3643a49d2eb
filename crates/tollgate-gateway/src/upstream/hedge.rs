//! Which requests are sent a second time because the first answer takes long, and after how long: cheap ones, later than
//! nearly all answers come.
//!
//! Pure but for a few words that are estimates: one of two samples at once may be lost. Source of the idea: Dean and Barroso,
//! *The Tail at Scale*, 2013. Whether the budget for sending again has room is `retry`'s to say.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// When a request is sent to a second endpoint as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HedgeRules {
    /// Never sooner than this.
    pub min_delay: Duration,
}

/// What answers have been like: how long nearly all of them take for what they cost, and what half of them cost at most.
#[derive(Debug, Default)]
pub struct Habits {
    answers: AtomicU64,
    /// So slow are 19 of 20 answers at most: microseconds to the first byte for each microsecond of cost.
    slowness: Estimate,
    /// So much costs one half of the requests at most.
    cost: Estimate,
    sent: AtomicU64,
    won: AtomicU64,
}

/// Fewer answers say nothing of how long they take.
const ENOUGH: u64 = 100;

/// How far one sample moves an estimate at most, as a part of it, once there are enough.
const STEP: f64 = 0.1;

impl Habits {
    /// Learns of an answer that took so long to begin.
    #[expect(clippy::cast_precision_loss, reason = "ratios")]
    pub fn took(&self, took: Duration, cost: u64) {
        let cost = cost.max(1) as f64;
        // The first guesses are far off.
        let step = (10.0 / (10.0 + self.answers.fetch_add(1, Relaxed) as f64)).max(STEP);
        self.slowness.learn(0.95, took.as_secs_f64() * 1e6 / cost, step);
        self.cost.learn(0.5, cost, step);
    }

    /// After how long a request of this cost is sent a second time; never, where it is dear or too little is known.
    #[must_use]
    pub fn delay(&self, cost: u64, rules: HedgeRules) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let cost = cost.max(1) as f64;
        // An estimate swings by a step: what all requests cost alike is not dear.
        if self.answers.load(Relaxed) < ENOUGH || cost > self.cost.get() * (1.0 + STEP) {
            return None;
        }
        let late = Duration::try_from_secs_f64(self.slowness.get() * cost / 1e6).ok()?;
        Some(late.max(rules.min_delay))
    }

    /// One was sent a second time.
    pub fn count(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// The second answer was the first to come.
    pub fn win(&self) {
        self.won.fetch_add(1, Relaxed);
    }

    /// How many were sent a second time, and of how many the second answer was the first to come.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.won.load(Relaxed))
    }
}

/// A quantile of positive numbers, followed by small steps of its logarithm (Robbins and Monro, 1951).
#[derive(Debug, Default)]
struct Estimate(AtomicU64);

impl Estimate {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn learn(&self, quantile: f64, sample: f64, step: f64) {
        if !sample.is_finite() || sample <= 0.0 {
            return;
        }
        let now = self.get();
        let towards = if sample > now { quantile } else { quantile - 1.0 };
        // The first sample is the first guess.
        let next = if now > 0.0 { now * (step * towards).exp() } else { sample };
        self.0.store(next.clamp(1e-9, 1e9).to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HedgeRules = HedgeRules { min_delay: Duration::from_millis(2) };

    /// Numbers from 0 to 1, the same on every run.
    fn draws() -> impl Iterator<Item = f64> {
        let mut at = 1_u64;
        std::iter::repeat_with(move || {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(at >> 32).expect("32 bits")) / f64::from(u32::MAX)
        })
    }

    #[test]
    fn nothing_is_sent_twice_before_enough_is_known() {
        let habits = Habits::default();
        for _ in 0..ENOUGH {
            assert_eq!(habits.delay(1_000, RULES), None);
            habits.took(Duration::from_millis(5), 1_000);
        }
        assert!(habits.delay(1_000, RULES).is_some());
    }

    #[test]
    fn the_delay_is_what_nearly_all_answers_stay_below_for_their_cost() {
        let habits = Habits::default();
        for draw in draws().take(5_000) {
            habits.took(Duration::from_secs_f64(0.010 + 0.090 * draw), 1_000);
        }
        let delay = habits.delay(1_000, RULES).expect("it is cheap").as_secs_f64();
        assert!((0.080..0.115).contains(&delay), "19 of 20 are below 95.5 ms: {delay}");
        let half = habits.delay(500, RULES).expect("it is cheaper").as_secs_f64();
        assert!((half * 2.0 - delay).abs() < 1e-6, "half the work, half the time");
    }

    #[test]
    fn what_costs_more_than_half_of_all_is_never_sent_twice() {
        let habits = Habits::default();
        for draw in draws().take(2_000) {
            habits.took(Duration::from_millis(1), if draw < 0.5 { 100 } else { 10_000 });
        }
        assert!(habits.delay(100, RULES).is_some());
        assert_eq!(habits.delay(20_000, RULES), None);
    }

    #[test]
    fn the_delay_is_never_shorter_than_the_least() {
        let habits = Habits::default();
        (0..200).for_each(|_| habits.took(Duration::from_micros(10), 1_000));
        assert_eq!(habits.delay(1_000, RULES), Some(RULES.min_delay));
    }

    #[test]
    fn odd_samples_leave_an_estimate_sound() {
        let habits = Habits::default();
        for took in [Duration::ZERO, Duration::MAX, Duration::from_secs(1)] {
            habits.took(took, 0);
            habits.took(took, u64::MAX);
        }
        (0..5_000).for_each(|_| habits.took(Duration::from_millis(1), 1_000));
        assert!(habits.delay(1, RULES).is_some_and(|delay| delay < Duration::from_hours(1)));
    }
}
