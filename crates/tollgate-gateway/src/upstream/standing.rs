//! How each endpoint of an upstream stands: what our own checks found, whether its answers got it ejected, and what it
//! takes to come back.
//!
//! Pure: facts and times in, standings out. The hot path never looks here: `fleet` keeps a word for each endpoint that says
//! whether there is anything to look at.

use std::collections::BTreeSet;
use std::time::Duration;

use tollgate_core::time::Tick;

use super::breaker::{Breaker, BreakerRules};
use super::outlier::{EjectionRules, Outcome, Reason, Window, outliers};

/// The rules that endpoints are held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandingRules {
    /// When an endpoint is ejected.
    pub ejection: EjectionRules,
    /// When all of them are closed.
    pub breaker: BreakerRules,
    /// Checks in a row that must fail before an endpoint is not ready.
    pub check_failures: u16,
    /// Checks in a row that must pass before it is ready again.
    pub check_passes: u16,
    /// How long an endpoint that came back gets less than its share.
    pub slow_start: Duration,
}

/// What our own checks say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Checked {
    /// It is ready, but for these models.
    Ready(BTreeSet<Box<str>>),
    /// It is not, and why.
    Unready(String),
}

/// Readiness, by our own checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// It failed its checks: nothing is sent there.
    Unready,
    /// No check has said anything yet: used while no other endpoint is better.
    Unasked,
    /// It passed, or nobody asks.
    Ready,
}

/// Its place among its siblings, by its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seat {
    /// It gets its share.
    In,
    /// It gets nothing before that tick.
    Out(Tick),
    /// It gets one request.
    Trial,
    /// That one is on its way; lost if it says nothing before the tick.
    Trying(Tick),
}

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub struct Standing {
    /// By our own checks.
    pub readiness: Readiness,
    /// By its answers.
    pub seat: Seat,
    /// Since when its share grows, while it does.
    pub rising: Option<Tick>,
    /// Models that it is not ready for.
    pub lacks: BTreeSet<Box<str>>,
    /// What its last check that failed said.
    pub said: String,
    /// How often it was ejected, by reason.
    pub ejections: [u64; Reason::ALL.len()],
    /// How often in a row it was ejected, less one for each sweep that it was in.
    times: u32,
    failing: u16,
    passing: u16,
}

/// How all endpoints of one face of an upstream stand.
#[derive(Debug)]
pub struct Judge {
    rules: StandingRules,
    standings: Vec<Standing>,
    breaker: Breaker,
    dice: u64,
}

/// A trial that has not said anything for this long is forgotten.
const TRIAL: Duration = Duration::from_secs(60);

impl Judge {
    /// A judge of so many endpoints. With `checked`, they are not ready before a check passes.
    #[must_use]
    pub fn new(endpoints: usize, checked: bool, rules: StandingRules, dice: u64) -> Self {
        let readiness = if checked { Readiness::Unasked } else { Readiness::Ready };
        let standing = Standing {
            readiness,
            seat: Seat::In,
            rising: None,
            lacks: BTreeSet::new(),
            said: String::new(),
            ejections: Default::default(),
            times: 0,
            failing: 0,
            passing: 0,
        };
        Self { rules, standings: vec![standing; endpoints], breaker: Breaker::Closed(0), dice }
    }

    /// Goes on from another judge, before anything is sent: `of` says for each endpoint which one it was there. What our own
    /// checks found bad is to be found anew, because what is asked may be another question now.
    pub fn inherit(&mut self, before: &Self, of: &[Option<usize>]) {
        let most = most_out(self.standings.len(), self.rules.ejection.most_percent);
        let mut out = 0;
        for (standing, was) in self.standings.iter_mut().zip(of) {
            let Some(was) = was.and_then(|was| before.standings.get(was)) else { continue };
            let readiness = match (standing.readiness, was.readiness) {
                (Readiness::Unasked, Readiness::Ready) => Readiness::Ready,
                (own, _) => own,
            };
            *standing = Standing { readiness, said: String::new(), failing: 0, passing: 0, ..was.clone() };
            if standing.seat != Seat::In {
                out += 1;
            }
            standing.seat = match standing.seat {
                // Fewer may be out of fewer.
                Seat::Out(_) if out > most => Seat::Trial,
                // Whoever tries it tells the judge before.
                Seat::Trying(_) => Seat::Trial,
                seat => seat,
            };
        }
        // Where an endpoint is new, nobody has found out yet that nothing answers.
        if of.iter().all(Option::is_some) {
            self.breaker = match before.breaker {
                Breaker::Half { times, .. } => Breaker::Open { until: Tick(0), times },
                breaker => breaker,
            };
        }
    }

    /// How each stands.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// The breaker of all of them.
    #[must_use]
    pub const fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// The same, to be asked.
    pub const fn breaker_mut(&mut self) -> &mut Breaker {
        &mut self.breaker
    }

    /// Learns how an attempt ended; `trial`: it was the one request of an endpoint on its way back. `too_many` says that
    /// its failures in a row are.
    pub fn told(&mut self, endpoint: usize, (outcome, trial): (Outcome, Trial), too_many: Option<Reason>, now: Tick) {
        self.breaker.told(outcome, trial.breaker, now, &self.rules.breaker);
        let Some(standing) = self.standings.get_mut(endpoint) else { return };
        match (trial.seat && matches!(standing.seat, Seat::Trying(_)), outcome) {
            (true, Outcome::Answered | Outcome::Began) => {
                standing.seat = Seat::In;
                standing.rising = Some(now);
            }
            (true, Outcome::Load) => standing.seat = Seat::Trial,
            (true, _) => self.out(endpoint, Reason::Trial, now),
            (false, _) => {
                if let Some(reason) = too_many {
                    self.eject(endpoint, reason, now);
                }
            }
        }
    }

    /// A trial ended without an outcome.
    pub fn trial_lost(&mut self, endpoint: usize, trial: Trial, now: Tick) {
        if trial.breaker {
            self.breaker.trial_lost(now);
        }
        let standing = self.standings.get_mut(endpoint).filter(|_| trial.seat);
        if let Some(seat @ Seat::Trying(_)) = standing.map(|standing| &mut standing.seat) {
            *seat = Seat::Trial;
        }
    }

    /// Takes the one request of an endpoint on its way back.
    pub fn take_trial(&mut self, endpoint: usize, now: Tick) -> bool {
        let Some(standing) = self.standings.get_mut(endpoint) else { return false };
        let free = standing.seat == Seat::Trial;
        if free {
            standing.seat = Seat::Trying(now.after(TRIAL));
        }
        free
    }

    /// Learns what one of our own checks found.
    pub fn checked(&mut self, endpoint: usize, found: Checked, now: Tick) {
        let (failures, passes) = (self.rules.check_failures.max(1), self.rules.check_passes.max(1));
        let Some(standing) = self.standings.get_mut(endpoint) else { return };
        match found {
            Checked::Ready(lacks) => {
                (standing.failing, standing.passing) = (0, standing.passing.saturating_add(1));
                standing.lacks = lacks;
                standing.said.clear();
                // The first one that passes is enough for an endpoint that has never failed.
                if standing.readiness == Readiness::Unasked || standing.passing >= passes {
                    if standing.readiness != Readiness::Ready {
                        standing.readiness = Readiness::Ready;
                        standing.rising = Some(now);
                    }
                    if matches!(standing.seat, Seat::Out(_)) {
                        standing.seat = Seat::Trial;
                    }
                    self.breaker.may_try(now);
                }
            }
            Checked::Unready(why) => {
                (standing.failing, standing.passing) = (standing.failing.saturating_add(1), 0);
                standing.said = why;
                if standing.failing >= failures {
                    standing.readiness = Readiness::Unready;
                }
            }
        }
    }

    /// Lets those come back whose time is over.
    pub fn due(&mut self, now: Tick) {
        let slow_start = self.rules.slow_start;
        for standing in &mut self.standings {
            match standing.seat {
                Seat::Out(until) | Seat::Trying(until) if until <= now => standing.seat = Seat::Trial,
                _ => {}
            }
            standing.rising = standing.rising.filter(|since| now.since(*since) < slow_start);
        }
    }

    /// Compares siblings by what they did since the last sweep.
    pub fn sweep(&mut self, windows: &[Window], now: Tick) {
        let seats = self.standings.iter().zip(windows);
        let compared: Vec<_> = seats.map(|(standing, window)| (standing.seat == Seat::In).then_some(*window)).collect();
        let found = outliers(&compared, &self.rules.ejection);
        for (place, standing) in self.standings.iter_mut().enumerate() {
            if standing.seat == Seat::In && !found.iter().any(|(out, _)| *out == place) {
                standing.times = standing.times.saturating_sub(1);
            }
        }
        for (place, reason) in found {
            self.eject(place, reason, now);
        }
    }

    /// Ejects an endpoint that is in, unless too many are out already.
    fn eject(&mut self, endpoint: usize, reason: Reason, now: Tick) {
        let out = self.standings.iter().filter(|standing| standing.seat != Seat::In).count();
        let is_in = self.standings.get(endpoint).is_some_and(|standing| standing.seat == Seat::In);
        if is_in && out < most_out(self.standings.len(), self.rules.ejection.most_percent) {
            self.out(endpoint, reason, now);
        }
    }

    fn out(&mut self, endpoint: usize, reason: Reason, now: Tick) {
        let EjectionRules { base, longest, .. } = self.rules.ejection;
        let jitter = self.jitter();
        let Some(standing) = self.standings.get_mut(endpoint) else { return };
        standing.times = standing.times.saturating_add(1);
        let time = base.saturating_mul(standing.times).min(longest);
        standing.seat = Seat::Out(now.after(time + time * jitter / 1024 / 10));
        standing.rising = None;
        if let Some(count) = standing.ejections.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// A number below 1024, so that those who were ejected together do not come back together.
    fn jitter(&mut self) -> u32 {
        // The step of Knuth's MMIX generator; nobody gains by foreseeing it.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 54) as u32
    }
}

/// What of a request is a trial.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trial {
    /// The one request of a breaker that is half open.
    pub breaker: bool,
    /// The one request of an endpoint on its way back.
    pub seat: bool,
}

impl Trial {
    /// Whether it is one at all.
    #[must_use]
    pub const fn is_one(self) -> bool {
        self.breaker || self.seat
    }
}

impl Standing {
    /// The word of metrics and of the admin API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match (self.readiness, self.seat) {
            (Readiness::Unready, _) => "unready",
            (_, Seat::Out(_)) => "ejected",
            (_, Seat::Trial | Seat::Trying(_)) => "half_open",
            (Readiness::Unasked, Seat::In) => "warming",
            (Readiness::Ready, Seat::In) if self.rising.is_some() => "slow_start",
            (Readiness::Ready, Seat::In) => "ready",
        }
    }

    /// Every word that [`Self::name`] has.
    pub const NAMES: [&'static str; 6] = ["ejected", "half_open", "ready", "slow_start", "unready", "warming"];
}

impl Default for StandingRules {
    fn default() -> Self {
        Self {
            ejection: EjectionRules::default(),
            breaker: BreakerRules::default(),
            check_failures: 3,
            check_passes: 2,
            slow_start: Duration::from_secs(60),
        }
    }
}

/// How many of so many endpoints may be out: never the last one, and of two at least one.
fn most_out(endpoints: usize, percent: u8) -> usize {
    let share = endpoints * usize::from(percent) / 100;
    share.max(usize::from(percent > 0)).min(endpoints.saturating_sub(1))
}

#[cfg(test)]
mod tests;
