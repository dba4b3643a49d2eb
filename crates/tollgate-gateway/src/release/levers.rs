//! What an operator may do with a release: start, promote, roll back.

use serde::Deserialize;

use super::course::{Act, By, Lane, Progress, Standing, Turn};
use super::terms::Terms;

/// The weight that a trial begins with where nobody says one.
const FIRST: u8 = 5;

/// What an operator asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The model.
    pub model: String,
    /// What to do.
    pub act: Lever,
    /// With which version; not needed where only one can be meant.
    #[serde(default)]
    pub version: Option<String>,
    /// The weight in percent that it shall have.
    #[serde(default)]
    pub weight: Option<u8>,
}

/// What can be done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Lever {
    /// Give a version its next step, the weight that is asked for, or everything.
    Promote,
    /// Take a version's calls away; without one on trial, go back to the baseline before.
    Rollback,
    /// Begin the trial of a version, with nothing known of it.
    Start,
}

/// Why it cannot be done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// It is what the others are measured by.
    #[error("`{0}` is the baseline")]
    Baseline(String),
    /// Other candidates have the rest.
    #[error("only {0} % are free: other versions are on trial")]
    NotFree(u8),
    /// A rollback takes everything.
    #[error("a rollback has no `weight`")]
    Weighed,
    /// There is no release to speak of.
    #[error("no version is on trial, and there is no earlier baseline")]
    Nothing,
    /// It was sent back.
    #[error("`{0}` was rolled back: start it again")]
    RolledBack(String),
    /// More than one could be meant.
    #[error("say which version")]
    Unclear,
    /// It has no such version.
    #[error("`{0}` is not a version of this model")]
    Unknown(String),
    /// Out of range.
    #[error("`weight` is not {0}")]
    Weight(&'static str),
}

impl Progress {
    /// Does what an operator asks for.
    ///
    /// # Errors
    /// Why it cannot be done; nothing was changed.
    pub fn pull(&mut self, terms: &Terms, order: &Order, now_ms: u64) -> Result<Turn, Wrong> {
        let named = order.version.as_deref().map(|name| {
            terms.place(name).filter(|place| *place < self.lanes.len()).ok_or_else(|| Wrong::Unknown(name.to_owned()))
        });
        let named = named.transpose()?;
        match order.act {
            Lever::Promote => self.promote(terms, (named, order.weight), now_ms),
            Lever::Rollback if order.weight.is_some() => Err(Wrong::Weighed),
            Lever::Rollback => self.roll_back(terms, named, now_ms),
            Lever::Start => self.start(terms, (named, order.weight), now_ms),
        }
    }

    fn start(&mut self, terms: &Terms, (named, weight): (Option<usize>, Option<u8>), now: u64) -> Result<Turn, Wrong> {
        let place = match named {
            Some(place) => place,
            None => self.only(|lane| lane.standing != Standing::Baseline)?.ok_or(Wrong::Nothing)?,
        };
        self.not_baseline(terms, place)?;
        let mirrors = terms.versions.get(place).is_some_and(|version| version.shadow > 0);
        let weight = weight.unwrap_or_else(|| terms.steps.first().copied().unwrap_or(FIRST).min(99));
        match weight {
            100.. => return Err(Wrong::Weight("less than 100: promote it when its trial is over")),
            0 if !mirrors => return Err(Wrong::Weight("0 for a version without `shadow`: nothing would be learned")),
            _ => {}
        }
        let before = self.weigh_anew(place, weight).map_err(Wrong::NotFree)?;
        self.try_anew(place, weight);
        Ok(self.did(Act::Start, place, [before, weight], now))
    }

    fn promote(
        &mut self,
        terms: &Terms,
        (named, weight): (Option<usize>, Option<u8>),
        now: u64,
    ) -> Result<Turn, Wrong> {
        let place = match named {
            Some(place) => place,
            None => self.only(on_trial)?.ok_or(Wrong::Nothing)?,
        };
        self.not_baseline(terms, place)?;
        let Some(lane) = self.lanes.get_mut(place) else { return Err(Wrong::Nothing) };
        if lane.standing == Standing::RolledBack {
            return Err(Wrong::RolledBack(terms.name(place).to_owned()));
        }
        let weight = weight.or_else(|| terms.next_step(lane.weight)).unwrap_or(100);
        if !(1..=100).contains(&weight) {
            return Err(Wrong::Weight("1 to 100"));
        }
        let fresh = lane.standing == Standing::Idle;
        let before = self.weigh_anew(place, weight).map_err(Wrong::NotFree)?;
        if fresh && weight < 100 {
            self.try_anew(place, weight);
        }
        Ok(self.did(Act::Promote, place, [before, weight], now))
    }

    fn roll_back(&mut self, terms: &Terms, named: Option<usize>, now: u64) -> Result<Turn, Wrong> {
        let place = match named {
            Some(place) => place,
            None => self.only(on_trial)?.unwrap_or(self.baseline),
        };
        if place != self.baseline {
            let before = self.lanes.get(place).map_or(0, |lane| lane.weight);
            self.send_back(place);
            return Ok(self.did(Act::Rollback, place, [before, 0], now));
        }
        let back = match self.previous {
            Some(back) => back,
            None if named.is_some() => return Err(Wrong::Baseline(terms.name(place).to_owned())),
            None => return Err(Wrong::Nothing),
        };
        let before = self.lanes.get(place).map_or(0, |lane| lane.weight);
        for lane in &mut self.lanes {
            lane.weight = 0;
        }
        self.weigh_anew(back, 100).map_err(Wrong::NotFree)?;
        self.previous = None;
        self.send_back(place);
        Ok(self.did(Act::Rollback, place, [before, 0], now))
    }

    /// The one version that is so.
    fn only(&self, is_so: impl Fn(&Lane) -> bool) -> Result<Option<usize>, Wrong> {
        let mut found = self.lanes.iter().enumerate().filter(|(_, lane)| is_so(lane)).map(|(place, _)| place);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Wrong::Unclear),
            (found, None) => Ok(found),
        }
    }

    fn not_baseline(&self, terms: &Terms, place: usize) -> Result<(), Wrong> {
        if place == self.baseline { Err(Wrong::Baseline(terms.name(place).to_owned())) } else { Ok(()) }
    }

    fn did(&mut self, act: Act, version: usize, weight: [u8; 2], time_ms: u64) -> Turn {
        let why = "asked for".to_owned();
        self.remember(Turn { time_ms, act, version, weight, by: By::Operator, why })
    }
}

fn on_trial(lane: &Lane) -> bool {
    matches!(lane.standing, Standing::Regressed | Standing::Trial)
}
