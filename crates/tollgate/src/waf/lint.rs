//! `tollgate waf lint`: lines that load and cannot work as their author meant.

use clap::Args;
use tollgate_core::check::Checker;
use tollgate_layers::waf::{Problem, Severity};

use super::load::Which;
use crate::exit::Exit;

/// Explain every line that cannot work as its author meant, such as a comparison of a path with `@eq`, besides those that
/// do not load.
#[derive(Args, Debug)]
pub(super) struct Lint {
    #[command(flatten)]
    which: Which,
    /// Lint the Core Rule Set and the rules that ship with the gateway too.
    #[arg(long)]
    all: bool,
}

impl Lint {
    #[expect(clippy::print_stdout, reason = "the bin speaks to people")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut opened = self.which.open()?;
        let mut check = Checker::default();
        let own = |problem: &Problem| {
            let file = &*problem.place.file;
            !file.starts_with("tollgate:/") && !opened_crs(&opened.waf.crs, file)
        };
        let found = opened.with_given(|waf, given| waf.lint(&mut check, given));
        let found: Vec<_> = found.into_iter().filter(|problem| self.all || own(problem)).collect();
        let problems = check.finish().0;
        if !problems.is_empty() {
            return Err(opened.refused(&problems));
        }
        opened.waf.rules.clear();
        for problem in &found {
            println!("{problem}");
        }
        let broken = found.iter().any(|problem| problem.severity == Severity::Error);
        match (found.len(), broken) {
            (0, _) => println!("nothing is doubtful"),
            (count, _) => println!("{count} doubtful line{}", if count == 1 { "" } else { "s" }),
        }
        Ok(match (found.is_empty(), broken) {
            (true, _) => Exit::Good,
            (false, true) => Exit::Config,
            (false, false) => Exit::Findings,
        })
    }
}

/// Whether a file belongs to the Core Rule Set.
fn opened_crs(crs: &Option<String>, file: &str) -> bool {
    match crs.as_deref() {
        None => false,
        Some("debian") => file.starts_with("/usr/share/modsecurity-crs/") || file.starts_with("/etc/modsecurity/crs/"),
        Some(directory) => file.starts_with(directory),
    }
}
