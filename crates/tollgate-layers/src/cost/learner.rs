//! What calls of one model at one kind of server cost, learned from those that were settled.
//!
//! [`Learner::predict`] is on the way of every call: no lock, no allocation. [`Learner::learn`] runs where calls are settled;
//! who finds it busy lets the sample go. Time is an argument, so that a simulation can use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_core::cost::Cost;
use tollgate_core::time::Tick;

use super::accounts::{Accounts, Combined, Tokens};
use super::features::{Shape, bounded, count};
use super::figures::Figures;
use super::normal::{Expected, Prices};
use super::prior::Prior;
use super::published::Published;
use super::quantile::{Answer, Length, Lengths, Shared, Tracker};

/// No call costs more: a day. A bound for sums, not for people.
pub const MOST_US: f64 = 86.4e9;

/// Samples between two solutions.
pub const BATCH: u32 = 32;

/// Samples before prices are more than a guess: from then on, what a caller declares can be too expensive.
pub const SETTLED: u64 = 64;

/// A sample is taken to lie within this factor of what was predicted. Where more of them than this part of late did not, it
/// is the prices that are wrong, and samples are taken to lie within the square of it.
const OUTLIER: f64 = 8.0;
const STRANGE: f64 = 0.25;
const STRANGE_STEP: f64 = 0.05;

/// What was expected beforehand is worth this many samples, and each that comes takes a fiftieth of that away.
const WORTH: f64 = 30.0;
const FADE: f64 = 0.98;

/// Below this part of the mean cost, errors weigh no more.
const SMALL: f64 = 0.05;

/// A call that came after so long a silence and took so many times what was predicted found a cold server. So many in a
/// row are no accident: then it is the server that has changed.
const SILENCE: Duration = Duration::from_secs(60);
const COLD: f64 = 4.0;
const COLD_IN_A_ROW: u32 = 3;

/// Tokens to a guessed token, at least and at most.
pub(super) const RATIO: [f64; 2] = [0.125, 8.0];

/// How far a call moves the pace, and how many calls are slower than it.
const PACE_STEP: f64 = 0.05;
const PACE_QUANTILE: f64 = 0.1;

/// What calls of one model at one kind of server cost.
#[derive(Debug)]
pub struct Learner {
    pub(super) prices: Published,
    /// Samples that were ever taken.
    pub(super) samples: AtomicU64,
    /// Tokens to a guessed token, as bits.
    pub(super) ratio: AtomicU64,
    /// Time that a call takes by itself, as a multiple of what it costs, as bits: above 1 where calls share a server.
    pub(super) pace: AtomicU64,
    /// The part of a call's time in which its server computes, as bits.
    pub(super) computing: AtomicU64,
    /// How long answers become: of tenants, of the model, of all models, and where nothing is known.
    pub(super) own: Lengths,
    pub(super) model: Shared,
    all: Arc<Shared>,
    expected: Shared,
    /// Counts for metrics and reports.
    pub figures: Figures,
    pub(super) book: Mutex<Book>,
}

/// What only the one who learns touches.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) accounts: Accounts,
    pub(super) prior: Prior,
    pub(super) mean: f64,
    /// The part of samples of late that were far from what was predicted.
    strange: f64,
    unsolved: u32,
    last: Option<Tick>,
    cold: u32,
}

/// What a call is expected to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prediction {
    /// If its answer becomes as long as nineteen of twenty do.
    pub limit: Cost,
    /// On average.
    pub mean: Cost,
    /// As far as it follows from what the caller declared; nothing while prices are a guess.
    pub declared: Cost,
    /// How long it takes on average with the server to itself; nothing while prices are a guess.
    pub alone: Option<Cost>,
}

/// A call that was answered as asked, by a warm server, at the first attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Whose it was.
    pub tenant: u64,
    /// What was known before.
    pub shape: Shape,
    /// What it cost.
    pub cost: Cost,
    /// How long it took at the server, shared or not.
    pub took: Duration,
    /// Tokens read, where the server said so.
    pub read: Option<u64>,
    /// Tokens of those that the server had read before.
    pub cached: u64,
    /// Tokens written, by all answers together.
    pub written: u64,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taught {
    /// Somebody else was learning.
    Busy,
    /// It found a cold server.
    Cold,
    /// It was taken.
    Taken,
}

impl Learner {
    /// Knows what was expected beforehand. `all` follows the answers of all models.
    #[must_use]
    pub fn new(prior: Prior, all: Arc<Shared>) -> Self {
        let book =
            Book { accounts: Accounts::default(), prior, mean: 0.0, strange: 1.0, unsolved: 0, last: None, cold: 0 };
        Self {
            prices: Published::new(&prior.prices),
            samples: AtomicU64::new(0),
            ratio: AtomicU64::new(1.0_f64.to_bits()),
            pace: AtomicU64::new(1.0_f64.to_bits()),
            computing: AtomicU64::new(1.0_f64.to_bits()),
            own: Lengths::default(),
            model: Shared::new(Tracker::new(prior.length)),
            all,
            expected: Shared::new(Tracker::new(prior.length)),
            figures: Figures::default(),
            book: Mutex::new(book),
        }
    }

    /// Takes another expectation from a reload. What was learned stays.
    pub fn expect(&self, prior: Prior) {
        let mut book = self.book.lock();
        if book.prior == prior {
            return;
        }
        book.prior = prior;
        self.expected.set(Tracker::new(prior.length));
        if self.samples() == 0 {
            self.prices.set(&prior.prices);
            self.model.set(Tracker::new(prior.length));
        }
    }

    /// What a call of this shape will cost.
    #[must_use]
    pub fn predict(&self, shape: &Shape, tenant: u64) -> Prediction {
        let prices = self.prices.get();
        // Never below what the visible part costs: the answer only adds to it.
        let read = shape.features(self.input_tokens(shape), 0.0).at(&prices);
        let token = prices[2] / 1e3;
        let (mut limit, mut mean, mut declared) = (read, read, read);
        if let Some(wish) = shape.wish {
            let length = self.length(tenant);
            let of = |tokens: f64| token * bounded(tokens.min(wish.cap) * wish.answers);
            mean += of(length.mean);
            limit += of(length.limit.max(length.mean));
            declared += of(wish.declared.unwrap_or(0.0));
        }
        let pace = f64::from_bits(self.pace.load(Ordering::Relaxed));
        Prediction {
            limit: cost(limit),
            mean: cost(mean),
            declared: if self.is_settled() { cost(declared) } else { Cost(0) },
            alone: self.is_settled().then(|| cost(mean * pace)),
        }
    }

    /// The part of a call's time in which its server computes: all of it, unless the server's statistics say otherwise.
    #[must_use]
    pub fn computing(&self) -> f64 {
        f64::from_bits(self.computing.load(Ordering::Relaxed))
    }

    /// Takes another part from the server's statistics. Nothing but a part of one, and at least a thousandth, is heard.
    pub fn set_computing(&self, part: f64) {
        let part = if part.is_finite() { part.clamp(1e-3, 1.0) } else { 1.0 };
        self.computing.store(part.to_bits(), Ordering::Relaxed);
    }

    /// Whether prices are more than a guess.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.samples() >= SETTLED
    }

    /// Samples that were ever taken.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Prices of the features now, in microseconds.
    #[must_use]
    pub fn prices(&self) -> Prices {
        self.prices.get()
    }

    /// Takes a sample of a call that was settled at `now`.
    pub fn learn(&self, sample: &Sample, now: Tick) -> Taught {
        let Some(mut book) = self.book.try_lock() else {
            self.figures.missed();
            return Taught::Busy;
        };
        let guessed = self.input_tokens(&sample.shape);
        let read = sample.read.map_or(guessed, count);
        let features = sample.shape.features(read - count(sample.cached), count(sample.written));
        let predicted = features.at(&self.prices.get()).clamp(1.0, MOST_US);
        let real = (sample.cost.0 as f64).clamp(1.0, MOST_US);
        if book.is_cold(real, predicted, (sample.took, now)) {
            self.figures.cold();
            return Taught::Cold;
        }
        self.figures.fitted(predicted, real);
        let tokens = match (sample.read, sample.shape.counted) {
            (Some(read), false) => Tokens { said: count(read), guessed: bounded(sample.shape.input_tokens) },
            _ => Tokens::default(),
        };
        let (taken, weight) = book.weighed(real, predicted);
        let part = book.accounts.add(sample.tenant, (&features, taken, weight), tokens);
        book.wonder(real, predicted, part);
        self.follow(sample, part, real / predicted);
        self.samples.fetch_add(1, Ordering::Relaxed);
        book.unsolved += 1;
        if book.unsolved >= BATCH {
            book.unsolved = 0;
            let combined = book.accounts.combine();
            self.solve(&combined, &book.prior);
        }
        Taught::Taken
    }

    /// Tokens that a call will make the model read.
    fn input_tokens(&self, shape: &Shape) -> f64 {
        let ratio = if shape.counted { 1.0 } else { f64::from_bits(self.ratio.load(Ordering::Relaxed)) };
        bounded(shape.input_tokens * ratio)
    }

    /// How long an answer to a tenant becomes, by its own answers if there were enough, else by those of others.
    fn length(&self, tenant: u64) -> Length {
        let known = self.own.sure(tenant).or_else(|| self.model.sure()).or_else(|| self.all.sure());
        known.unwrap_or_else(|| self.expected.get().length())
    }

    /// Lets the trackers see an answer. `part` of it counts for what is said of others.
    fn follow(&self, sample: &Sample, part: f64, slowness: f64) {
        if let Some(wish) = sample.shape.wish {
            let answer = Answer { tokens: count(sample.written) / wish.answers.max(1.0), cap: wish.cap };
            let start = self.length(sample.tenant);
            self.own.take(sample.tenant, answer, start);
            for shared in [&self.model, &*self.all] {
                let mut tracker = shared.get();
                tracker.take(answer, part);
                shared.set(tracker);
            }
        }
        let shared = sample.took.as_micros() as f64 / (sample.cost.0 as f64).max(1.0);
        // Slower than its price says by as much as its own price was wrong.
        let stretch = (shared * slowness).clamp(1.0, 1e3);
        let pace = f64::from_bits(self.pace.load(Ordering::Relaxed));
        let up = if stretch > pace { PACE_QUANTILE } else { PACE_QUANTILE - 1.0 };
        let pace = (pace * (PACE_STEP * part * up).exp()).clamp(1.0, 1e3);
        self.pace.store(pace.to_bits(), Ordering::Relaxed);
    }

    fn solve(&self, combined: &Combined, prior: &Prior) {
        let faded = FADE.powf(self.samples() as f64);
        let expected = Expected { prices: prior.prices, worth: WORTH * faded };
        if let Some(prices) = combined.normal.solve(expected) {
            self.prices.set(&prices);
        }
        let Tokens { said, guessed } = combined.tokens;
        // Ten thousand guessed tokens say more about a model than prose does.
        let ratio = (said + 1e3) / (guessed + 1e3);
        if ratio.is_finite() {
            self.ratio.store(ratio.clamp(RATIO[0], RATIO[1]).to_bits(), Ordering::Relaxed);
        }
    }
}

impl Book {
    /// The cost that a sample is taken to have, and its weight.
    fn weighed(&mut self, real: f64, predicted: f64) -> (f64, f64) {
        let lost = self.strange > STRANGE;
        let most = if lost { OUTLIER * OUTLIER } else { OUTLIER };
        let taken = real.clamp(predicted / most, predicted * most);
        self.mean = if self.mean > 0.0 { 0.01_f64.mul_add(taken - self.mean, self.mean) } else { taken };
        // Where prices are wrong, what was measured says better how large a call is.
        let size = if lost { predicted.max(real) } else { predicted };
        (taken, size.max(SMALL * self.mean).max(1.0).powi(-2))
    }

    /// Counts samples that are far from what was predicted, nobody's for more than its part.
    fn wonder(&mut self, real: f64, predicted: f64, part: f64) {
        let far = f64::from(!(predicted / OUTLIER..=predicted * OUTLIER).contains(&real));
        self.strange = (STRANGE_STEP * part).mul_add(far - self.strange, self.strange);
    }

    fn is_cold(&mut self, real: f64, predicted: f64, (took, now): (Duration, Tick)) -> bool {
        let began = Tick(now.0.saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)));
        let silent = self.last.is_none_or(|last| began.since(last) >= SILENCE);
        self.last = Some(now);
        if silent && real > COLD * predicted && self.cold < COLD_IN_A_ROW {
            self.cold += 1;
            return true;
        }
        if !silent || real <= COLD * predicted {
            self.cold = 0;
        }
        false
    }
}

/// Microseconds as a cost: nothing that is no number gets through.
fn cost(us: f64) -> Cost {
    // A cast of NaN is 0, of what is too large the largest.
    Cost(us.clamp(0.0, MOST_US).round() as u64)
}
