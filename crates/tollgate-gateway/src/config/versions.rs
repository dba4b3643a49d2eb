//! `models.NAME.versions` and `models.NAME.release`: several versions of one model, and how a new one comes in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, DurationText};

/// Versions of a model, by name.
pub type Versions = BTreeMap<String, VersionConfig>;

/// One version of a model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionConfig {
    /// How many percent of the calls it serves at the beginning; those of all versions add up to 100. Later, the release
    /// says: it goes on over a reload until versions, upstreams or weights change here. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub weight: u8,
    /// Name of `upstreams` that serves it. Default: the model's own.
    #[serde(default)]
    pub upstream: Option<String>,
    /// How many percent of the calls that other versions serve are mirrored to it while it is on trial: from spare capacity,
    /// at nobody's cost, for a comparison of the answers. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub shadow: u8,
}

/// How a new version of a model comes in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseConfig {
    /// What makes calls stay with a version: `principal`, `header` or `request`. Default: `principal`.
    pub sticky: StickyConfig,
    /// The field whose value `sticky: header` goes by, such as `x-session-id`; a call without it goes by its caller.
    pub sticky_header: Option<String>,
    /// The chance, over the whole life of a release, that a version is rolled back although it is no worse than the
    /// baseline. Default: 0.01.
    #[schemars(range(min = 0.000_001, max = 0.2))]
    pub alpha: f64,
    /// How many times slower than the baseline a version may be. Default: 1.5.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub slower: f64,
    /// The share of mirrored calls whose answer may be another one than the baseline's, such as 0.02. Default: none, and
    /// answers are compared but not judged.
    #[schemars(range(min = 0.0001, max = 0.5))]
    pub drift: Option<f64>,
    /// What happens to a version that is found worse: `rollback` or `watch`. Default: `rollback`.
    pub on_regression: OnRegressionConfig,
    /// Weights that a version on trial goes through by itself, in percent, such as `[1, 5, 25, 50, 100]`. Default: none, and
    /// somebody must promote it.
    pub steps: Vec<u8>,
    /// How long it stays at each step. Default: `10m`.
    pub hold: DurationText,
    /// How many calls it must have served at each step. Default: 200.
    pub min_calls: u64,
    /// When two numbers of compared answers are the same.
    pub compare: CompareConfig,
    /// Bounds of mirrored calls.
    pub shadow: ShadowConfig,
}

/// What makes calls stay with a version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyConfig {
    /// The value of the field `sticky_header`.
    Header,
    /// The key that was shown, or the address of a caller who showed none.
    #[default]
    Principal,
    /// Nothing: each call is dealt by itself.
    Request,
}

/// What happens to a version that is found worse.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRegressionConfig {
    /// It gets no more calls until somebody starts it again.
    #[default]
    Rollback,
    /// It is told in metrics, the admin API and the audit, and nothing else.
    Watch,
}

/// When two numbers of compared answers are the same: either bound is enough.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompareConfig {
    /// The largest difference. Default: 0.00001.
    #[schemars(range(min = 0.0))]
    pub max_abs: f64,
    /// The largest difference as a share of the larger of both. Default: 0.001.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_relative: f64,
}

/// Bounds of mirrored calls.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowConfig {
    /// How many run at once, and how busy the upstream may be that they go to; fewer than its own `inflight.max`.
    /// Default: 2.
    #[schemars(range(min = 1, max = 1024))]
    pub max_inflight: u32,
    /// The largest body, of the call or of its answer. Default: `256KiB`.
    pub max_bytes: ByteSize,
}

impl Default for ReleaseConfig {
    fn default() -> Self {
        Self {
            sticky: StickyConfig::default(),
            sticky_header: None,
            alpha: 0.01,
            slower: 1.5,
            drift: None,
            on_regression: OnRegressionConfig::default(),
            steps: Vec::new(),
            hold: DurationText::from_secs(600),
            min_calls: 200,
            compare: CompareConfig::default(),
            shadow: ShadowConfig::default(),
        }
    }
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self { max_abs: 1e-5, max_relative: 1e-3 }
    }
}

impl Default for ShadowConfig {
    fn default() -> Self {
        Self { max_inflight: 2, max_bytes: ByteSize(256 << 10) }
    }
}
