//! A sequential test that may be looked at after every call: are bad outcomes likelier on the candidate than on the
//! baseline beside it?
//!
//! Calls are dealt by lot, so if the two versions are alike, a bad outcome falls on the candidate with just the chance that
//! the call had of going there, whatever the rate of bad outcomes is and however it moves: an outage of both, a client that
//! sends nonsense and a busy hour cancel out. The test bets against that chance. Its wealth begins at 1 and can only be
//! expected to shrink while the versions are alike, so the probability that it *ever* reaches `1/α` is at most `α` (Ville
//! 1939). What it is made of: Robbins 1970 and Johari, Pekelis and Walsh 2017 (mixtures, always valid), Lindon and Malek 2022
//! (counts whose rate moves), Shin, Ramdas and Rinaldo 2022 (bets that begin anew, for a version that turns bad late).
//! Pure: no clock, no lock, the same few multiplications for each bad outcome and none for a good one.

use serde::{Deserialize, Serialize};

/// How many times likelier on the candidate the bets take a bad outcome to be. The least of them says what is never found:
/// a version whose bad outcomes are less than about a fifth more frequent.
const RATIOS: [f64; 6] = [1.5, 2.0, 4.0, 10.0, 40.0, 400.0];
/// What is bet from the beginning; the rest is kept for bets that begin later.
const AT_ONCE: f64 = 0.5;
/// Bad outcomes over which about half of the rest is bet.
const HALVING: f64 = 16.0;
/// Wealth beyond this says nothing more.
const ENOUGH: f64 = 1e30;

/// What is known against a candidate from one kind of bad outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Evidence {
    bets: [f64; RATIOS.len()],
    seen: u64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { bets: [AT_ONCE / count(); RATIOS.len()], seen: 0 }
    }
}

impl Evidence {
    /// Takes in a bad outcome. `chance` is what the chance was that it fell on the candidate, told before it was known;
    /// `hit` is whether it did.
    pub fn see(&mut self, chance: f64, hit: bool) {
        if !(chance > 0.0 && chance < 1.0) {
            return; // It could not have been otherwise: it says nothing.
        }
        let before = kept(self.seen);
        self.seen = self.seen.saturating_add(1);
        // The share that begins now: one bet for each moment at which the candidate may have turned bad.
        let fresh = (before - kept(self.seen)) / count();
        for (bet, ratio) in self.bets.iter_mut().zip(RATIOS) {
            // Betting that the chance is `ratio · chance : 1 − chance` pays what that makes of either outcome.
            let odds = 1.0 + (ratio - 1.0) * chance;
            let pays = if hit { ratio / odds } else { 1.0 / odds };
            *bet = ((*bet + fresh) * pays).min(ENOUGH);
        }
    }

    /// Wealth: 1 is nothing known, `1/α` is proof at level `α`.
    #[must_use]
    pub fn wealth(&self) -> f64 {
        self.bets.iter().sum::<f64>() + kept(self.seen)
    }

    /// How many bad outcomes were seen.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether what was read back from a file is what this type writes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.bets.iter().all(|bet| bet.is_finite() && (0.0..=ENOUGH).contains(bet))
    }
}

/// What is kept after so many outcomes for bets that begin later.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 outcomes nothing is left to keep")]
fn kept(seen: u64) -> f64 {
    (1.0 - AT_ONCE) / (1.0 + (seen as f64 / HALVING).ln_1p())
}

#[expect(clippy::cast_precision_loss, reason = "six")]
const fn count() -> f64 {
    RATIOS.len() as f64
}

/// All that is known against a candidate, kind by kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Case {
    /// Calls that failed.
    pub failures: Evidence,
    /// Replies that broke their contract.
    pub broken: Evidence,
    /// Calls that took longer than most calls of the baseline.
    pub slow: Evidence,
    /// Mirrored calls whose answer was another one.
    pub drift: Evidence,
}

/// A kind of bad outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Replies that broke their contract.
    Broken,
    /// Mirrored calls whose answer was another one.
    Drift,
    /// Calls that failed.
    Failures,
    /// Calls that took longer than most calls of the baseline.
    Slow,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Broken, Self::Drift, Self::Failures, Self::Slow];

    /// The word used in metrics and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Drift => "drift",
            Self::Failures => "failures",
            Self::Slow => "slow",
        }
    }

    /// What it means, for an entry of the audit.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Broken => "its replies break their contract more often than those of the baseline",
            Self::Drift => "its answers differ from those of the baseline more often than is tolerated",
            Self::Failures => "its calls fail more often than those of the baseline",
            Self::Slow => "its calls are slower than those of the baseline",
        }
    }
}

impl Case {
    /// The evidence of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &Evidence {
        match kind {
            Kind::Broken => &self.broken,
            Kind::Drift => &self.drift,
            Kind::Failures => &self.failures,
            Kind::Slow => &self.slow,
        }
    }

    /// The evidence of one kind, to add to.
    pub const fn of_mut(&mut self, kind: Kind) -> &mut Evidence {
        match kind {
            Kind::Broken => &mut self.broken,
            Kind::Drift => &mut self.drift,
            Kind::Failures => &mut self.failures,
            Kind::Slow => &mut self.slow,
        }
    }

    /// Wealth over all kinds: a quarter of the purse is bet on each, so that one `α` holds for all of them together.
    #[must_use]
    pub fn wealth(&self) -> f64 {
        Kind::ALL.iter().map(|kind| self.of(*kind).wealth()).sum::<f64>() / 4.0
    }

    /// The kind that says most.
    #[must_use]
    pub fn strongest(&self) -> Kind {
        let by = |a: &Kind, b: &Kind| self.of(*a).wealth().total_cmp(&self.of(*b).wealth());
        Kind::ALL.into_iter().max_by(by).unwrap_or(Kind::Failures)
    }

    /// Whether what was read back from a file is what this type writes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.of(*kind).is_sound())
    }
}

#[cfg(test)]
mod tests;
