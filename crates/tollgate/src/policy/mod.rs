//! `tollgate policy`: what a configuration's allow lists and policies decide, without serving it.

mod diff;
mod explain;
mod records;
mod test;

use std::path::Path;

use clap::{Args, Subcommand};
use tollgate_gateway::config::PolicyDesk;

use crate::environment;
use crate::exit::Exit;

/// Ask what the allow lists and policies of a configuration decide, and why. Reads its routes, tenants and `authz` alone: no
/// secret is opened and nothing is served.
#[derive(Args, Debug)]
pub(crate) struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Diff(diff::Diff),
    Explain(explain::Explain),
    Test(test::Test),
}

impl Policy {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.what {
            What::Diff(diff) => diff.run(),
            What::Explain(explain) => explain.run(),
            What::Test(test) => test.run(),
        }
    }
}

fn desk(config: &Path) -> anyhow::Result<PolicyDesk> {
    let env = environment();
    Ok(PolicyDesk::open(config, &|name| env.get(name).cloned())?)
}
