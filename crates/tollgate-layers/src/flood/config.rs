//! The `flood` section, and its compilation.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Mode, OnFault, Switch};
use tollgate_limit::{Memory, Rate};

use super::{Bucket, Flood};

/// How often one address may ask. On by default, with generous numbers: it stops a machine that hammers, not a person
/// or a fleet behind one address that behaves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloodConfig {
    /// `enforce`, `observe` or `off`.
    #[serde(default)]
    pub mode: Mode,
    /// What a fault means: `close` or `open`.
    #[serde(default)]
    pub on_fault: OnFault,
    /// The bucket of each address: for IPv4 the address itself, for IPv6 its network of `ipv6_prefix` bits. Default:
    /// `{burst: 2000, refill_per_sec: 1000}`.
    #[serde(default)]
    pub per_address: BucketConfig,
    /// How many leading bits of an IPv6 address share a bucket. Default: 64, what one subscriber line commonly gets.
    #[serde(default = "default_ipv6_prefix")]
    #[schemars(range(min = 16, max = 128))]
    pub ipv6_prefix: u8,
    /// A second, wider bucket that many addresses share, against a flood spread over a network. Default: none.
    #[serde(default)]
    pub per_network: Option<NetworkBucketConfig>,
}

/// A bucket of requests.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Requests that fit at once. Default: 2000: a client is often a whole application server.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1))]
    pub burst: u64,
    /// Requests per second that come back. Default: 1000.
    #[serde(default = "default_refill_per_sec")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub refill_per_sec: u64,
}

/// A bucket that a network shares.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkBucketConfig {
    /// Requests that fit at once.
    #[schemars(range(min = 1))]
    pub burst: u64,
    /// Requests per second that come back.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub refill_per_sec: u64,
    /// How many leading bits of an IPv4 address share it. Default: 24.
    #[serde(default = "default_wide_ipv4_prefix")]
    #[schemars(range(min = 8, max = 32))]
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address share it. Default: 48, what one site commonly gets.
    #[serde(default = "default_wide_ipv6_prefix")]
    #[schemars(range(min = 16, max = 128))]
    pub ipv6_prefix: u8,
}

const fn default_ipv6_prefix() -> u8 {
    64
}

const fn default_burst() -> u64 {
    2000
}

const fn default_refill_per_sec() -> u64 {
    1000
}

const fn default_wide_ipv4_prefix() -> u8 {
    24
}

const fn default_wide_ipv6_prefix() -> u8 {
    48
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            on_fault: OnFault::default(),
            per_address: BucketConfig::default(),
            ipv6_prefix: default_ipv6_prefix(),
            per_network: None,
        }
    }
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self { burst: default_burst(), refill_per_sec: default_refill_per_sec() }
    }
}

impl FloodConfig {
    /// The two settings of its guard.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        Switch { mode: self.mode, on_fault: self.on_fault }
    }

    /// Reports every mistake, then builds the layer; `None` where there is one.
    pub fn compile(&self, check: &mut Checker, ledger: &Arc<Memory>) -> Option<Flood> {
        check_prefix(check, "ipv6_prefix", self.ipv6_prefix, 16..=128);
        let address = check.within("per_address", |check| {
            let rate = rate(check, self.per_address.burst, self.per_address.refill_per_sec)?;
            Some(Bucket { name: "flood/address", rate, v4_prefix: 32, v6_prefix: self.ipv6_prefix })
        });
        let network = self.per_network.map(|wide| check.within("per_network", |check| self.wide(check, wide)));
        let network = match network {
            Some(bucket) => Some(bucket?),
            None => None,
        };
        Some(Flood { address: address?, network, ledger: Arc::clone(ledger) })
    }

    fn wide(&self, check: &mut Checker, wide: NetworkBucketConfig) -> Option<Bucket> {
        check_prefix(check, "ipv4_prefix", wide.ipv4_prefix, 8..=32);
        if check_prefix(check, "ipv6_prefix", wide.ipv6_prefix, 16..=128) {
            let wider = wide.ipv6_prefix < self.ipv6_prefix;
            check.require(
                wider,
                "ipv6_prefix",
                "the network's prefix must be shorter than the address's `ipv6_prefix`",
            );
        }
        let roomy = wide.burst >= self.per_address.burst;
        check.require(roomy, "burst", "the network's burst is below that of one of its addresses");
        let rate = rate(check, wide.burst, wide.refill_per_sec)?;
        Some(Bucket { name: "flood/network", rate, v4_prefix: wide.ipv4_prefix, v6_prefix: wide.ipv6_prefix })
    }
}

fn check_prefix(check: &mut Checker, at: &str, prefix: u8, range: std::ops::RangeInclusive<u8>) -> bool {
    let why = format!("`{prefix}` is not within {} and {}", range.start(), range.end());
    check.require(range.contains(&prefix), at, why)
}

fn rate(check: &mut Checker, burst: u64, refill_per_sec: u64) -> Option<Rate> {
    let some = check.require(burst > 0, "burst", "a burst of `0` refuses every request");
    let fast = 1..=1_000_000_000;
    let why = format!("`{refill_per_sec}` is not within 1 and 1000000000");
    if !(check.require(fast.contains(&refill_per_sec), "refill_per_sec", why) && some) {
        return None;
    }
    let rate = Rate::new(burst, refill_per_sec, 0);
    check.require(rate.is_some(), "burst", format!("`{burst}` takes more than 36 years to refill"));
    rate
}
