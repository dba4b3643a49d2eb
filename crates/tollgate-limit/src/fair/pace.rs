//! What a fair queue learns from what is done: how fast, how well costs are foreseen, and whether the queue stands. Knows
//! nobody who waits.

use std::time::Duration;

use crate::Tick;

/// A standing queue: sojourn above this share of the time that a request has, and above [`STANDING`].
const STANDING_PART: u32 = 10;
const STANDING: Duration = Duration::from_millis(50);

/// So long must it stand before the first entry is shed; the next ones come faster, by the square root of their number.
const PATIENCE: Duration = Duration::from_millis(100);

/// Over how long the rate of what is done is averaged.
const DECAY_SECS: f64 = 10.0;

/// How fast work gets done, measured while somebody waits: an idle machine says nothing of what it could do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drain {
    /// Cost that was done, and seconds in which it was, both decayed.
    cost: f64,
    seconds: f64,
    last: Tick,
}

impl Drain {
    pub(super) fn advance(&mut self, now: Tick, idle: bool) {
        let passed = now.0.saturating_sub(self.last.0) as f64 / 1e9;
        self.last = Tick(self.last.0.max(now.0));
        if !idle {
            let kept = (-passed / DECAY_SECS).exp();
            self.cost *= kept;
            self.seconds = self.seconds * kept + passed;
        }
    }

    pub(super) fn done(&mut self, real: u64, now: Tick, idle: bool) {
        self.advance(now, idle);
        if !idle {
            self.cost += real as f64;
        }
    }

    /// Microseconds of cost in a second. Counts for more the longer it was measured: at first, `prior` does.
    pub(super) fn per_sec(&self, prior: u64) -> f64 {
        const PRIOR_SECS: f64 = 1.0;
        let rate = (self.cost + prior as f64 * PRIOR_SECS) / (self.seconds + PRIOR_SECS);
        rate.max(1.0)
    }
}

/// What requests turn out to cost, in what they were said to cost: the usual factor between the two. Costs may be said in
/// units that have nothing to do with time (classes 1, 5, 50), and time is what waiting is about.
///
/// The median of the first few, and then an average of logarithms whose steps are bounded: a single request that turns out a
/// thousand times dearer moves it no more than one that is three times dearer. What one tenant says again and again counts
/// for less each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    factor: f64,
    /// How far off requests are from that on average, as a natural logarithm.
    spread: f64,
    first: [f64; Self::FEW],
    seen: usize,
    last: u64,
    repeated: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { factor: 1.0, spread: 0.0, first: [0.0; Self::FEW], seen: 0, last: 0, repeated: 0 }
    }
}

impl Scale {
    /// The share of a new request in the average.
    const GAIN: f64 = 1.0 / 64.0;
    /// The most that one request says, as a natural logarithm: about threefold.
    const MOST: f64 = 1.0;
    /// So many are looked at together.
    const FEW: usize = 8;
    /// So much of the spread is doubted: with errors of a log-normal kind, three requests of four cost less. More would
    /// refuse good requests where costs are foreseen badly (`cargo xtask sim admission`).
    const DOUBT: f64 = 0.8;
    /// Fewer say nothing.
    const LEAST: usize = 3;

    pub(super) fn of(&self, said: u64) -> u64 {
        // A float that is too large becomes the largest integer.
        (said as f64 * self.factor) as u64
    }

    /// What it costs if it turns out dearer than usual: whoever starts it counts on that, because work that is done too
    /// late was done in vain, and others waited for it.
    pub(super) fn surely(&self, cost: u64) -> u64 {
        (cost as f64 * (self.spread * Self::DOUBT).exp()) as u64
    }

    /// Whether enough was seen for a verdict.
    pub(super) const fn is_known(&self) -> bool {
        self.seen >= Self::FEW
    }

    pub(super) fn saw(&mut self, tenant: u64, said: u64, real: u64) {
        if said == 0 || real == 0 {
            return;
        }
        let turned_out = (real as f64 / said as f64).ln();
        if let Some(place) = self.first.get_mut(self.seen) {
            *place = turned_out;
            self.seen += 1;
            let mut sorted = self.first;
            if let Some(seen) = sorted.get_mut(..self.seen).filter(|seen| seen.len() >= Self::LEAST) {
                seen.sort_by(f64::total_cmp);
                self.move_to(seen.get(seen.len() / 2).copied().unwrap_or_default());
            }
            return;
        }
        self.repeated = if tenant == self.last { (self.repeated + 1).min(7) } else { 0 };
        self.last = tenant;
        let before = self.factor.ln();
        let off = (turned_out - before).clamp(-Self::MOST, Self::MOST);
        self.spread += (off.abs() - self.spread) * Self::GAIN;
        self.move_to(before + off * Self::GAIN / f64::from(1 + self.repeated));
    }

    fn move_to(&mut self, logarithm: f64) {
        self.factor = logarithm.exp().clamp(1e-6, 1e6);
    }
}

/// Whether the queue stands: everybody who is served has waited too long, for some time (CoDel, RFC 8289).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    since: Option<Tick>,
    shed: u32,
    next: Tick,
}

impl Standing {
    pub(super) fn sheds(&mut self, waited: Duration, has: Duration, now: Tick) -> bool {
        if waited <= STANDING.max(has / STANDING_PART) {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let patience = nanos(PATIENCE);
        if now.0.saturating_sub(since.0) < patience || now < self.next {
            return false;
        }
        self.shed = self.shed.saturating_add(1);
        let pause = patience as f64 / f64::from(self.shed).sqrt();
        self.next = Tick(now.0.saturating_add(pause as u64));
        true
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
