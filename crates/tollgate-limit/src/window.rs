//! Sliding windows: no more than so much in any window of a length, whenever it begins. Costs up to a kilobyte a key, so it
//! is for contracts that say just that; a rate is for everything else.
//!
//! A key has a log of what it was charged, and when. Up to [`ENTRIES`] units the log is exact. Above, charges are counted
//! in steps of a 63rd of the window, each as if it were made at the end of its step: the bound holds in every window, and a
//! unit comes back up to one step late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Tick;
use crate::book::Account;
use crate::gcra::{Level, Taken};

/// The most entries of a log. Where no charge is less than a unit, so many units have so many entries at most.
const ENTRIES: usize = 64;

/// Steps in a window: with those that begin in it and the one that ends after it, [`ENTRIES`].
const STEPS: u64 = ENTRIES as u64 - 1;

/// The longest window: a year. Longer contracts are calendar quotas.
const MAX_SPAN: Duration = Duration::from_hours(366 * 24);

/// The moment of a window that was not given one.
const UNKNOWN: Tick = Tick(u64::MAX);

/// No more than so many units in any window of a length.
///
/// [`Window::at`] makes the one that is charged and later settled: it remembers when.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Window {
    max: u64,
    span_ns: u64,
    /// Steps in which charges are counted; 1 is exact.
    step_ns: u64,
    at: Tick,
}

/// What one key was charged within the last window, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Of all entries.
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    units: u64,
}

impl Window {
    /// No more than `max` units in any window of length `span`.
    ///
    /// `None` if `max` is zero, or the span is not within a microsecond and a year.
    #[must_use]
    pub fn new(max: u64, span: Duration) -> Option<Self> {
        let sound = max > 0 && span >= Duration::from_micros(1) && span <= MAX_SPAN;
        let span_ns = u64::try_from(span.as_nanos()).ok().filter(|_| sound)?;
        let step_ns = if max <= ENTRIES as u64 { 1 } else { span_ns.div_ceil(STEPS) };
        Some(Self { max, span_ns, step_ns, at: UNKNOWN })
    }

    /// The same, to be charged at `now`: what is given back later is taken from this moment.
    #[must_use]
    pub const fn at(self, now: Tick) -> Self {
        Self { at: now, ..self }
    }

    /// The units of one window.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The length of the window.
    #[must_use]
    pub const fn span(&self) -> Duration {
        Duration::from_nanos(self.span_ns)
    }

    /// The instant for which a charge at `now` is written down: never earlier.
    const fn written(&self, now: Tick) -> u64 {
        match now.0.checked_next_multiple_of(self.step_ns) {
            Some(at) => at,
            None => u64::MAX,
        }
    }

    /// When a charge written down for `at` no longer counts.
    const fn leaves(&self, at: u64) -> u64 {
        at.saturating_add(self.span_ns)
    }

    pub(crate) fn level(&self, log: Option<&Log>, now: Tick) -> Level {
        let live = || log.into_iter().flat_map(|log| log.live(self, now));
        let used: u64 = live().map(|entry| entry.units).sum();
        let remaining = self.max.saturating_sub(used);
        let last = live().last().map_or(0, |entry| self.leaves(entry.at).saturating_sub(now.0));
        let wait =
            if remaining > 0 { Duration::ZERO } else { log.map_or(Duration::ZERO, |log| log.wait(self, 1, now)) };
        Level { burst: self.max, remaining, wait, full_in: Duration::from_nanos(last) }
    }
}

impl Log {
    /// Takes `units` if every window that holds this moment has so much left.
    pub(crate) fn charge(&mut self, window: &Window, units: u64, now: Tick) -> Taken {
        self.forget(window, now);
        match self.sum.checked_add(units) {
            Some(sum) if sum <= window.max => {
                self.write(window, units, now);
                Taken::Yes
            }
            _ => Taken::No { wait: self.wait(window, units, now) },
        }
    }

    /// Counts `units` whatever is left.
    pub(crate) fn debit(&mut self, window: &Window, units: u64, now: Tick) {
        self.forget(window, now);
        self.write(window, units.min(u64::MAX - self.sum), now);
    }

    /// Counts `units` no longer: of what was charged at the window's moment first, then of the oldest, because that would
    /// leave first, and to forget something younger would let too much into a window.
    pub(crate) fn give_back(&mut self, window: &Window, units: u64, now: Tick) {
        self.forget(window, now);
        let at = window.written(window.at);
        let mut left = units;
        if let Some(own) = self.entries.iter_mut().rev().find(|entry| entry.at == at) {
            left -= own.less(left);
        }
        // What was charged before this window began is gone, and with it what there was to give back.
        if window.leaves(at) > now.0 {
            for entry in &mut self.entries {
                left -= entry.less(left);
            }
        }
        self.sum -= units - left;
        self.entries.retain(|entry| entry.units > 0);
    }

    /// How long until `units` fit. Those that never fit wait for an empty window, in vain.
    fn wait(&self, window: &Window, units: u64, now: Tick) -> Duration {
        let (mut left, mut leaves) = (self.sum, now.0);
        for entry in &self.entries {
            if left.checked_add(units).is_some_and(|sum| sum <= window.max) {
                break;
            }
            left -= entry.units.min(left);
            leaves = window.leaves(entry.at);
        }
        Duration::from_nanos(leaves.saturating_sub(now.0))
    }

    fn write(&mut self, window: &Window, units: u64, now: Tick) {
        if units == 0 {
            return;
        }
        self.sum += units;
        let at = window.written(now);
        let full = self.entries.len() >= ENTRIES;
        match self.entries.back_mut() {
            // Time does not go back here; if it does, the later moment keeps the bound. So does a full log, which only a
            // window that a reload made shorter or finer can have.
            Some(last) if full || last.at >= at => {
                last.units += units;
                last.at = last.at.max(at);
            }
            _ => self.entries.push_back(Entry { at, units }),
        }
    }

    /// Drops what no window that holds this moment holds.
    fn forget(&mut self, window: &Window, now: Tick) {
        while let Some(oldest) = self.entries.front() {
            if window.leaves(oldest.at) > now.0 {
                return;
            }
            self.sum -= oldest.units;
            self.entries.pop_front();
        }
    }

    fn live(&self, window: &Window, now: Tick) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| window.leaves(entry.at) > now.0)
    }
}

impl Entry {
    /// Takes up to `units` off, and says how many.
    fn less(&mut self, units: u64) -> u64 {
        let taken = units.min(self.units);
        self.units -= taken;
        taken
    }
}

impl Account for Log {
    type Limit = Window;

    fn stake(&self, window: &Window, now: Tick) -> u64 {
        self.live(window, now).map(|entry| entry.units).sum()
    }
}
