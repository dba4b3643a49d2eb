//! The `intake` section, and its compilation.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::Intake;

/// How bodies are read. The class and the cap of a body stand in its route (`intake`, `max_body_bytes`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntakeConfig {
    /// The most bytes that one byte of a compressed body may become, counted while decoding; the first 65536 bytes of
    /// output are free. Default: 20. JSON and tensors stay below 10; a bomb is above 1000.
    #[serde(default = "default_max_ratio")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_ratio: u32,
}

const fn default_max_ratio() -> u32 {
    20
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self { max_ratio: default_max_ratio() }
    }
}

impl IntakeConfig {
    /// Reports every mistake, then builds the layer.
    pub fn compile(&self, check: &mut Checker) -> Intake {
        let in_range = (1..=10_000).contains(&self.max_ratio);
        check.require(in_range, "max_ratio", format!("`{}` is not between 1 and 10000", self.max_ratio));
        if self.max_ratio > 200 {
            check.warn("max_ratio", format!("`{}` lets small bodies become very large ones", self.max_ratio));
        }
        Intake { max_ratio: self.max_ratio.max(1) }
    }
}
