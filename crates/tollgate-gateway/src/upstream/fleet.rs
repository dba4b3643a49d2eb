//! The endpoints of one upstream that do the same work: which of them gets a request, and what its outcome does to it.
//!
//! The hot path is a few atomics: while every endpoint is well it takes no lock, allocates nothing and reads no clock. All
//! judgement is in `standing`, behind a lock that only failures, checks and sweeps take; what it decides is published as
//! one word for each endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrayvec::ArrayVec;
use parking_lot::Mutex;
use tollgate_core::ruling::{Code, Refusal};
use tollgate_core::time::Tick;

use super::Address;
use super::balance::{Pace, may_be_preferred, score, share, two};
use super::breaker::{Admission, Breaker};
use super::hedge::{Habits, HedgeRules};
use super::outlier::{Outcome, Streaks, Window};
use super::prefix::{Beginnings, Remembered};
use super::retry::{Retries, RetryRules};
use super::standing::{Checked, Judge, Readiness, Seat, Standing, StandingRules, Trial};

/// The most endpoints of one upstream.
pub const MOST: usize = 256;
/// The most that one request adds to what is in flight: above an hour it is all the same, and counts never run over.
const DEAREST: u64 = u32::MAX as u64;
/// In the word of what is in flight, one request.
const ONE: u64 = 1 << 48;
/// How often endpoints that are not ready are asked, if not more often.
pub const ANXIOUS: Duration = Duration::from_secs(2);
/// The unit in which slowness is summed up.
const GRAIN: f64 = 1024.0;

/// How a fleet is led.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRules {
    /// When an endpoint is not used.
    pub standing: StandingRules,
    /// What is sent again.
    pub retry: RetryRules,
    /// What is sent to a second endpoint while the first is late; nothing where there is none.
    pub hedge: Option<HedgeRules>,
    /// Whether what an endpoint may remember of a prompt counts.
    pub prefix_affinity: bool,
    /// How often endpoints are asked whether they are ready; zero is never.
    pub check_every: Duration,
}

/// Endpoints that do the same work.
pub struct Fleet {
    endpoints: Vec<Endpoint>,
    rules: FleetRules,
    judge: Mutex<Judge>,
    /// Whether an endpoint is anything but well.
    odd: AtomicBool,
    /// Whether the breaker has to be asked.
    gated: AtomicBool,
    dice: AtomicU64,
    /// Requests that are sent again.
    pub retries: Arc<Retries>,
    /// How long answers take, where requests are sent to a second endpoint.
    pub habits: Habits,
    remembered: Option<Remembered>,
    swept: AtomicU64,
}

/// One endpoint, as the hot path sees it.
struct Endpoint {
    address: Address,
    weight: f64,
    stance: AtomicU32,
    /// Since when its share grows, while it does; else zero.
    rising: AtomicU64,
    /// Requests in the upper 16 bits, their cost in the rest.
    running: AtomicU64,
    pace: AtomicU64,
    streaks: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    timed: AtomicU64,
    slowness: AtomicU64,
    /// When it is to be asked whether it is ready.
    check_at: AtomicU64,
}

/// What an endpoint may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stance {
    /// Its share of everything.
    Well = 0,
    /// It is out by its answers: for when too few are left.
    Out = 1,
    /// One request.
    Trial = 2,
    /// Nothing.
    Unready = 3,
    /// No check has said anything yet: for when no other is well.
    Warming = 4,
}

/// In a stance: the endpoint lacks models.
const LACKS: u32 = 1 << 8;

/// What a request wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// What it is expected to cost, in microseconds.
    pub cost: u64,
    /// Sending it twice is the same as sending it once.
    pub repeatable: bool,
    /// It may be sent to two endpoints at once: sent twice it is the same, and its answer is no stream.
    pub hedges: bool,
    /// The beginnings of its prompt.
    pub beginnings: Option<&'a Beginnings>,
}

/// The endpoint of one attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pick {
    /// Its place.
    pub endpoint: usize,
    /// Whether this attempt decides about it.
    pub trial: Trial,
}

/// Endpoints that a request was sent to already.
pub type Tried = ArrayVec<usize, 4>;

type Candidates = ArrayVec<usize, MOST>;

impl Fleet {
    /// Endpoints and their weights, led by `rules`; `dice` is where random numbers begin.
    #[must_use]
    pub fn new(endpoints: Vec<(Address, f64)>, rules: FleetRules, dice: u64) -> Self {
        let endpoints: Vec<_> = endpoints.into_iter().take(MOST).map(Endpoint::new).collect();
        let checked = !rules.check_every.is_zero();
        let judge = Judge::new(endpoints.len(), checked, rules.standing, dice);
        let remembers = rules.prefix_affinity && endpoints.len() > 1;
        let fleet = Self {
            endpoints,
            rules,
            judge: Mutex::new(judge),
            odd: AtomicBool::new(false),
            gated: AtomicBool::new(false),
            dice: AtomicU64::new(dice),
            retries: Arc::default(),
            habits: Habits::default(),
            remembered: remembers.then(Remembered::default),
            swept: AtomicU64::new(0),
        };
        fleet.publish(&fleet.judge.lock());
        fleet
    }

    /// How many endpoints there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Where an endpoint is.
    #[must_use]
    pub fn get(&self, endpoint: usize) -> Option<&Address> {
        self.endpoints.get(endpoint).map(|endpoint| &endpoint.address)
    }

    /// An endpoint that is well, else any that may be asked.
    #[must_use]
    pub fn any(&self) -> Option<usize> {
        let mut places = (0..self.len()).filter(|place| {
            self.endpoints.get(*place).is_some_and(|of| Stance::of(of.stance.load(Relaxed)) != Stance::Unready)
        });
        let well = |place: &usize| self.endpoints.get(*place).is_some_and(|of| of.stance.load(Relaxed) == 0);
        places.clone().find(well).or_else(|| places.next())
    }

    /// How it is led.
    #[must_use]
    pub const fn rules(&self) -> &FleetRules {
        &self.rules
    }

    /// Whether beginnings of prompts are worth finding out.
    #[must_use]
    pub const fn remembers(&self) -> bool {
        self.remembered.is_some()
    }

    /// The endpoint of the next attempt.
    ///
    /// # Errors
    /// `overloaded`, with a true wait, where nothing is left.
    pub fn choose(&self, want: &Want<'_>, tried: &Tried, now: Tick) -> Result<Pick, Refusal> {
        let mut trial = Trial::default();
        if self.gated.load(Relaxed) {
            trial.breaker = self.pass_breaker(now)?;
        }
        let odd = self.odd.load(Relaxed);
        if self.endpoints.len() == 1 && !odd {
            return Ok(Pick { endpoint: 0, trial });
        }
        let found = if odd || !tried.is_empty() {
            self.choose_among_odd(want, tried, now)
        } else {
            let (one, other) = two(self.random(), self.endpoints.len().max(2));
            self.better(want, (one, other), now).map(|endpoint| (endpoint, false))
        };
        let Some((endpoint, seat)) = found else {
            if trial.breaker {
                self.judge.lock().trial_lost(usize::MAX, trial, now);
            }
            return Err(self.nothing_left());
        };
        trial.seat = seat;
        let endpoint = self.remembering(want, endpoint, (seat || !tried.is_empty(), now));
        Ok(Pick { endpoint, trial })
    }

    /// Whether a request for `model` would be sent anywhere now.
    #[must_use]
    pub fn is_able(&self, model: Option<&str>, now: Tick) -> bool {
        let judge = self.judge.lock();
        let open = matches!(judge.breaker(), Breaker::Open { until, .. } if now < until);
        let fit = |standing: &Standing| {
            standing.readiness != Readiness::Unready && model.is_none_or(|model| !standing.lacks.contains(model))
        };
        !open && judge.standings().iter().any(fit)
    }

    /// Learns how an attempt ended. Of an answer while all is well nothing but a counter is touched.
    pub fn told(&self, pick: Pick, outcome: Outcome, now: impl FnOnce() -> Tick) {
        let Some(endpoint) = self.endpoints.get(pick.endpoint) else { return };
        let streaks = Streaks::unpacked(endpoint.streaks.load(Relaxed));
        let after = streaks.after(outcome);
        if after != streaks {
            // Two failures at once may be counted as one: the next one counts.
            endpoint.streaks.store(after.packed(), Relaxed);
        }
        match outcome {
            // Alone there is nobody to be compared with, but for its share of failures, which cannot eject the last one.
            _ if self.endpoints.len() < 2 => {}
            Outcome::Answered => _ = endpoint.answered.fetch_add(1, Relaxed),
            Outcome::Errored | Outcome::Gateway | Outcome::Local => _ = endpoint.failed.fetch_add(1, Relaxed),
            // Counted once it has come to its end, or has not.
            Outcome::Began | Outcome::Load => {}
        }
        let verdict = after.verdict(&self.rules.standing.ejection);
        let failed = matches!(outcome, Outcome::Gateway | Outcome::Local);
        if failed || verdict.is_some() || pick.trial.is_one() || self.gated.load(Relaxed) {
            let mut judge = self.judge.lock();
            judge.told(pick.endpoint, (outcome, pick.trial), verdict, now());
            self.publish(&judge);
        }
    }

    /// An answer that had begun came to its end.
    pub fn finished(&self, endpoint: usize) {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return };
        let streaks = endpoint.streaks.load(Relaxed);
        if streaks != 0 {
            endpoint.streaks.store(Streaks::unpacked(streaks).after(Outcome::Answered).packed(), Relaxed);
        }
        if self.endpoints.len() > 1 {
            endpoint.answered.fetch_add(1, Relaxed);
        }
    }

    /// Learns how long an answer took, for what was expected of it.
    pub fn took(&self, endpoint: usize, took: Duration, cost: u64, now: Tick) {
        let Some(endpoint) = self.endpoints.get(endpoint).filter(|_| self.endpoints.len() > 1) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let slowness = took.as_secs_f64() * 1e6 / cost.max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
        let pace = Pace::unpacked(endpoint.pace.load(Relaxed)).after(slowness as f32, now);
        // One of two answers at once may be lost: it is a mean.
        endpoint.pace.store(pace.packed(), Relaxed);
        endpoint.timed.fetch_add(1, Relaxed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a saturating cast of a ratio")]
        endpoint.slowness.fetch_add((slowness * GRAIN).min(1e12) as u64, Relaxed);
    }

    /// An attempt ended without an outcome.
    pub fn lost(&self, pick: Pick, now: impl FnOnce() -> Tick) {
        if pick.trial.is_one() {
            let mut judge = self.judge.lock();
            judge.trial_lost(pick.endpoint, pick.trial, now());
            self.publish(&judge);
        }
    }

    /// A request begins at an endpoint.
    pub fn enter(&self, endpoint: usize, cost: u64) {
        if let Some(endpoint) = self.endpoints.get(endpoint) {
            endpoint.running.fetch_add(ONE | cost.min(DEAREST), Relaxed);
        }
    }

    /// It ended there.
    pub fn leave(&self, endpoint: usize, cost: u64) {
        if let Some(endpoint) = self.endpoints.get(endpoint) {
            endpoint.running.fetch_sub(ONE | cost.min(DEAREST), Relaxed);
        }
    }

    /// Requests that run.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.running.load(Relaxed) / ONE).sum()
    }

    /// Learns what a check of ours found.
    pub fn checked(&self, endpoint: usize, found: Checked, now: Tick) {
        let mut judge = self.judge.lock();
        judge.checked(endpoint, found, now);
        self.publish(&judge);
    }

    /// Lets endpoints come back whose time is over, and compares them now and then.
    pub fn sweep(&self, now: Tick) {
        let every = self.rules.standing.ejection.sweep;
        let last = Tick(self.swept.load(Relaxed));
        let whole = now.since(last) >= every;
        if !whole && !self.odd.load(Relaxed) {
            return;
        }
        let mut judge = self.judge.lock();
        judge.due(now);
        if whole {
            self.swept.store(now.0, Relaxed);
            let windows: Vec<Window> = self.endpoints.iter().map(Endpoint::window).collect();
            // What was counted before anybody compared it is of no time in particular.
            if last != Tick(0) {
                judge.sweep(&windows, now);
            }
        }
        self.publish(&judge);
    }

    /// Whether an endpoint is to be asked now; it counts as being asked from here on, for four times `timeout` at most.
    pub fn is_due(&self, endpoint: usize, now: Tick, timeout: Duration) -> bool {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return false };
        let due = endpoint.check_at.load(Relaxed) <= now.0;
        if due {
            endpoint.check_at.store(now.after(timeout * 4).0, Relaxed);
        }
        due
    }

    /// It was asked; the next time is then.
    pub fn next_check(&self, endpoint: usize, at: Tick) {
        if let Some(endpoint) = self.endpoints.get(endpoint) {
            endpoint.check_at.store(at.0, Relaxed);
        }
    }

    /// A number below 1024.
    pub fn jitter(&self) -> u32 {
        (self.random() >> 54) as u32
    }

    /// What operators are shown: address, standing, running requests, their cost, slowness.
    pub fn show<T>(&self, now: Tick, mut each: impl FnMut(&Address, &Standing, [f64; 4]) -> T) -> (Breaker, Vec<T>) {
        let judge = self.judge.lock();
        let all = self.endpoints.iter().zip(judge.standings()).map(|(endpoint, standing)| {
            let running = endpoint.running.load(Relaxed);
            let slowness = Pace::unpacked(endpoint.pace.load(Relaxed)).slowness(now);
            #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
            let numbers = [(running / ONE) as f64, (running % ONE) as f64, f64::from(slowness), endpoint.weight];
            each(&endpoint.address, standing, numbers)
        });
        (judge.breaker(), all.collect())
    }

    /// Whether the breaker lets a request pass, as the one that decides.
    fn pass_breaker(&self, now: Tick) -> Result<bool, Refusal> {
        match self.judge.lock().breaker_mut().admit(now) {
            Admission::Go => Ok(false),
            Admission::Trial => Ok(true),
            Admission::Wait(wait) => Err(refused(wait, "the breaker is open: nothing behind it answers")),
        }
    }

    /// Where nothing may be sent: until the next checks may find otherwise.
    fn nothing_left(&self) -> Refusal {
        let passes = u32::from(self.rules.standing.check_passes.max(1));
        refused(self.rules.check_every.min(ANXIOUS) * passes, "no endpoint is ready")
    }

    /// Goes through all of them, because something is not well, or some were tried. Also says whether it is a trial.
    fn choose_among_odd(&self, want: &Want<'_>, tried: &Tried, now: Tick) -> Option<(usize, bool)> {
        let untried = |place: &usize| !tried.contains(place);
        // One that may go twice is taken at once; but where none may, somebody has to.
        let dares = want.repeatable || self.random().is_multiple_of(16);
        if dares
            && let Some(place) = self.all(want, |stance| stance == Stance::Trial).into_iter().find(untried)
            && self.take_trial(place, now)
        {
            return Some((place, true));
        }
        let well = self.all(want, |stance| stance == Stance::Well);
        let mut candidates = well.clone();
        // Those that lack the model are no help, and none that is missed.
        if well.len() * 2 < self.all(want, |_| true).len() {
            // Panic: too few are left to carry everything. Those that our own checks found unready stay out.
            candidates = self.all(want, |stance| stance != Stance::Unready);
            let warm = self.all(want, |stance| matches!(stance, Stance::Well | Stance::Out | Stance::Trial));
            if !warm.is_empty() {
                candidates = warm;
            }
        }
        let fresh: Candidates = candidates.iter().copied().filter(untried).collect();
        let candidates = if fresh.is_empty() { candidates } else { fresh };
        match *candidates.as_slice() {
            [] => None,
            [only] => Some((only, false)),
            ref several => {
                let (one, other) = two(self.random(), several.len());
                self.better(want, (*several.get(one)?, *several.get(other)?), now).map(|place| (place, false))
            }
        }
    }

    fn all(&self, want: &Want<'_>, fits: impl Fn(Stance) -> bool) -> Candidates {
        let places = self.endpoints.iter().enumerate().filter(|(place, endpoint)| {
            let word = endpoint.stance.load(Relaxed);
            fits(Stance::of(word)) && (word & LACKS == 0 || !self.lacks(*place, want.model))
        });
        places.map(|(place, _)| place).take(MOST).collect()
    }

    fn lacks(&self, place: usize, model: Option<&str>) -> bool {
        let judge = self.judge.lock();
        let standing = judge.standings().get(place);
        model.is_some_and(|model| standing.is_some_and(|standing| standing.lacks.contains(model)))
    }

    fn take_trial(&self, place: usize, now: Tick) -> bool {
        let mut judge = self.judge.lock();
        let taken = judge.take_trial(place, now);
        self.publish(&judge);
        taken
    }

    /// The better one of two.
    fn better(&self, want: &Want<'_>, (one, other): (usize, usize), now: Tick) -> Option<usize> {
        let of = |place: usize| Some(self.endpoints.get(place)?.score(want.cost, &self.rules, now));
        let (first, second) = (of(one)?, of(other)?);
        Some(if second < first { other } else { one })
    }

    /// The endpoint that may remember the beginning of the prompt, if it is little enough loaded.
    fn remembering(&self, want: &Want<'_>, chosen: usize, (bound, now): (bool, Tick)) -> usize {
        let (Some(remembered), Some(beginnings)) = (&self.remembered, want.beginnings) else { return chosen };
        let preferred = || {
            let place = remembered.find(beginnings).filter(|place| *place != chosen && !bound)?;
            let (endpoint, other) = (self.endpoints.get(place)?, self.endpoints.get(chosen)?);
            let word = endpoint.stance.load(Relaxed);
            let fit = Stance::of(word) == Stance::Well && (word & LACKS == 0 || !self.lacks(place, want.model));
            let loads = (endpoint.load(&self.rules, now), other.load(&self.rules, now));
            (fit && may_be_preferred(loads.0, loads.1, want.cost)).then_some(place)
        };
        let endpoint = preferred().unwrap_or(chosen);
        remembered.keep(beginnings, endpoint);
        endpoint
    }

    /// Tells the hot path what was decided.
    fn publish(&self, judge: &Judge) {
        let mut odd = false;
        for (endpoint, standing) in self.endpoints.iter().zip(judge.standings()) {
            let word = Stance::from(standing) as u32 | if standing.lacks.is_empty() { 0 } else { LACKS };
            if standing.seat != Seat::In {
                // It begins anew when it comes back.
                endpoint.streaks.store(0, Relaxed);
            }
            endpoint.stance.store(word, Relaxed);
            let rising = standing.rising.filter(|_| self.endpoints.len() > 1);
            endpoint.rising.store(rising.map_or(0, |since| since.0), Relaxed);
            odd |= word != 0 || rising.is_some();
        }
        self.odd.store(odd, Relaxed);
        self.gated.store(judge.breaker() != Breaker::Closed(0), Relaxed);
    }

    /// A number that nobody gains by foreseeing.
    fn random(&self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Default for FleetRules {
    fn default() -> Self {
        Self {
            standing: StandingRules::default(),
            retry: RetryRules::default(),
            hedge: None,
            prefix_affinity: false,
            check_every: Duration::ZERO,
        }
    }
}

impl Endpoint {
    fn new((address, weight): (Address, f64)) -> Self {
        Self {
            address,
            weight,
            stance: AtomicU32::new(0),
            rising: AtomicU64::new(0),
            running: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            streaks: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            slowness: AtomicU64::new(0),
            check_at: AtomicU64::new(0),
        }
    }

    /// Cost in flight, and the weight that it is carried by now.
    fn load(&self, rules: &FleetRules, now: Tick) -> (u64, f64) {
        let rising = self.rising.load(Relaxed);
        let share = if rising == 0 { 1.0 } else { share(now.since(Tick(rising)), rules.standing.slow_start) };
        (self.running.load(Relaxed) % ONE, self.weight * share)
    }

    fn score(&self, cost: u64, rules: &FleetRules, now: Tick) -> f64 {
        let (load, weight) = self.load(rules, now);
        score(load, cost.max(1), weight, Pace::unpacked(self.pace.load(Relaxed)).slowness(now))
    }

    /// What it did since the last sweep; it begins anew.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    fn window(&self) -> Window {
        let timed = self.timed.swap(0, Relaxed);
        let slowness = self.slowness.swap(0, Relaxed) as f64 / GRAIN / timed.max(1) as f64;
        Window { answered: self.answered.swap(0, Relaxed), failed: self.failed.swap(0, Relaxed), timed, slowness }
    }
}

impl Stance {
    const fn of(word: u32) -> Self {
        match word & 0xff {
            0 => Self::Well,
            1 => Self::Out,
            2 => Self::Trial,
            4 => Self::Warming,
            _ => Self::Unready,
        }
    }

    const fn from(standing: &Standing) -> Self {
        match (standing.readiness, standing.seat) {
            (Readiness::Unready, _) => Self::Unready,
            (_, Seat::Out(_) | Seat::Trying(_)) => Self::Out,
            (_, Seat::Trial) => Self::Trial,
            (Readiness::Unasked, Seat::In) => Self::Warming,
            (Readiness::Ready, Seat::In) => Self::Well,
        }
    }
}

/// Nothing can be sent for now.
fn refused(wait: Duration, why: &'static str) -> Refusal {
    // Whole seconds are what `Retry-After` can say.
    Refusal::new(Code::Overloaded).retry_after(wait.max(Duration::from_secs(1))).because(why)
}

mod heir;
#[cfg(test)]
mod tests;
