//! The `secrets` section: how long a replaced value is still good, and the commands that may be run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use crate::config::DurationText;

/// How secrets are come by. Where one may stand there is a reference, `secret://…`; a literal is refused.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsConfig {
    /// How long a pepper that was changed under its name is still accepted beside the new one. A restart forgets the old one:
    /// to replace a pepper in your own time, name both. Default: `24h`.
    pub grace: DurationText,
    /// Commands that `secret://exec/NAME` may run, by name. They run once, when the gateway starts, and never at a reload.
    pub exec: BTreeMap<String, ExecConfig>,
}

impl Default for SecretsConfig {
    fn default() -> Self {
        Self { grace: DurationText::from_secs(86_400), exec: BTreeMap::new() }
    }
}

/// A command whose output is a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The program, by its absolute path, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// Names of variables of the environment that it gets; it gets no others. Default: none.
    #[serde(default)]
    pub env: Vec<String>,
    /// How long it may take. Default: `10s`.
    #[serde(default = "patience")]
    pub timeout: DurationText,
}

const fn patience() -> DurationText {
    DurationText::from_secs(10)
}

impl SecretsConfig {
    /// Reports every mistake.
    pub fn check(&self, check: &mut Checker) {
        check.within("exec", |check| {
            for (name, exec) in &self.exec {
                check.within(name.as_str(), |check| {
                    let absolute = exec.command.first().is_some_and(|program| program.starts_with('/'));
                    check.require(absolute, "command", "the command begins with the absolute path of a program");
                    check.require(!exec.timeout.0.is_zero(), "timeout", "a command needs some time");
                });
            }
        });
    }
}
