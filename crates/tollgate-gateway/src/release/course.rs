//! How far a release has come, and what moves it by itself: outcomes of calls against a candidate, and steps towards 100 %.
//!
//! Pure: the time comes in, and so does what is random. What an operator does stands in `levers`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::compare::Comparison;
use super::evidence::{Case, Kind};
use super::pace::Pace;
use super::terms::{MOST, OnRegression, Terms};
use crate::upstream::canary::choose;

/// How many turns of a release are kept.
const REMEMBERED: usize = 32;
/// Suspicion at which the callers of a candidate are dealt anew for each call, and after that many of those calls no more.
const SUSPICION: f64 = 20.0;
const DOUBTED_CALLS: u32 = 1_000;
/// A candidate of which more than this is known is not promoted by itself.
const CLEAN: f64 = 2.0;

/// Where the versions of one model stand.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Progress {
    /// The version that the others are measured by.
    pub(super) baseline: usize,
    /// The baseline before.
    pub(super) previous: Option<usize>,
    /// One for each version.
    pub(super) lanes: Vec<Lane>,
    /// What happened, the newest last.
    pub(super) past: VecDeque<Turn>,
}

/// Where one version stands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Lane {
    /// Its share of the calls, in percent.
    pub(super) weight: u8,
    /// What it is.
    pub(super) standing: Standing,
    /// What is known against it.
    pub(super) case: Case,
    /// What speaks against it as long as its callers stay with it.
    pub(super) doubt: Doubt,
    /// What it did since its trial began.
    pub(super) tally: Tally,
    /// Since when it has this weight, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// Calls that it served since then.
    pub(super) step_calls: u64,
    /// How fast it is.
    #[serde(skip)]
    pub(super) pace: Pace,
}

/// What a version is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The one that the others are measured by.
    Baseline,
    /// Serves nothing.
    #[default]
    Idle,
    /// Found worse, and only watched.
    Regressed,
    /// Found worse, or sent back by somebody: serves nothing until it is started again.
    RolledBack,
    /// On trial.
    Trial,
}

/// Why callers that stay with a version are dealt anew: what their calls show may be their own doing, and only a lot can
/// tell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Doubt {
    pub(super) case: Case,
    pub(super) active: bool,
    calls: u32,
    bar: f64,
    /// The candidate's share of the calls of late.
    #[serde(default)]
    share: Share,
}

/// How many of the last calls of those who stay were the candidate's, and how many the baseline's, older ones for less. That
/// and not the weight is the chance of a call where callers stay: they may ask more or less often than others, and whoever
/// waits for a slow version does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Share {
    candidate: f64,
    baseline: f64,
}

/// What a call matters less with each that follows.
const FADE: f64 = 0.999;
/// What the weight says counts as much as this many calls.
const ASSUMED: f64 = 2.0;

/// Counts of one version.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Tally {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) broken: u64,
    pub(super) slow: u64,
    pub(super) mirrored: u64,
    pub(super) skipped: u64,
    pub(super) mismatched: u64,
    pub(super) status_differs: u64,
    pub(super) shape_differs: u64,
    pub(super) labels_differ: u64,
    pub(super) numbers_differ: u64,
    pub(super) max_abs: f64,
    pub(super) max_relative: f64,
    pub(super) faster: u64,
}

/// One thing that happened to a version.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Turn {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What.
    pub act: Act,
    /// To which version, by place.
    pub version: usize,
    /// Its weight before and after.
    pub weight: [u8; 2],
    /// By whom.
    pub by: By,
    /// Why, in words.
    pub why: String,
}

/// What may happen to a version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It was given more calls, or all of them.
    Promote,
    /// It was found worse and stays, as the configuration wants.
    Regress,
    /// It gets no more calls.
    Rollback,
    /// Its trial began.
    Start,
}

impl Act {
    /// The word used in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Regress => "regress",
            Self::Rollback => "rollback",
            Self::Start => "start",
        }
    }
}

/// Who moved a release.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// It moved by itself.
    Gateway,
    /// Somebody with the admin key.
    Operator,
}

/// Which version serves a call, and what the chances were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The version.
    pub version: usize,
    /// The chance of each candidate against the baseline; 0 where it was out of the question.
    chances: [f64; MOST],
    /// The lot was drawn for this call alone.
    exact: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The version failed to answer it.
    pub failed: bool,
    /// The reply broke its contract.
    pub broken: bool,
    /// How long it took to the beginning of its answer.
    pub latency: Latency,
}

/// How long a call took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Latency {
    /// Its client left before there was an answer.
    AtLeast(u32),
    /// To the beginning of its answer.
    Exactly(u32),
    /// It was not answered.
    #[default]
    Unknown,
}

/// What decides where a call goes.
pub struct Lot<F: Fn(usize) -> u64> {
    /// Uniform bits for each version: the same ones for the same key.
    pub draw: F,
    /// Whether they come from a key, so that the next call of that key goes the same way.
    pub sticky: bool,
    /// Bits for this call alone.
    pub coin: u64,
}

impl Default for Doubt {
    fn default() -> Self {
        Self { case: Case::default(), active: false, calls: 0, bar: SUSPICION, share: Share::default() }
    }
}

impl Progress {
    /// Where a release begins.
    #[must_use]
    pub fn begin(terms: &Terms, now_ms: u64) -> Self {
        let heaviest = terms.versions.iter().enumerate().max_by_key(|(place, version)| (version.weight, MOST - place));
        let baseline = heaviest.map_or(0, |(place, _)| place);
        let lane = |(place, version): (usize, &super::terms::Version)| Lane {
            weight: version.weight,
            standing: match (place == baseline, version.weight > 0 || version.shadow > 0) {
                (true, _) => Standing::Baseline,
                (false, true) => Standing::Trial,
                (false, false) => Standing::Idle,
            },
            since_ms: now_ms,
            ..Lane::default()
        };
        let lanes = terms.versions.iter().enumerate().map(lane).collect();
        Self { baseline, previous: None, lanes, past: VecDeque::new() }
    }

    /// Whether what was read back from a file is what this type writes for so many versions.
    #[must_use]
    pub fn is_sound(&self, versions: usize) -> bool {
        let whole = self.lanes.iter().map(|lane| u32::from(lane.weight)).sum::<u32>() == 100;
        let sound = |lane: &Lane| {
            lane.case.is_sound()
                && lane.doubt.case.is_sound()
                && lane.doubt.bar.is_finite()
                && lane.doubt.share.is_sound()
        };
        let places = self.past.iter().map(|turn| turn.version).chain(self.previous).chain([self.baseline]);
        whole
            && self.lanes.len() == versions
            && self.lanes.iter().all(sound)
            && places.into_iter().all(|place| place < versions)
            && self.past.len() <= REMEMBERED
    }

    /// Which version serves a call.
    pub fn choose(&self, lot: &Lot<impl Fn(usize) -> u64>) -> Choice {
        let weights = self.lanes.iter().map(|lane| lane.weight);
        let version = choose(weights, &lot.draw).unwrap_or(self.baseline);
        let mut choice = Choice { version, chances: [0.0; MOST], exact: !lot.sticky };
        if lot.sticky && self.lanes.get(version).is_some_and(|lane| lane.doubt.active) {
            // Its callers are what it is suspected by: only a lot for each of their calls can tell.
            choice.version = if lot.coin & 1 == 0 { version } else { self.baseline };
            choice.exact = true;
            if let Some(chance) = choice.chances.get_mut(version) {
                *chance = 0.5;
            }
            return choice;
        }
        let base = self.lanes.get(self.baseline).map_or(0, |lane| lane.weight);
        for (chance, lane) in choice.chances.iter_mut().zip(&self.lanes) {
            if lane.standing == Standing::Trial && lane.weight > 0 {
                *chance = f64::from(lane.weight) / (f64::from(lane.weight) + f64::from(base));
            }
        }
        choice
    }

    /// Learns what became of a call.
    pub fn see(&mut self, terms: &Terms, choice: &Choice, outcome: Outcome, now_ms: u64) -> Option<Turn> {
        let mark = self.lanes.get(self.baseline).and_then(|lane| lane.pace.mark());
        let by_candidate = mark.map(|mark| f64::from(mark) * terms.slower);
        let of_baseline = choice.version == self.baseline;
        for (place, (lane, chance)) in self.lanes.iter_mut().zip(choice.chances).enumerate() {
            let hit = place == choice.version;
            if chance > 0.0 && lane.standing == Standing::Trial && (hit || of_baseline) {
                let limit = if hit { by_candidate } else { mark.map(f64::from) };
                lane.weigh(choice.exact, chance, hit, (outcome, outcome.latency.exceeds(limit)));
            }
        }
        if let Some(lane) = self.lanes.get_mut(choice.version) {
            let limit = if of_baseline { mark.map(f64::from) } else { by_candidate };
            lane.count(outcome, outcome.latency.exceeds(limit));
        }
        self.verdict(terms, now_ms)
    }

    /// Learns how the answer of a mirrored call compares.
    pub fn compared(&mut self, terms: &Terms, version: usize, found: &Comparison, now_ms: u64) -> Option<Turn> {
        let lane = self.lanes.get_mut(version)?;
        lane.tally.compare(found);
        if let Some(tolerated) = terms.drift.filter(|_| lane.standing == Standing::Trial) {
            // The chance that is bet against is the share of mismatches that is tolerated.
            lane.case.drift.see(tolerated, !found.is_same());
        }
        self.verdict(terms, now_ms)
    }

    /// Since when a version has its weight.
    pub(super) fn since(&self, place: usize) -> u64 {
        self.lanes.get(place).map_or(0, |lane| lane.since_ms)
    }

    /// Whether a version is on trial.
    pub(super) fn is_on_trial(&self, place: usize) -> bool {
        self.lanes.get(place).is_some_and(|lane| lane.standing == Standing::Trial)
    }

    /// A call that should have been mirrored and was not.
    pub fn skipped(&mut self, version: usize) {
        if let Some(lane) = self.lanes.get_mut(version) {
            lane.tally.skipped += 1;
        }
    }

    /// Gives a candidate its next step, where that is due.
    pub fn advance(&mut self, terms: &Terms, now_ms: u64) -> Option<Turn> {
        let hold = u64::try_from(terms.hold.as_millis()).unwrap_or(u64::MAX);
        let due = |lane: &Lane| {
            lane.standing == Standing::Trial
                && lane.weight > 0
                && now_ms.saturating_sub(lane.since_ms) >= hold
                && lane.step_calls >= terms.min_calls
                && lane.case.wealth() < CLEAN
                && !lane.doubt.active
        };
        let ready = |(place, lane): (usize, &Lane)| {
            let next = terms.next_step(lane.weight).filter(|_| due(lane))?;
            Some((place, next, lane.step_calls))
        };
        let ready: Vec<_> = self.lanes.iter().enumerate().filter_map(ready).collect();
        // One for which there is no weight left must not keep the others.
        ready.into_iter().find_map(|(version, next, served)| {
            let before = self.weigh_anew(version, next).ok()?;
            let why = format!("{served} calls at this weight, and nothing against it");
            let (act, weight) = (Act::Promote, [before, next]);
            Some(self.remember(Turn { time_ms: now_ms, act, version, weight, by: By::Gateway, why }))
        })
    }

    /// Whether a candidate is found worse.
    fn verdict(&mut self, terms: &Terms, now_ms: u64) -> Option<Turn> {
        let bar = 1.0 / terms.alpha;
        let guilty = |lane: &Lane| lane.standing == Standing::Trial && lane.case.wealth() >= bar;
        let place = self.lanes.iter().position(guilty)?;
        let lane = self.lanes.get_mut(place)?;
        let kind = lane.case.strongest();
        let why = format!("{}: evidence {:.0} of {bar:.0}", kind.words(), lane.case.wealth());
        let before = lane.weight;
        let (act, after) = match terms.on_regression {
            OnRegression::Rollback => (Act::Rollback, 0),
            OnRegression::Watch => (Act::Regress, before),
        };
        if act == Act::Rollback {
            self.send_back(place);
        } else {
            lane.standing = Standing::Regressed;
        }
        let by = By::Gateway;
        Some(self.remember(Turn { time_ms: now_ms, act, version: place, weight: [before, after], by, why }))
    }

    /// Takes a version's calls away and gives them to the baseline.
    pub(super) fn send_back(&mut self, place: usize) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let freed = std::mem::take(&mut lane.weight);
        lane.standing = Standing::RolledBack;
        lane.doubt.active = false;
        if let Some(baseline) = self.lanes.get_mut(self.baseline) {
            baseline.weight = baseline.weight.saturating_add(freed).min(100);
        }
    }

    /// Gives a version another weight at the baseline's expense; one that has it all is the new baseline. The weight before.
    ///
    /// # Errors
    /// Other candidates have what it would take.
    pub(super) fn weigh_anew(&mut self, place: usize, weight: u8) -> Result<u8, u8> {
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != place && *other != self.baseline);
        let taken: u8 = others.map(|(_, lane)| lane.weight).fold(0, u8::saturating_add);
        let free = 100_u8.saturating_sub(taken);
        if weight > free {
            return Err(free);
        }
        let Some(lane) = self.lanes.get_mut(place) else { return Err(free) };
        let before = std::mem::replace(&mut lane.weight, weight);
        lane.step_calls = 0;
        if let Some(baseline) = self.lanes.get_mut(self.baseline) {
            baseline.weight = free - weight;
        }
        if weight == 100 {
            self.crown(place);
        }
        Ok(before)
    }

    /// Makes a version the baseline.
    fn crown(&mut self, place: usize) {
        if place != self.baseline {
            self.previous = Some(self.baseline);
        }
        self.baseline = place;
        for (other, lane) in self.lanes.iter_mut().enumerate() {
            lane.case = Case::default();
            lane.doubt = Doubt::default();
            lane.standing = match lane.standing {
                _ if other == place => Standing::Baseline,
                Standing::RolledBack => Standing::RolledBack,
                _ => Standing::Idle,
            };
        }
    }

    pub(super) fn remember(&mut self, turn: Turn) -> Turn {
        if self.past.len() >= REMEMBERED {
            self.past.pop_front();
        }
        if let Some(lane) = self.lanes.get_mut(turn.version) {
            lane.since_ms = turn.time_ms;
        }
        self.past.push_back(turn.clone());
        turn
    }
}

impl Lane {
    /// Weighs a call of this candidate or of the baseline beside it.
    fn weigh(&mut self, exact: bool, chance: f64, hit: bool, (outcome, slow): (Outcome, bool)) {
        let (case, chance) = match (exact, self.doubt.active) {
            (true, _) => (&mut self.case, chance),
            (false, false) => (&mut self.doubt.case, self.doubt.share.see(chance, hit)),
            (false, true) => return,
        };
        for (kind, bad) in [(Kind::Failures, outcome.failed), (Kind::Broken, outcome.broken), (Kind::Slow, slow)] {
            if bad {
                case.of_mut(kind).see(chance, hit);
            }
        }
        let doubt = &mut self.doubt;
        if !exact && doubt.case.wealth() >= doubt.bar {
            (doubt.active, doubt.calls) = (true, 0);
        }
        if exact && doubt.active {
            doubt.calls = doubt.calls.saturating_add(1);
            if doubt.calls >= DOUBTED_CALLS {
                // It was the callers. The next suspicion must be a stronger one.
                *doubt = Doubt { bar: (doubt.bar * 2.0).min(1e9), share: doubt.share, ..Doubt::default() };
            }
        }
    }

    fn count(&mut self, outcome: Outcome, slow: bool) {
        let Tally { calls, failed, broken, slow: slow_calls, .. } = &mut self.tally;
        self.step_calls = self.step_calls.saturating_add(1);
        for (counter, holds) in [(calls, true), (failed, outcome.failed), (broken, outcome.broken), (slow_calls, slow)]
        {
            *counter = counter.saturating_add(u64::from(holds));
        }
        if let Latency::Exactly(latency) = outcome.latency {
            self.pace.add(latency);
        }
    }
}

impl Share {
    /// The chance of a call that comes, where its version's weight makes it `chance`; then counts it.
    fn see(&mut self, chance: f64, hit: bool) -> f64 {
        let Self { candidate, baseline } = self;
        let share = ASSUMED.mul_add(chance, *candidate) / (ASSUMED + *candidate + *baseline);
        let one = f64::from(hit);
        (*candidate, *baseline) = (candidate.mul_add(FADE, one), baseline.mul_add(FADE, 1.0 - one));
        share
    }

    fn is_sound(self) -> bool {
        [self.candidate, self.baseline].iter().all(|count| (0.0..=1.0 / (1.0 - FADE) + 1.0).contains(count))
    }
}

impl Tally {
    fn compare(&mut self, found: &Comparison) {
        for (counter, holds) in [
            (&mut self.mirrored, true),
            (&mut self.mismatched, !found.is_same()),
            (&mut self.status_differs, found.status_differs),
            (&mut self.shape_differs, found.shape_differs),
            (&mut self.labels_differ, found.labels_differ),
            (&mut self.numbers_differ, found.numbers_differ),
            (&mut self.faster, found.faster),
        ] {
            *counter = counter.saturating_add(u64::from(holds));
        }
        self.max_abs = self.max_abs.max(found.max_abs).min(f64::MAX);
        self.max_relative = self.max_relative.max(found.max_relative).min(f64::MAX);
    }
}

impl Latency {
    fn exceeds(self, limit: Option<f64>) -> bool {
        match (self, limit) {
            (Self::AtLeast(us) | Self::Exactly(us), Some(limit)) => f64::from(us) > limit,
            _ => false,
        }
    }
}
