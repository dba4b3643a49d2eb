//! What each tenant's calls said about prices that all tenants pay, and how much that counts: with five or more tenants,
//! none has more than a fifth of the weight; with fewer, none has more than an equal part.
//!
//! Each tenant has sums of its own, so that one above its part loses weight and not its newest samples: a flood of one
//! tenant's calls moves the prices of the others no further than a fifth of the calls would, and what changes at the server
//! is seen as soon.

use super::features::Features;
use super::normal::{KEEP, Normal};

/// The largest part of the weight that one tenant has, where enough tenants are there.
const MOST: f64 = 0.2;

/// Tenants that have sums of their own: 352 bytes for each. Whoever comes on top joins one of them.
const ACCOUNTS: usize = 64;

/// A tenant counts as there while it has this many of the 500 samples of late.
const THERE: f64 = 2.0;

/// The accounts of tenants at one model.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: Vec<Account>,
    /// What was kept over a restart: of many tenants, and of none in particular.
    kept: Option<Account>,
    samples: u64,
}

/// What a sample says beside its cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    /// Tokens that the server says it read.
    pub said: f64,
    /// Tokens that we guessed.
    pub guessed: f64,
}

#[derive(Debug)]
struct Account {
    tenant: u64,
    normal: Normal,
    tokens: Tokens,
    at: u64,
    /// The part of its weight that counted last time.
    part: f64,
}

/// What all accounts say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Combined {
    /// What calls cost.
    pub normal: Normal,
    /// What servers said of tokens, and what we guessed.
    pub tokens: Tokens,
}

impl Accounts {
    /// Begins with what was kept.
    #[must_use]
    pub(super) fn restored(kept: Combined) -> Self {
        let Combined { normal, tokens } = kept;
        Self { kept: Some(Account { normal, tokens, ..Account::new(0, 0) }), ..Self::default() }
    }

    /// Takes a call of a tenant, and says which part of its weight counts.
    pub(super) fn add(&mut self, tenant: u64, (features, cost, weight): (&Features, f64, f64), tokens: Tokens) -> f64 {
        self.samples += 1;
        let samples = self.samples;
        let account = self.account(tenant);
        let keep = account.left(samples);
        account.normal.add(features, (cost, weight), keep);
        account.tokens.said = account.tokens.said.mul_add(keep, tokens.said);
        account.tokens.guessed = account.tokens.guessed.mul_add(keep, tokens.guessed);
        account.at = samples;
        account.part
    }

    /// What all say together, nobody more than its part.
    pub(super) fn combine(&mut self) -> Combined {
        let samples = self.samples;
        let masses: Vec<f64> = self.accounts.iter().map(|account| account.mass(samples)).collect();
        let kept = self.kept.as_ref().map_or(0.0, |kept| kept.mass(samples));
        let level = level(&masses, kept);
        let mut combined = Combined::default();
        for (account, mass) in self.accounts.iter_mut().zip(&masses) {
            account.part = if *mass > level { level / mass } else { 1.0 };
            combined.add(account, samples);
        }
        if let Some(kept) = &self.kept {
            combined.add(kept, samples);
        }
        self.accounts.retain(|account| account.mass(samples) > 1e-3);
        combined
    }

    /// The largest part of the weight that any one tenant has.
    #[cfg(test)]
    pub(super) fn largest_part(&self) -> f64 {
        let weights = || self.accounts.iter().map(|account| account.mass(self.samples) * account.part);
        weights().fold(0.0, f64::max) / weights().sum::<f64>()
    }

    fn account(&mut self, tenant: u64) -> &mut Account {
        let known = self.accounts.iter().position(|account| account.tenant == tenant);
        let place = known.unwrap_or_else(|| {
            if self.accounts.len() < ACCOUNTS {
                self.accounts.push(Account::new(tenant, self.samples));
                return self.accounts.len() - 1;
            }
            (tenant >> 32) as usize % ACCOUNTS
        });
        &mut self.accounts[place]
    }
}

impl Account {
    fn new(tenant: u64, at: u64) -> Self {
        Self { tenant, normal: Normal::default(), tokens: Tokens::default(), at, part: 1.0 }
    }

    /// Its samples, the older ones counted less: those of others make them older too.
    fn mass(&self, samples: u64) -> f64 {
        self.normal.count() * self.left(samples)
    }

    fn left(&self, samples: u64) -> f64 {
        KEEP.powf(samples.saturating_sub(self.at) as f64)
    }
}

impl Combined {
    fn add(&mut self, account: &Account, samples: u64) {
        let part = account.part * account.left(samples);
        self.normal.merge(&account.normal, part);
        self.tokens.said += part * account.tokens.said;
        self.tokens.guessed += part * account.tokens.guessed;
    }
}

/// The mass above which a tenant's does not count: the largest that is within its part of what then counts.
fn level(masses: &[f64], beside: f64) -> f64 {
    let there = masses.iter().filter(|mass| **mass >= THERE).count();
    let most = MOST.max(1.0 / there.max(1) as f64);
    let mut falling = masses.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let mut rest = falling.iter().sum::<f64>() + beside;
    if falling.first().is_none_or(|largest| *largest <= most * rest) {
        return f64::INFINITY;
    }
    // Lowers the largest, then the two largest, …, until the next one is within its part.
    for (lowered, mass) in (1..).zip(&falling) {
        rest -= mass;
        let free = 1.0 - most * f64::from(lowered);
        if free < 1e-9 {
            return *mass;
        }
        let level = most * rest / free;
        if falling.get(lowered as usize).is_none_or(|next| *next <= level) {
            return level;
        }
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests;
