//! How long answers become: of each tenant at each model, of the model, and of all models, for whoever has not said
//! enough yet. A tenant is only ever held to its own answers once it has had [`ENOUGH`] of them.
//!
//! Read by calls without a lock; written where calls are settled, under the lock of the learner.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::prior::LENGTH;

/// Answers of a tenant before it is held to them; until then, those of the model, and of all models, speak for it.
pub(super) const ENOUGH: u32 = 30;

/// The most tenants of which each model remembers answers: 24 bytes for each. The one not heard of for longest makes room.
pub const MOST_TENANTS: usize = 1024;

/// How many places are looked at for a tenant.
const REACH: usize = 8;

/// The share of answers that are not longer than the limit.
const QUANTILE: f32 = 0.95;

/// How far an answer moves the limit, in natural logarithms.
const STEP: f32 = 0.15;

/// How much an answer moves the mean.
const MEAN_STEP: f32 = 0.03;

/// No answer is longer: 16 million tokens.
const MOST_LOG: f32 = 16.6;

/// How long answers become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Length {
    /// Nineteen of twenty answers have no more tokens.
    pub limit: f64,
    /// Tokens of an answer on average.
    pub mean: f64,
}

/// Follows the lengths of answers: the limit on a logarithmic scale, moved a little by each answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracker {
    log_limit: f32,
    mean: f32,
    count: u32,
}

/// An answer that has come.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its tokens.
    pub tokens: f64,
    /// Where it had to end.
    pub cap: f64,
}

impl Tracker {
    /// Begins with what is known of others.
    #[must_use]
    pub fn new(start: Length) -> Self {
        Self { log_limit: log(start.limit), mean: finite(start.mean), count: 0 }
    }

    /// From its numbers, as they were kept.
    #[must_use]
    pub fn from_parts(limit: f64, mean: f64, count: u32) -> Self {
        Self { count, ..Self::new(Length { limit, mean }) }
    }

    /// What it says.
    #[must_use]
    pub fn length(&self) -> Length {
        Length { limit: f64::from(self.log_limit).exp(), mean: f64::from(self.mean) }
    }

    /// Answers that it has seen.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Takes an answer, as `share` of one.
    pub fn take(&mut self, answer: Answer, share: f64) {
        if share <= 0.0 {
            return;
        }
        let share = share.min(1.0) as f32;
        let tokens = log(answer.tokens);
        // An answer cut off at a cap below the limit says nothing of how long it would have become.
        let cut = answer.tokens >= answer.cap;
        self.count = self.count.saturating_add(1);
        if self.count == 1 {
            self.log_limit = tokens;
        } else if self.count <= ENOUGH {
            // The longest of the first few, which is a little too much: nobody is held to it yet.
            self.log_limit = self.log_limit.max(tokens);
        } else if tokens > self.log_limit {
            self.log_limit += STEP * QUANTILE * share;
        } else if !cut {
            self.log_limit -= STEP * (1.0 - QUANTILE) * share;
        }
        self.log_limit = self.log_limit.clamp(0.0, MOST_LOG);
        let tokens = finite(answer.tokens);
        if !cut || tokens > self.mean {
            let step = (1.0 / (self.count as f32)).max(MEAN_STEP) * share;
            self.mean = finite(f64::from(step.mul_add(tokens - self.mean, self.mean)));
        }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.log_limit.to_bits()) << 32 | u64::from(self.mean.to_bits())
    }

    fn from_bits(bits: u64, count: u32) -> Self {
        let [limit, mean] = [bits >> 32, bits & 0xFFFF_FFFF].map(|half| f32::from_bits(half as u32));
        Self { log_limit: limit, mean, count }
    }
}

fn log(tokens: f64) -> f32 {
    (if tokens > 1.0 { tokens.ln() as f32 } else { 0.0 }).min(MOST_LOG)
}

fn finite(tokens: f64) -> f32 {
    if tokens > 0.0 { tokens.min(f64::from(MOST_LOG).exp()) as f32 } else { 0.0 }
}

/// A tracker that is read without a lock, and written by one thread at a time.
#[derive(Debug)]
pub struct Shared {
    bits: AtomicU64,
    count: AtomicU32,
}

impl Default for Shared {
    /// Begins with what is expected of a model that nothing is known of.
    fn default() -> Self {
        Self::new(Tracker::new(LENGTH))
    }
}

impl Shared {
    /// Begins with a tracker.
    #[must_use]
    pub fn new(tracker: Tracker) -> Self {
        Self { bits: AtomicU64::new(tracker.to_bits()), count: AtomicU32::new(tracker.count) }
    }

    /// What it says now.
    #[must_use]
    pub fn get(&self) -> Tracker {
        Tracker::from_bits(self.bits.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed))
    }

    /// What it says now, if it has seen enough answers.
    #[must_use]
    pub fn sure(&self) -> Option<Length> {
        Some(self.get()).filter(|tracker| tracker.count >= ENOUGH).map(|tracker| tracker.length())
    }

    /// Puts another in its place.
    pub fn set(&self, tracker: Tracker) {
        self.bits.store(tracker.to_bits(), Ordering::Relaxed);
        self.count.store(tracker.count, Ordering::Relaxed);
    }
}

/// The trackers of tenants at one model: at most [`MOST_TENANTS`], made when the first answer comes.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    places: OnceLock<Box<[Place]>>,
    /// Answers so far, to tell who was not heard of for longest.
    turn: AtomicU32,
}

#[derive(Debug, Default)]
struct Place {
    tenant: AtomicU64,
    shared: Shared,
    turn: AtomicU32,
}

impl Lengths {
    /// What a tenant's own answers say, if there were enough of them.
    #[must_use]
    pub(super) fn sure(&self, tenant: u64) -> Option<Length> {
        self.place(tenant)?.shared.sure()
    }

    /// Takes an answer of a tenant. `start` is what was said of it so far. One thread at a time.
    pub(super) fn take(&self, tenant: u64, answer: Answer, start: Length) {
        let place = self.place_for(tenant, start);
        let mut tracker = place.shared.get();
        tracker.take(answer, 1.0);
        place.shared.set(tracker);
    }

    /// Puts a tracker there, as it was kept. One thread at a time.
    pub(super) fn put(&self, tenant: u64, tracker: Tracker) {
        self.place_for(tenant, tracker.length()).shared.set(tracker);
    }

    /// Every tenant that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Tracker)> + '_ {
        let places = self.places.get().map(|places| places.iter()).unwrap_or_default();
        let taken = places.map(|place| (place.tenant.load(Ordering::Relaxed), place.shared.get()));
        taken.filter(|(tenant, _)| *tenant != NOBODY).map(|(tenant, tracker)| (unkeyed(tenant), tracker))
    }

    fn place(&self, tenant: u64) -> Option<&Place> {
        let key = keyed(tenant);
        near(self.places.get()?, key).find(|place| place.tenant.load(Ordering::Relaxed) == key)
    }

    fn place_for(&self, tenant: u64, start: Length) -> &Place {
        let key = keyed(tenant);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let places = self.places.get_or_init(|| (0..MOST_TENANTS).map(|_| Place::default()).collect());
        let own = near(places, key).find(|place| place.tenant.load(Ordering::Relaxed) == key);
        let place = own.unwrap_or_else(|| {
            let free = |place: &&Place| place.tenant.load(Ordering::Relaxed) == NOBODY;
            let age = |place: &&Place| turn.wrapping_sub(place.turn.load(Ordering::Relaxed));
            let place = near(places, key).find(free).or_else(|| near(places, key).max_by_key(age));
            let place = place.unwrap_or(&places[0]);
            // Emptied first: whoever reads in between finds nobody rather than somebody else.
            place.tenant.store(NOBODY, Ordering::Relaxed);
            place.shared.set(Tracker::new(start));
            place.tenant.store(key, Ordering::Relaxed);
            place
        });
        place.turn.store(turn, Ordering::Relaxed);
        place
    }
}

/// What stands where nobody is.
const NOBODY: u64 = 0;

/// Tenants are known by keyed hashes, but for those who need no key, whose hash is zero.
const KEYLESS: u64 = u64::MAX;

const fn keyed(tenant: u64) -> u64 {
    if tenant == NOBODY { KEYLESS } else { tenant }
}

const fn unkeyed(key: u64) -> u64 {
    if key == KEYLESS { NOBODY } else { key }
}

/// The places where a tenant may stand.
fn near(places: &[Place], key: u64) -> impl Iterator<Item = &Place> {
    // A keyed hash is as good as any: its upper bits choose the place.
    let first = (key >> 32) as usize % places.len().max(1);
    let (before, after) = places.split_at_checked(first).unwrap_or((places, &[]));
    after.iter().chain(before).take(REACH)
}

#[cfg(test)]
mod tests;
