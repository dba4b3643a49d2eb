//! Guards and gates: mode, failure policy and journal live here once, and nowhere in a layer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal::{Event, Journal, Notes};
use crate::ruling::{Denial, Ruling, Stop};
use crate::stage::{STAGES, Stage};

/// Whether a layer decides, is only watched, or is absent.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A refusal refuses.
    #[default]
    Enforce,
    /// A refusal is recorded and the request passes.
    Observe,
    /// The layer is not asked.
    Off,
}

/// What a fault of a layer means for the request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// The request is refused with `unavailable`.
    #[default]
    Close,
    /// The request passes; the fault is recorded.
    Open,
}

/// The two settings that every guard has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Switch {
    /// Enforce, observe or off.
    pub mode: Mode,
    /// Close or open.
    pub on_fault: OnFault,
}

/// What one route says of the modes of stages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Switches([Option<Mode>; STAGES]);

impl Switches {
    /// Sets the mode of `stage` for the route.
    pub const fn set(&mut self, stage: Stage, mode: Mode) {
        self.0[stage.index()] = Some(mode);
    }

    /// The mode that the route sets for `stage`.
    #[must_use]
    pub fn mode_of(&self, stage: Stage) -> Option<Mode> {
        self.0.get(stage.index()).copied().flatten()
    }
}

/// A layer that the pipeline can do without: it may be off, only watched, or fail open.
#[derive(Debug)]
pub struct Guard<L> {
    /// Its stage.
    pub stage: Stage,
    /// Its settings; the route of an exchange may override the mode.
    pub switch: Switch,
    /// The compiled layer, absent where the configuration has none.
    pub layer: Option<L>,
}

impl<L> Guard<L> {
    /// Asks a layer that decides at once. `T: Default` is what a watched or absent layer answers.
    ///
    /// # Errors
    /// The public part of a refusal or fault that this guard enforces.
    pub fn ask<'a, T: Default>(
        &'a self,
        journal: &mut Journal,
        question: impl FnOnce(&'a L, &mut Notes<'_>) -> Ruling<T>,
    ) -> Result<T, Denial> {
        let mode = self.mode(journal);
        let Some(layer) = self.active(mode) else { return Ok(T::default()) };
        let ruling = question(layer, &mut journal.notes(self.stage).under(mode));
        self.apply(journal, mode, ruling)
    }

    /// Asks a layer that may have to wait for a store.
    ///
    /// # Errors
    /// The public part of a refusal or fault that this guard enforces.
    pub async fn ask_store<'a, T: Default, F>(
        &'a self,
        journal: &mut Journal,
        question: impl FnOnce(&'a L) -> F,
    ) -> Result<T, Denial>
    where
        F: Future<Output = Ruling<T>>,
    {
        let mode = self.mode(journal);
        let Some(layer) = self.active(mode) else { return Ok(T::default()) };
        let ruling = question(layer).await;
        self.apply(journal, mode, ruling)
    }

    /// The mode in effect for an exchange: its route's, or the section's own.
    #[must_use]
    pub fn mode(&self, journal: &Journal) -> Mode {
        journal.mode_of(self.stage).unwrap_or(self.switch.mode)
    }

    fn active(&self, mode: Mode) -> Option<&L> {
        self.layer.as_ref().filter(|_| mode != Mode::Off)
    }

    fn apply<T: Default>(&self, journal: &mut Journal, mode: Mode, ruling: Ruling<T>) -> Result<T, Denial> {
        let watched = mode == Mode::Observe;
        let passing = match ruling {
            Ok(value) => {
                journal.note(self.stage, Event::Passed);
                return Ok(value);
            }
            Err(Stop::Refuse(refusal)) if watched => Event::WouldRefuse(refusal),
            Err(Stop::Fault(fault)) if watched || self.switch.on_fault == OnFault::Open => Event::Faulted(fault),
            Err(stop) => return Err(journal.stop(self.stage, stop)),
        };
        journal.note(self.stage, passing);
        Ok(T::default())
    }
}

/// A layer whose value the pipeline cannot invent: it is always asked and always closed.
#[derive(Debug)]
pub struct Gate<L> {
    /// Its stage.
    pub stage: Stage,
    /// The compiled layer.
    pub layer: L,
}

impl<L> Gate<L> {
    /// Asks a layer that decides at once.
    ///
    /// # Errors
    /// The public part of its refusal or fault.
    pub fn demand<'a, T>(
        &'a self,
        journal: &mut Journal,
        question: impl FnOnce(&'a L, &mut Notes<'_>) -> Ruling<T>,
    ) -> Result<T, Denial> {
        let ruling = question(&self.layer, &mut journal.notes(self.stage));
        self.apply(journal, ruling)
    }

    /// Asks a layer that may have to wait for a store.
    ///
    /// # Errors
    /// The public part of its refusal or fault.
    pub async fn demand_store<'a, T, F>(
        &'a self,
        journal: &mut Journal,
        question: impl FnOnce(&'a L) -> F,
    ) -> Result<T, Denial>
    where
        F: Future<Output = Ruling<T>>,
    {
        let ruling = question(&self.layer).await;
        self.apply(journal, ruling)
    }

    fn apply<T>(&self, journal: &mut Journal, ruling: Ruling<T>) -> Result<T, Denial> {
        match ruling {
            Ok(value) => {
                journal.note(self.stage, Event::Passed);
                Ok(value)
            }
            Err(stop) => Err(journal.stop(self.stage, stop)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruling::{Code, Fault, Origin, Refusal};

    fn guard(mode: Mode, on_fault: OnFault) -> Guard<()> {
        Guard { stage: Stage::Limits, switch: Switch { mode, on_fault }, layer: Some(()) }
    }

    fn refuse(_: &(), _: &mut Notes<'_>) -> Ruling<()> {
        Err(Refusal::new(Code::RateLimited).because("spent").into())
    }

    fn fault(_: &(), _: &mut Notes<'_>) -> Ruling<()> {
        Err(Fault::new(Origin::Store, "gone").into())
    }

    #[test]
    fn an_enforcing_guard_refuses() {
        let mut journal = Journal::default();
        let denial = guard(Mode::Enforce, OnFault::Close).ask(&mut journal, refuse).expect_err("it refuses");
        assert_eq!(denial.code, Code::RateLimited);
    }

    #[test]
    fn a_watched_guard_lets_pass_and_keeps_the_evidence() {
        let mut journal = Journal::default();
        guard(Mode::Observe, OnFault::Close).ask(&mut journal, refuse).expect("watched");
        let Event::WouldRefuse(refusal) = &journal.entries()[0].event else { panic!("no would_refuse") };
        assert_eq!(refusal.evidence(), "spent");
    }

    #[test]
    fn a_fault_closes_by_default_and_passes_when_open_or_watched() {
        let mut journal = Journal::default();
        let denial = guard(Mode::Enforce, OnFault::Close).ask(&mut journal, fault).expect_err("closed");
        assert_eq!(denial.code, Code::Unavailable);
        guard(Mode::Enforce, OnFault::Open).ask(&mut journal, fault).expect("open");
        guard(Mode::Observe, OnFault::Close).ask(&mut journal, fault).expect("watched");
    }

    #[test]
    fn the_route_overrides_the_mode() {
        let mut journal = Journal::default();
        let mut switches = Switches::default();
        switches.set(Stage::Limits, Mode::Off);
        journal.override_switches(switches);
        guard(Mode::Enforce, OnFault::Close).ask(&mut journal, refuse).expect("off for this route");
        assert!(journal.entries().is_empty());
    }
}
