//! `tollgate check`: every mistake of a configuration at once.

use std::path::PathBuf;

use clap::Args;
use tollgate_core::guard::Mode;
use tollgate_gateway::start::{Setup, check};

use crate::embed::Onnx;
use crate::environment;
use crate::exit::Exit;

/// Check a configuration: every mistake at once, with line and column.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(value_name = "FILE", default_value = "tollgate.yaml")]
    file: PathBuf,
    /// The same, for scripts that pass it to every verb.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print problems and warnings as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    #[expect(clippy::print_stdout, reason = "the bin speaks to people")]
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let file = self.config.unwrap_or(self.file);
        let setup = Setup { config: file.clone(), env: environment(), embed: Box::new(Onnx::default()), access: None };
        let checked = match check(setup) {
            Ok(checked) => checked,
            Err(tollgate_gateway::start::StartError::Config(report)) if self.json => {
                println!("{}", serde_json::json!({ "good": false, "problems": report.problems }));
                return Ok(Exit::Config);
            }
            Err(error) => return Err(error.into()),
        };
        if self.json {
            let told = serde_json::json!({
                "good": true, "problems": [], "warnings": checked.warnings, "opened": checked.opened,
            });
            println!("{told}");
            return Ok(Exit::Good);
        }
        for warning in &checked.warnings {
            println!("warning: {warning}");
        }
        for opened in &checked.opened {
            println!("a preset opens {opened}");
        }
        for (stage, mode) in checked.modes {
            match mode {
                Mode::Enforce => {}
                Mode::Observe => println!("`{}` is only watched: it refuses nothing", stage.name()),
                Mode::Off => println!("`{}` is off", stage.name()),
            }
        }
        let counts: Vec<_> = checked.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!("{} is good: {}", file.display(), counts.join(", "));
        Ok(Exit::Good)
    }
}
