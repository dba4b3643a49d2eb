//! Which of several endpoints gets a request: the better one of two that were drawn, by what is in flight there and how
//! slow it has been.
//!
//! Pure arithmetic. Source of the choice: Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001; of
//! the peak: Finagle's `PeakEwma`, with slowness instead of latency, so that dear requests do not make an endpoint look slow.

use std::time::Duration;

use tollgate_core::time::Tick;

/// Half a minute after a peak little of it is left: it fades with e⁻¹ in this time.
const DECAY: f32 = 10_000.0;
/// The slowest that is told apart.
const SLOWEST: f32 = 1e6;

/// How slow an endpoint has been: a peak that fades. 1 is as fast as was expected of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    slowness: f32,
    at_ms: u32,
}

impl Pace {
    /// From one word; zero is an endpoint that has answered nothing yet.
    #[must_use]
    pub(super) const fn unpacked(word: u64) -> Self {
        if word == 0 {
            return Self { slowness: 1.0, at_ms: 0 };
        }
        Self { slowness: f32::from_bits((word >> 32) as u32), at_ms: word as u32 }
    }

    /// As one word.
    #[must_use]
    pub(super) const fn packed(self) -> u64 {
        (self.slowness.to_bits() as u64) << 32 | self.at_ms as u64
    }

    /// How slow it is now, as far as is known: without answers it fades towards 1, so that it is tried again.
    #[must_use]
    pub(super) fn slowness(self, now: Tick) -> f32 {
        (self.slowness - 1.0).mul_add(self.fade(now), 1.0)
    }

    /// After one more answer. A slower one counts at once, a faster one by and by.
    #[must_use]
    pub(super) fn after(self, slowness: f32, now: Tick) -> Self {
        let slowness = if slowness.is_finite() { slowness.clamp(0.0, SLOWEST) } else { SLOWEST };
        let before = self.slowness(now);
        let kept = if self.at_ms == 0 { 0.0 } else { self.fade(now) };
        let after = if slowness >= before { slowness } else { (before - slowness).mul_add(kept, slowness) };
        Self { slowness: after, at_ms: milliseconds(now) }
    }

    fn fade(self, now: Tick) -> f32 {
        let passed = milliseconds(now).wrapping_sub(self.at_ms);
        // A clock read before that of the last answer: nothing has passed.
        if passed > u32::MAX / 2 {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a weight of a mean")]
        let passed = passed as f32;
        (-passed / DECAY).exp()
    }
}

/// Milliseconds that wrap around after 49 days.
const fn milliseconds(now: Tick) -> u32 {
    (now.0 / 1_000_000) as u32
}

/// What speaks against an endpoint: the lower, the better. Faster than was expected is as good as expected, or one that has
/// not answered yet would never be tried beside one that has.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "microseconds that are compared")]
pub(super) fn score(load: u64, cost: u64, weight: f64, slowness: f32) -> f64 {
    (load + cost) as f64 / weight * f64::from(slowness.max(1.0))
}

/// The share of its weight that an endpoint has, so long after it came back.
#[must_use]
pub(super) fn share(risen: Duration, window: Duration) -> f64 {
    if window.is_zero() { 1.0 } else { (risen.as_secs_f64() / window.as_secs_f64()).clamp(0.1, 1.0) }
}

/// Whether an endpoint is little enough loaded to be taken for what it may still remember, beside the one that two choices
/// would take.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "microseconds that are compared")]
pub(super) fn may_be_preferred((load, weight): (u64, f64), (other, others): (u64, f64), cost: u64) -> bool {
    (load + cost) as f64 / weight <= 1.25 * (other + cost) as f64 / others
}

/// Two different numbers below `count`, which is at least 2.
#[must_use]
pub(super) const fn two(random: u64, count: usize) -> (usize, usize) {
    let (high, low) = (random >> 32, random & 0xffff_ffff);
    let first = ((high * count as u64) >> 32) as usize;
    let second = ((low * (count as u64 - 1)) >> 32) as usize;
    (first, if second >= first { second + 1 } else { second })
}

#[cfg(test)]
mod tests;
