//! Loads the configuration document, and says more of keys that it does not have than that they are unknown: what is
//! not part of this release, and what is a gate and has no mode.

use std::path::Path;

use tollgate_core::check::Step;

use super::{Config, Loaded, Located, Report, Sources, load};

/// Stages that arrive with later releases.
const LATER: [&str; 4] = ["abuse", "challenge", "mesh", "prompt"];
/// Sections of stages that are always enforced.
const GATES: [&str; 5] = ["auth", "hygiene", "intake", "parse", "routes"];
/// Sections of stages that make no decision that could be watched.
const MODELESS: [&str; 4] = ["cost", "output", "queue", "record"];

/// Loads the configuration whose main file is `main`.
///
/// # Errors
/// The report of every mistake of its shape.
pub fn load_config(main: &Path, sources: &Sources<'_>) -> Result<Loaded<Config>, Report> {
    load(main, sources).map_err(|mut report: Report| {
        report.problems.iter_mut().for_each(explain);
        report
    })
}

fn explain(problem: &mut Located) {
    if !problem.message.starts_with("unknown key") {
        return;
    }
    let path: Vec<&str> = problem.path.iter().map(|step| if let Step::Key(key) = step { key } else { "" }).collect();
    let hint = match path.as_slice() {
        [stage] | [.., "stages", stage] if LATER.contains(stage) => {
            format!("the stage `{stage}` is not part of this release")
        }
        ["acme"] | ["certs", _, "acme"] => {
            "certificates by ACME are not part of this release: name the files `cert` and `key`".to_owned()
        }
        [gate, "mode" | "on_fault"] if GATES.contains(gate) => {
            format!("`{gate}` is a gate: it cannot be watched, switched off or fail open")
        }
        [stage, "mode" | "on_fault"] if MODELESS.contains(stage) => format!("`{stage}` is always on"),
        _ => return,
    };
    problem.hint = Some(hint);
}
