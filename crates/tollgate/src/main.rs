//! The `tollgate` program: one file for each verb.

mod check;
mod contract;
mod cost;
mod crs;
mod demo;
mod discretion;
mod door;
mod embed;
mod exit;
mod keys;
mod limits;
#[cfg(feature = "cedar")]
mod policy;
mod reference;
mod release;
mod schema;
mod serve;
mod test;
mod waf;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A gate in front of model servers: TLS, API keys, contracts for tensors and text, limits that count compute, fair
/// queues, records. One binary, one file.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = exit::HELP)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration: every mistake at once, with line and column.
    Check(check::Check),
    Contract(contract::Contract),
    Cost(cost::Cost),
    Crs(crs::Crs),
    /// See it at work: three models, real requests, and what an attacker would try. Needs nothing.
    Demo(demo::Demo),
    /// Issue, list, rotate, revoke and take over API keys.
    Keys(keys::Keys),
    Limits(limits::Limits),
    #[cfg(feature = "cedar")]
    Policy(policy::Policy),
    /// Print what the pages of the reference are made from.
    #[command(hide = true)]
    Reference,
    Release(release::Release),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Serve.
    Serve(serve::Serve),
    Test(test::Test),
    Waf(waf::Waf),
}

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(told) => {
            // Help and version are answers, not mistakes. Nobody is left to tell if the terminal is gone.
            drop(told.print());
            return if told.use_stderr() { Exit::Usage.into() } else { Exit::Good.into() };
        }
    };
    if let Err(error) = discretion::keep() {
        return Exit::of(&error);
    }
    let done = match line.verb {
        Verb::Check(verb) => verb.run(),
        Verb::Contract(verb) => verb.run(),
        Verb::Cost(verb) => verb.run(),
        Verb::Crs(verb) => verb.run(),
        Verb::Demo(verb) => verb.run(),
        Verb::Keys(verb) => verb.run(),
        Verb::Limits(verb) => verb.run(),
        #[cfg(feature = "cedar")]
        Verb::Policy(verb) => verb.run(),
        Verb::Reference => reference::run(),
        Verb::Release(verb) => verb.run(),
        Verb::Schema => schema::run(),
        Verb::Serve(verb) => verb.run(),
        Verb::Test(verb) => verb.run(),
        Verb::Waf(verb) => verb.run(),
    };
    match done {
        Ok(code) => code.into(),
        Err(error) => Exit::of(&error),
    }
}

/// The environment, read once.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
