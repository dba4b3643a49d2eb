//! What was learned, in a form that can be kept and shown: numbers only, and tenants as the keyed hashes that they are.
//!
//! What is read back is believed only where it can have come from samples.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, Combined, Tokens};
use super::learner::{Learner, RATIO};
use super::normal::{Normal, Prices};
use super::quantile::{MOST_TENANTS, Tracker};

/// What a learner has learned.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    /// Samples that were ever taken.
    pub samples: u64,
    /// Prices of the features, in microseconds.
    pub prices: Prices,
    /// Tokens to a token that was guessed from bytes.
    pub tokens_per_guess: f64,
    /// Time with the server to itself, as a multiple of the cost.
    pub pace: f64,
    /// The part of a call's time in which its server computes, by its own statistics.
    pub computing: f64,
    /// Microseconds of a call, on average.
    pub mean_us: f64,
    /// The median error of late where the length of the answer is known, as a part of the cost.
    pub error: f64,
    /// How long answers become.
    pub answers: KeptLength,
    /// How long answers to tenants become.
    pub tenants: Vec<KeptTenant>,
    /// The sums that the prices follow from.
    pub sums: Vec<f64>,
    /// Tokens that servers said, and that were guessed.
    pub tokens: [f64; 2],
}

/// How long answers become.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct KeptLength {
    /// Nineteen of twenty have no more tokens.
    pub limit: f64,
    /// Tokens on average.
    pub mean: f64,
    /// Answers that were seen.
    pub count: u32,
}

/// How long answers to a tenant become.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct KeptTenant {
    /// Its keyed hash, in hexadecimal digits.
    pub tenant: String,
    /// How long.
    #[serde(flatten)]
    pub answers: KeptLength,
}

impl KeptLength {
    /// What a tracker says.
    #[must_use]
    pub fn of(tracker: Tracker) -> Self {
        let length = tracker.length();
        Self { limit: length.limit, mean: length.mean, count: tracker.count() }
    }

    /// The tracker that says so. `None` where the numbers are none.
    #[must_use]
    pub fn tracker(self) -> Option<Tracker> {
        let sane = |tokens: f64| tokens.is_finite() && tokens >= 0.0;
        (sane(self.limit) && sane(self.mean)).then(|| Tracker::from_parts(self.limit, self.mean, self.count))
    }
}

impl Learner {
    /// What was learned so far.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let mut book = self.book.lock();
        let Combined { normal, tokens } = book.accounts.combine();
        let tenants = self
            .own
            .all()
            .map(|(tenant, tracker)| KeptTenant { tenant: format!("{tenant:016x}"), answers: KeptLength::of(tracker) });
        Kept {
            samples: self.samples(),
            prices: self.prices(),
            tokens_per_guess: f64::from_bits(self.ratio.load(Ordering::Relaxed)),
            pace: f64::from_bits(self.pace.load(Ordering::Relaxed)),
            computing: self.computing(),
            mean_us: book.mean,
            error: self.figures.count().error,
            answers: KeptLength::of(self.model.get()),
            tenants: tenants.collect(),
            sums: normal.numbers().collect(),
            tokens: [tokens.said, tokens.guessed],
        }
    }

    /// Begins with what was kept. Where that cannot have come from samples, nothing is changed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn restore(&self, kept: &Kept) -> Result<(), &'static str> {
        let sane = |number: &f64| number.is_finite() && (0.0..=1e15).contains(number);
        if ![kept.pace, kept.mean_us, kept.error].iter().chain(&kept.prices).chain(&kept.tokens).all(sane) {
            return Err("a price that is none");
        }
        if !(RATIO[0]..=RATIO[1]).contains(&kept.tokens_per_guess) || !(1.0..=1e3).contains(&kept.pace) {
            return Err("a ratio out of bounds");
        }
        let normal = Normal::from_numbers(&kept.sums).ok_or("sums that are none")?;
        let model = kept.answers.tracker().ok_or("a length that is none")?;
        if kept.tenants.len() > MOST_TENANTS {
            return Err("more tenants than are remembered");
        }
        let tenants = kept.tenants.iter().map(|KeptTenant { tenant, answers }| {
            let digits = tenant.len() == 16 && tenant.bytes().all(|byte| byte.is_ascii_hexdigit());
            Some((u64::from_str_radix(tenant, 16).ok().filter(|_| digits)?, answers.tracker()?))
        });
        let tenants: Option<Vec<_>> = tenants.collect();
        let tenants = tenants.ok_or("a tenant that is none")?;
        let mut book = self.book.lock();
        book.mean = kept.mean_us;
        self.figures.begin_with(kept.error);
        self.set_computing(kept.computing);
        let tokens = Tokens { said: kept.tokens[0], guessed: kept.tokens[1] };
        book.accounts = Accounts::restored(Combined { normal, tokens });
        for (tenant, tracker) in tenants {
            self.own.put(tenant, tracker);
        }
        self.model.set(model);
        self.ratio.store(kept.tokens_per_guess.to_bits(), Ordering::Relaxed);
        self.pace.store(kept.pace.to_bits(), Ordering::Relaxed);
        self.prices.set(&kept.prices);
        self.samples.store(kept.samples, Ordering::Relaxed);
        Ok(())
    }
}
