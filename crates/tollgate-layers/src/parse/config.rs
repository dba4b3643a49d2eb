//! The `parse` section: bounds of JSON bodies.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::{Parse, ParseModel};
use crate::protocol::json::Limits;

/// How JSON bodies are read. A gate: it has no `mode`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParseConfig {
    /// How many arrays and objects may stand inside each other, at most 128. Default: 32.
    #[serde(default = "default_max_depth")]
    #[schemars(range(min = 4, max = 128))]
    pub max_depth: usize,
    /// How many keys one object may have, at most 65536. Default: 1024.
    #[serde(default = "default_max_keys")]
    #[schemars(range(min = 16, max = 65_536))]
    pub max_keys: usize,
}

impl Default for ParseConfig {
    fn default() -> Self {
        Self { max_depth: default_max_depth(), max_keys: default_max_keys() }
    }
}

const fn default_max_depth() -> usize {
    32
}

const fn default_max_keys() -> usize {
    1_024
}

impl ParseConfig {
    /// Reports every mistake, then builds the layer over the models in table order.
    pub fn compile(&self, check: &mut Checker, models: Vec<ParseModel>) -> Parse {
        check.require((4..=128).contains(&self.max_depth), "max_depth", "a depth from 4 to 128");
        check.require((16..=65_536).contains(&self.max_keys), "max_keys", "a number of keys from 16 to 65536");
        Parse::new(models, Limits { depth: self.max_depth, keys: self.max_keys })
    }
}
