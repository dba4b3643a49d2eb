//! What stands before any look at a credential: whoever failed too often waits, and a credential that came in plain text
//! is worth nothing. Counts why callers were refused. Holds no credential, and answers nobody.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_limit::{Key, Level, Memory, Rate, Tick};

use super::{Asking, AuthConfig, Failure, KeyId};
use crate::flood::network_of;

/// Why a caller was refused, as the metric says it. A name that is not here counts as the last.
const REASONS: [&str; 16] = [
    "address",
    "certificate",
    "expired",
    "in_query",
    "malformed",
    "missing",
    "not_yet",
    "plaintext",
    "revoked",
    "scheme",
    "token",
    "too_many",
    "two_credentials",
    "unknown",
    "wrong_secret",
    "other",
];
/// Whoever has one address of IPv6 has 2⁶⁴ of them.
const V6_PREFIX: u8 = 64;

/// How often somebody may fail to prove who they are. Only failures count, and only those that cost us cryptography: not a
/// missing credential, and not a key with a typing error.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttemptsConfig {
    /// Of one address; of IPv6, of one network of 64 bits. Beyond, it is answered 429 whatever it sends. Default:
    /// `{burst: 600, refill_per_sec: 10}`.
    pub per_address: FailuresConfig,
    /// With the id of one key, from wherever. Beyond, only addresses that have not failed themselves of late may still try
    /// it, so that nobody locks its owner out. Default: `{burst: 60, refill_per_sec: 1}`.
    pub per_key: FailuresConfig,
}

/// A bucket of failures.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailuresConfig {
    /// Failures that fit at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u64,
    /// Failures per second that are forgotten.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub refill_per_sec: u64,
}

impl Default for AttemptsConfig {
    fn default() -> Self {
        Self {
            per_address: FailuresConfig { burst: 600, refill_per_sec: 10 },
            per_key: FailuresConfig { burst: 60, refill_per_sec: 1 },
        }
    }
}

/// See the module. The default lets everybody try, over TLS or from this machine.
#[derive(Debug, Default)]
pub struct Sentry {
    attempts: Option<Attempts>,
    plaintext_from: Vec<IpNet>,
    refusals: Arc<Refusals>,
}

#[derive(Debug)]
struct Attempts {
    per_address: Rate,
    per_key: Rate,
    ledger: Arc<Memory>,
}

/// How often callers were refused, by reason. Outlives a reload.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; REASONS.len()]);

impl AuthConfig {
    /// Reports every mistake of what stands before a credential, then builds it.
    pub fn sentry(&self, check: &mut Checker, ledger: &Arc<Memory>, refusals: Arc<Refusals>) -> Sentry {
        let mut plaintext_from = Vec::with_capacity(self.plaintext_from.len());
        check.within("plaintext_from", |check| {
            for (i, text) in self.plaintext_from.iter().enumerate() {
                match text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()) {
                    Ok(net) if net.prefix_len() == 0 => {
                        check.problem_hint(i, "that is everybody", "name the proxy that ends TLS");
                    }
                    Ok(net) => plaintext_from.push(net),
                    Err(_) => check.problem_hint(i, format!("`{text}` is not a network"), "such as `10.0.0.0/8`"),
                }
            }
        });
        let attempts = check.within("attempts", |check| {
            let per_address = self.attempts.per_address.rate(check, "per_address")?;
            let per_key = self.attempts.per_key.rate(check, "per_key")?;
            Some(Attempts { per_address, per_key, ledger: Arc::clone(ledger) })
        });
        Sentry { attempts, plaintext_from, refusals }
    }
}

impl FailuresConfig {
    fn rate(self, check: &mut Checker, at: &str) -> Option<Rate> {
        let fits = |number: u64| (1..=1_000_000).contains(&number);
        let rate = Rate::new(self.burst, self.refill_per_sec, 0).filter(|_| fits(self.burst));
        check.require(
            rate.is_some() && fits(self.refill_per_sec),
            at,
            "`burst` and `refill_per_sec` are numbers from 1 to 1000000",
        );
        rate
    }
}

impl Sentry {
    /// A credential that others could read on its way is not the proof of anything any more.
    pub(super) fn see_wire(&self, asking: &Asking<'_>) -> Result<(), Failure> {
        let peer = asking.peer;
        let safe = peer.tls || peer.ip.is_loopback() || self.plaintext_from.iter().any(|net| net.contains(&peer.ip));
        if safe { Ok(()) } else { Err(Failure::Plaintext) }
    }

    /// Whether there may be another try: asked before any cryptography.
    pub(super) fn admit(&self, asking: &Asking<'_>, key: Option<KeyId>) -> Result<(), Failure> {
        let Some(attempts) = &self.attempts else { return Ok(()) };
        let address = attempts.level_of(attempts.address(asking.from), attempts.per_address, asking);
        if address.remaining == 0 {
            return Err(Failure::TooMany(address.wait));
        }
        let Some(id) = key else { return Ok(()) };
        let level = attempts.level_of(attempts.key(id), attempts.per_key, asking);
        if level.remaining == 0 && address.remaining < address.burst {
            return Err(Failure::TooMany(level.wait));
        }
        Ok(())
    }

    /// A try has failed.
    pub(super) fn failed(&self, asking: &Asking<'_>, key: Option<KeyId>) {
        let Some(attempts) = &self.attempts else { return };
        let now = Tick(asking.at.0);
        attempts.ledger.debit(attempts.address(asking.from), attempts.per_address, 1, now);
        if let Some(id) = key {
            attempts.ledger.debit(attempts.key(id), attempts.per_key, 1, now);
        }
    }

    /// Counts a refusal.
    pub(super) fn count(&self, reason: &str) {
        let place = REASONS.iter().position(|known| *known == reason).unwrap_or(REASONS.len() - 1);
        if let Some(count) = self.refusals.0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Attempts {
    fn level_of(&self, key: Key, rate: Rate, asking: &Asking<'_>) -> Level {
        self.ledger.peek(key, rate, Tick(asking.at.0))
    }

    fn address(&self, from: IpAddr) -> Key {
        Key::open(self.ledger.hash("auth/address", network_of(from.to_canonical(), 32, V6_PREFIX)))
    }

    fn key(&self, id: KeyId) -> Key {
        Key::open(self.ledger.hash("auth/key", id))
    }
}

impl Refusals {
    /// Each reason, and how often it was one.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
