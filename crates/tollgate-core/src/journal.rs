//! The journal: an inline, bounded, append-only record of what each stage said of one exchange.
//!
//! Nothing is allocated for a request that passes. Metrics, access lines and test assertions are folds over it.

use arrayvec::ArrayVec;

use crate::guard::{Mode, Switches};
use crate::ruling::{Denial, Fault, Refusal, Stop};
use crate::stage::{STAGES, Stage};
use crate::time::{Clock, Tick};

/// How many entries a journal holds: two for each stage and four to spare.
pub const ROOM: usize = 2 * STAGES + 4;
/// Places that only verdicts may take, so that notes can never push one out.
const KEPT_FOR_VERDICTS: usize = 4;
const _: () = assert!(ROOM > STAGES + KEPT_FOR_VERDICTS, "each stage must find a place for its verdict");

/// What a stage said.
#[derive(Debug)]
pub enum Event {
    /// The layer broke; what followed depends on its switch.
    Faulted(Box<Fault>),
    /// A number worth keeping.
    Noted(Fact, u32),
    /// The layer let it pass.
    Passed,
    /// The layer said no.
    Refused(Box<Refusal>),
    /// The layer would have said no, and is only watched.
    WouldRefuse(Box<Refusal>),
}

/// Names of numbers that stages note: a closed list, so that passing formats nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Fact {
    /// Place of the model that a refused call is about.
    Model,
    /// Requests seen ahead in the queue on entering it.
    QueueDepth,
    /// Microseconds spent in the queue.
    QueueWaitUs,
    /// Place of a version that this exchange was the last evidence against.
    Regressed,
    /// A reply broke its contract, whether it was let pass or not.
    ReplyBroken,
    /// A second attempt was made upstream.
    Retried,
    /// Budgets that were judged without the store that should have judged them.
    StoreAway,
    /// HTTP status of the model server.
    UpstreamStatus,
    /// Contract warnings that were let pass, such as unknown members.
    UnknownMembers,
}

impl Fact {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::QueueDepth => "queue_depth",
            Self::QueueWaitUs => "queue_wait_us",
            Self::Regressed => "regressed",
            Self::ReplyBroken => "reply_broken",
            Self::Retried => "retried",
            Self::StoreAway => "store_away",
            Self::UnknownMembers => "unknown_members",
            Self::UpstreamStatus => "upstream_status",
        }
    }
}

/// One line of the journal.
#[derive(Debug)]
pub struct Entry {
    /// Microseconds since the exchange began.
    pub at_us: u32,
    /// Who said it.
    pub stage: Stage,
    /// What was said.
    pub event: Event,
}

const _: () = assert!(size_of::<Entry>() <= 24, "a journal entry is 24 bytes");

/// The record of one exchange.
#[derive(Debug, Default)]
pub struct Journal {
    entries: ArrayVec<Entry, ROOM>,
    at_us: u32,
    lost: u32,
    switches: Switches,
    timing: Option<(Clock, Tick)>,
}

impl Journal {
    /// Reads `clock` at every entry from now on: done for a sample of exchanges, because a clock read costs more than
    /// the entry itself.
    pub fn time_each_stage(&mut self, clock: Clock, started: Tick) {
        self.timing = Some((clock, started));
    }

    /// Whether each entry carries its own time.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.timing.is_some()
    }

    /// Lets the route of this exchange override the switches of the stages that follow.
    pub const fn override_switches(&mut self, switches: Switches) {
        self.switches = switches;
    }

    /// The mode that this exchange's route sets for `stage`, if any.
    #[must_use]
    pub fn mode_of(&self, stage: Stage) -> Option<Mode> {
        self.switches.mode_of(stage)
    }

    /// Sets the time that the next entries carry.
    pub fn set_time(&mut self, since_start: std::time::Duration) {
        self.at_us = u32::try_from(since_start.as_micros()).unwrap_or(u32::MAX);
    }

    /// Appends an entry. Verdicts always find room; notes are counted once it is gone.
    pub fn note(&mut self, stage: Stage, event: Event) {
        if let Some((clock, started)) = &self.timing {
            self.at_us = u32::try_from(clock.now().since(*started).as_micros()).unwrap_or(u32::MAX);
        }
        let verdict = matches!(event, Event::Faulted(_) | Event::Refused(_));
        let room = if verdict { ROOM } else { ROOM - KEPT_FOR_VERDICTS };
        if self.entries.len() < room {
            self.entries.push(Entry { at_us: self.at_us, stage, event });
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Takes over what another journal of the same exchange says against it, and its notes, but not what passed.
    pub fn absorb(&mut self, other: Self) {
        for Entry { stage, event, .. } in other.entries {
            if !matches!(event, Event::Passed) {
                self.note(stage, event);
            }
        }
        self.lost = self.lost.saturating_add(other.lost);
    }

    /// Keeps a refusal that a layer decided not to enforce, if there is one.
    pub fn watched(&mut self, stage: Stage, refusal: Option<Box<Refusal>>) {
        if let Some(refusal) = refusal {
            self.note(stage, Event::WouldRefuse(refusal));
        }
    }

    /// Keeps the evidence of a stop and returns what the client may know of it.
    pub fn stop(&mut self, stage: Stage, stop: Stop) -> Denial {
        let denial = stop.denial();
        let event = match stop {
            Stop::Fault(fault) => Event::Faulted(fault),
            Stop::Refuse(refusal) => Event::Refused(refusal),
        };
        self.note(stage, event);
        denial
    }

    /// A pen for one stage.
    pub const fn notes(&mut self, stage: Stage) -> Notes<'_> {
        Notes { journal: self, stage, mode: Mode::Enforce }
    }

    /// What was said, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many notes found no room.
    #[must_use]
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// The verdict that ended the exchange: the last refusal or fault.
    #[must_use]
    pub fn verdict(&self) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| matches!(entry.event, Event::Refused(_) | Event::Faulted(_)))
    }

    /// The last number noted under `fact`.
    #[must_use]
    pub fn fact(&self, fact: Fact) -> Option<u32> {
        self.entries.iter().rev().find_map(|entry| match entry.event {
            Event::Noted(name, value) if name == fact => Some(value),
            _ => None,
        })
    }
}

/// A layer's pen: it writes under its own stage only.
#[derive(Debug)]
pub struct Notes<'a> {
    journal: &'a mut Journal,
    stage: Stage,
    mode: Mode,
}

impl Notes<'_> {
    /// The pen of a layer that is asked under `mode`.
    pub(crate) const fn under(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The mode in which the layer is asked: one that looks on from several places needs to know.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Keeps a number.
    pub fn note(&mut self, fact: Fact, value: u32) {
        self.journal.note(self.stage, Event::Noted(fact, value));
    }

    /// Keeps a refusal that the layer itself decided not to enforce.
    pub fn would_refuse(&mut self, refusal: Refusal) {
        self.journal.note(self.stage, Event::WouldRefuse(Box::new(refusal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruling::Code;

    #[test]
    fn a_full_journal_still_takes_a_verdict_and_counts_lost_notes() {
        let mut journal = Journal::default();
        for _ in 0..ROOM {
            journal.note(Stage::Queue, Event::Noted(Fact::QueueDepth, 1));
        }
        assert_eq!(journal.lost(), 4);
        let denial = journal.stop(Stage::Limits, Refusal::new(Code::RateLimited).because("spent").into());
        assert_eq!(denial.code, Code::RateLimited);
        assert_eq!(journal.verdict().expect("it was kept").stage, Stage::Limits);
    }
}
