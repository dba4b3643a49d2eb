//! `tollgate policy test`: requests that somebody imagines, and what must be decided about each.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_gateway::config::{PolicyDesk, Sources, load};
use tollgate_gateway::start::StartError;
use tollgate_layers::authz::Imagined;

use super::desk;
use crate::environment;
use crate::exit::Exit;

/// Hold the decisions of a configuration against files of cases.
#[derive(Args, Debug)]
pub(super) struct Test {
    /// Files of cases.
    #[arg(value_name = "CASES", required = true)]
    files: Vec<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

/// A file of cases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// The cases.
    cases: Vec<Case>,
}

/// A request, and what must be decided about it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The promise, as a sentence.
    what: String,
    /// The request.
    ask: Imagined,
    /// What must be decided.
    is: Decision,
    /// Policies that must be among those that decide it. Default: any may.
    #[serde(default)]
    by: Vec<String>,
}

/// What is decided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Decision {
    /// It may.
    Allowed,
    /// It may not.
    Denied,
}

impl Test {
    #[expect(clippy::print_stdout, reason = "the bin speaks to people")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let desk = desk(&self.config)?;
        let (mut held, mut failed) = (0, 0);
        let env = environment();
        for file in &self.files {
            let env = |name: &str| env.get(name).cloned();
            let loaded = load::<CaseFile>(file, &Sources::disk(&env)).map_err(StartError::Config)?;
            for case in &loaded.value.cases {
                match case.miss(&desk) {
                    None => held += 1,
                    Some(why) => {
                        failed += 1;
                        println!("{}: {}: {why}", file.display(), case.what);
                    }
                }
            }
        }
        println!("{held} held, {failed} did not");
        Ok(if failed == 0 { Exit::Good } else { Exit::Findings })
    }
}

impl Case {
    /// How the decision misses what it must be.
    fn miss(&self, desk: &PolicyDesk) -> Option<String> {
        let explained = match desk.authz.explain(&self.ask, desk.routes.all()) {
            Ok(explained) => explained,
            Err(why) => return Some(why),
        };
        let is = if explained.allowed { Decision::Allowed } else { Decision::Denied };
        if is != self.is {
            let because = explained.because.unwrap_or_else(|| "it is allowed".to_owned());
            return Some(because);
        }
        let decided = |name: &&String| explained.steps.iter().any(|step| step.by.contains(name));
        let missing = self.by.iter().find(|name| !decided(name))?;
        Some(format!("policy `{missing}` does not decide it"))
    }
}
