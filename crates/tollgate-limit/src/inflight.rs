//! How much a model server is given at once, by cost: as much as it bears without becoming slower than it is unloaded.
//! Pure: time is an argument. It does not know who asks, and who waits for room waits elsewhere.
//!
//! What is in flight is measured in *mean requests*, so that the bounds of the configuration mean something: `ℓ` of them
//! make the limit `L = ℓ · mean cost`. Four times a second `ℓ` shrinks by how much slower than foreseen requests were, and
//! grows by its square root if at least half of it was used. Slowness is time measured ÷ time foreseen for that very
//! request, so that long answers do not look like congestion, as they do to limiters that compare latencies alone.

use std::time::Duration;

use crate::Tick;

/// How often the limit moves.
const STEP_NS: u64 = 250_000_000;

/// Requests may be so much slower than foreseen before the limit shrinks.
const SLOWDOWN: f64 = 1.5;

/// It shrinks to this part at most in one step.
const SHRINK: f64 = 0.5;

/// What a server's own word that it has too much is worth.
const PRESSED: f64 = 0.9;

/// Costs are believed when so many requests were measured of whose model something was learned.
const FEW: u32 = 30;

/// The share of a new request in the mean cost.
const GAIN: f64 = 1.0 / 64.0;

/// Bounds of what is in flight, in mean requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InflightConfig {
    /// Where it begins, and how many requests run until costs are known.
    pub initial: u32,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

impl InflightConfig {
    /// So many requests at once, whatever they cost.
    #[must_use]
    pub const fn fixed(max: u32) -> Self {
        Self { initial: max, min: max, max }
    }

    /// Whether it counts requests and never moves.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.min == self.max
    }
}

/// What is known of a request that is done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ran {
    /// How long it took, where it came to its end.
    pub took: Option<Duration>,
    /// How long it would have taken with the server to itself, where that is known: from what was learned of its model.
    pub alone: Option<Duration>,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Inflight {
    config: InflightConfig,
    /// ℓ.
    level: f64,
    /// Of requests that came.
    mean: f64,
    seen: u32,
    /// Requests and their cost, in flight.
    count: u32,
    cost: u64,
    /// The most of the limit that was used since the last step.
    peak: f64,
    foreseen: f64,
    measured: f64,
    learned: u32,
    stepped: Tick,
    pressed: Pressed,
}

/// What a server said of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Pressed {
    /// Readings that were not acted on yet.
    fresh: bool,
    /// It does not grow before.
    until: Tick,
}

impl Inflight {
    /// Nothing in flight.
    #[must_use]
    pub fn new(config: InflightConfig) -> Self {
        Self {
            config,
            level: f64::from(config.initial.clamp(config.min, config.max.max(config.min))),
            mean: 0.0,
            seen: 0,
            count: 0,
            cost: 0,
            peak: 0.0,
            foreseen: 0.0,
            measured: 0.0,
            learned: 0,
            stepped: Tick(0),
            pressed: Pressed::default(),
        }
    }

    /// Other bounds from now on. What is in flight stays.
    pub fn configure(&mut self, config: InflightConfig) {
        if config != self.config {
            let (min, max) = (f64::from(config.min), f64::from(config.max.max(config.min)));
            let level = if config.is_fixed() { max } else { self.level };
            self.level = level.clamp(min, max);
            self.config = config;
        }
    }

    /// Whether there is room for a request of that cost. One that is larger than the limit runs alone.
    #[must_use]
    pub fn fits(&self, cost: u64) -> bool {
        if !self.is_by_cost() {
            return f64::from(self.count) + 1.0 <= self.level;
        }
        // What costs nothing has no share of the mean, and is bounded by its number.
        let few = cost > 0 || f64::from(self.count) + 1.0 <= f64::from(self.config.max);
        self.count == 0 || (few && self.cost as f64 + cost as f64 <= self.level * self.mean)
    }

    /// A request of that cost begins. Its end must be told to [`Inflight::leave`], with the same cost.
    pub fn enter(&mut self, cost: u64) {
        self.count = self.count.saturating_add(1);
        self.cost = self.cost.saturating_add(cost);
        if self.config.is_fixed() {
            return;
        }
        if cost == 0 {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        self.mean += (cost as f64 - self.mean) * GAIN.max(1.0 / f64::from(self.seen));
        self.peak = self.peak.max(self.used());
    }

    /// A request of that cost is over.
    pub fn leave(&mut self, cost: u64, ran: Ran) {
        self.count = self.count.saturating_sub(1);
        self.cost = self.cost.saturating_sub(cost);
        if let (Some(took), Some(alone)) = (ran.took, ran.alone) {
            self.learned = self.learned.saturating_add(1);
            self.foreseen += alone.as_secs_f64();
            self.measured += took.as_secs_f64();
        }
    }

    /// The server says that it has too much, or that it has not. Whatever it says is forgotten at `until`: a server that
    /// falls silent is not one that has nothing to do.
    pub const fn hear(&mut self, too_much: bool, until: Tick) {
        self.pressed = if too_much { Pressed { fresh: true, until } } else { Pressed { fresh: false, until: Tick(0) } };
    }

    /// Whether the server said that it has too much, and that is not old.
    #[must_use]
    pub fn is_pressed(&self, now: Tick) -> bool {
        now < self.pressed.until
    }

    /// Moves the limit, if it is time.
    pub fn step(&mut self, now: Tick) {
        if self.config.is_fixed() || now.0.saturating_sub(self.stepped.0) < STEP_NS {
            return;
        }
        self.stepped = now;
        let slowdown = self.slowdown();
        (self.foreseen, self.measured) = (0.0, 0.0);
        let (used, peak) = (self.peak, self.used());
        self.peak = peak;
        let heard = std::mem::take(&mut self.pressed.fresh) && self.is_pressed(now);
        if !self.is_by_cost() {
            return;
        }
        let shrink = slowdown.map_or(1.0, |slowdown| (SLOWDOWN / slowdown).clamp(SHRINK, 1.0));
        let pressed = if heard { PRESSED } else { 1.0 };
        // Nothing was measured: nothing says that it bears more. Nor is a limit that nobody comes near one that holds.
        let grows = slowdown.is_some() && used >= 0.5 && !self.is_pressed(now);
        let growth = if grows { self.level.sqrt() } else { 0.0 };
        let (min, max) = (f64::from(self.config.min), f64::from(self.config.max));
        self.level = (self.level * shrink * pressed + growth).clamp(min, max);
    }

    /// Requests in flight.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// What they are thought to cost.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// How many mean requests may be in flight: ℓ.
    #[must_use]
    pub const fn level(&self) -> f64 {
        self.level
    }

    /// Whether costs are known, and count instead of requests.
    #[must_use]
    pub fn is_by_cost(&self) -> bool {
        !self.config.is_fixed() && self.learned >= FEW && self.mean > 0.0
    }

    fn used(&self) -> f64 {
        if self.is_by_cost() { self.cost as f64 / (self.level * self.mean) } else { f64::from(self.count) / self.level }
    }

    fn slowdown(&self) -> Option<f64> {
        (self.foreseen > 0.0).then(|| self.measured / self.foreseen)
    }
}

#[cfg(test)]
mod tests;
