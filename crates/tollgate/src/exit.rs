//! Exit codes, the same for every verb.

use std::process::ExitCode;

use tollgate_gateway::start::StartError;

/// What the help of every verb says about exit codes.
pub(crate) const HELP: &str = "Exit codes: 0 good, 1 findings, 2 could not measure, 64 wrong usage, \
                               69 something is missing, 78 bad configuration";

/// How a verb ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Something was found wrong in what was looked at.
    Findings = 1,
    /// All is well.
    Good = 0,
    /// Something outside is missing: a port, a file, a thread.
    Missing = 69,
    /// The command line, or what it names, makes no sense.
    Usage = 64,
    /// The configuration has mistakes.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Tells the person what went wrong, and the shell in which class.
    #[expect(clippy::print_stderr, reason = "the bin speaks to people")]
    pub(crate) fn of(error: &anyhow::Error) -> ExitCode {
        let exit = match error.downcast_ref::<StartError>() {
            Some(StartError::Config(report)) => {
                eprintln!("{report}");
                let count = report.problems.len();
                eprintln!("{count} problem{} found; nothing was changed", if count == 1 { "" } else { "s" });
                return Self::Config.into();
            }
            _ => Self::Missing,
        };
        eprintln!("tollgate: {error:#}");
        exit.into()
    }
}
