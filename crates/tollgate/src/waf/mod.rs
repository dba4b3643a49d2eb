//! `tollgate waf`: tools for rule authors, on the rules of a configuration or on files.

mod explain;
mod lint;
mod load;
mod run;

use clap::{Args, Subcommand};

use crate::exit::Exit;

/// Try rules out, find lines that cannot work, and look rules up. Reads the configuration's `waf` and `routes` alone: no
/// secret is opened and nothing is served.
#[derive(Args, Debug)]
pub(crate) struct Waf {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Explain(explain::Explain),
    Lint(lint::Lint),
    Run(run::Run),
}

impl Waf {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.what {
            What::Explain(explain) => explain.run(),
            What::Lint(lint) => lint.run(),
            What::Run(run) => run.run(),
        }
    }
}
