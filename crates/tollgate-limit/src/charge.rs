//! What is charged, to which bound, and what became of it. Plain values; the arithmetic is elsewhere.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::{Key, Quota, Rate, Window};

/// The most balances that one request can be charged to.
pub const MAX_LEVELS: usize = 8;

/// What bounds a balance.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Limit {
    /// So much for each day, week or month.
    Quota(Quota),
    /// A bucket that refills steadily.
    Rate(Rate),
    /// So much in any window of a length.
    Window(Window),
}

/// One amount to take from one balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Charge {
    /// Whose balance.
    pub key: Key,
    /// What bounds that balance.
    pub limit: Limit,
    /// How much.
    pub units: u64,
    /// Whether it may refuse.
    pub mode: Mode,
}

/// Whether a balance that is spent refuses.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It counts and never refuses. What enforcing would have refused takes nothing from a rate or a window, so that it
    /// would be refused again exactly where enforcing would; a quota counts it, because it was used.
    Shadow,
}

/// What became of several charges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "charges that were not taken must not be served"]
pub enum Granted {
    /// All were taken, but for what only watches.
    Yes {
        /// The charges that would have been refused, were they enforced.
        over: Over,
    },
    /// None was taken.
    No {
        /// The index of the charge that was refused.
        at: usize,
        /// After this long that charge fits, if nobody else charges.
        wait: Duration,
        /// It was judged without the store that should have judged it.
        apart: bool,
    },
}

/// What is to be said of the charges of one request that were granted: sets of their places.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Over {
    /// Those that would have been refused, were they enforced.
    over: u8,
    /// Those that were judged without the store that should have judged them.
    apart: u8,
}

const _: () = assert!(MAX_LEVELS <= u8::BITS as usize);

/// What one request holds of its balances until its real cost is known. Whoever has it must settle or refund it:
/// [`Ledger::settle`](crate::Ledger::settle), [`Ledger::refund`](crate::Ledger::refund).
#[derive(Debug, Default)]
#[must_use = "what is reserved and never settled is never given back"]
pub struct Reservation {
    held: ArrayVec<Charge, MAX_LEVELS>,
}

impl From<Quota> for Limit {
    fn from(quota: Quota) -> Self {
        Self::Quota(quota)
    }
}

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Self {
        Self::Rate(rate)
    }
}

impl From<Window> for Limit {
    fn from(window: Window) -> Self {
        Self::Window(window)
    }
}

impl Limit {
    /// The most units that one charge can take: more never fits.
    #[must_use]
    pub fn most(&self) -> u64 {
        match self {
            Self::Quota(quota) => quota.max(),
            Self::Rate(rate) => rate.burst(),
            Self::Window(window) => window.max(),
        }
    }
}

impl Charge {
    /// An enforced charge.
    #[must_use]
    pub fn new(key: Key, limit: impl Into<Limit>, units: u64) -> Self {
        Self { key, limit: limit.into(), units, mode: Mode::Enforce }
    }

    /// The same in [`Mode::Shadow`].
    #[must_use]
    pub const fn shadowed(self) -> Self {
        Self { mode: Mode::Shadow, ..self }
    }
}

impl Granted {
    /// All were taken.
    pub const YES: Self = Self::Yes { over: Over { over: 0, apart: 0 } };

    /// Whether the request may be served.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }

    /// More charges than [`MAX_LEVELS`] are never granted.
    pub(crate) const TOO_MANY: Self = Self::No { at: MAX_LEVELS, wait: Duration::MAX, apart: false };
}

impl Over {
    /// Whether nothing would have been refused.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.over == 0
    }

    /// How many charges were judged without the store that should have judged them.
    #[must_use]
    pub const fn apart(self) -> u32 {
        self.apart.count_ones()
    }

    /// The same, and that the charge at `place` was judged without its store.
    #[must_use]
    pub const fn without_store(mut self, place: usize) -> Self {
        if place < MAX_LEVELS {
            self.apart |= 1 << place;
        }
        self
    }

    /// Whether the charge at `place` would have been refused.
    #[must_use]
    pub const fn contains(self, place: usize) -> bool {
        place < MAX_LEVELS && self.over >> place & 1 == 1
    }

    /// The same and `place`.
    #[must_use]
    pub const fn with(mut self, place: usize) -> Self {
        self.add(place);
        self
    }

    pub(crate) const fn add(&mut self, place: usize) {
        if place < MAX_LEVELS {
            self.over |= 1 << place;
        }
    }
}

impl Reservation {
    /// What was taken of `charges`, which were granted with `over`. Those beyond [`MAX_LEVELS`] are never granted.
    pub fn of(charges: &[Charge], over: Over) -> Self {
        let taken = |&(place, charge): &(usize, &Charge)| charge.was_taken(over.contains(place));
        Self { held: charges.iter().enumerate().filter(taken).map(|(_, charge)| *charge).take(MAX_LEVELS).collect() }
    }

    /// What is held.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.held
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Charge {
    /// Whether a charge that was granted took something; `over` says that enforcing would have refused it.
    #[must_use]
    pub const fn was_taken(&self, over: bool) -> bool {
        !over || matches!(self.limit, Limit::Quota(_))
    }
}
