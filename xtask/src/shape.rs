//! `cargo xtask shape`: the rules of the house that no compiler checks.
//!
//! Functions of more than 100 lines and arguments beyond 5 are clippy's business (`clippy.toml`), not this module's.

mod arrows;
mod layers;
mod source;

use anyhow::{Result, bail};

use crate::project::Project;
use crate::tally::say;

/// Checks every rule and says how things are; every violation is named before it fails.
pub(crate) fn run(project: &Project) -> Result<String> {
    let mut wrong = arrows::check(project)?;
    let names = layers::names(project)?;
    wrong.extend(layers::check(project, &names)?);
    let sources = source::all(project)?;
    for source in &sources {
        wrong.extend(source.check());
    }
    let core = source::lines_below(&sources, "crates/tollgate-core/src/");
    if core > source::MOST_CORE_LINES {
        wrong.push(format!("tollgate-core has {core} lines, more than {} for ever", source::MOST_CORE_LINES));
    }
    let screen = layers::screen(project)?;
    if screen > layers::MOST_SCREEN_LINES {
        wrong.push(format!(
            "judge, serve and look have {screen} lines, more than a screen of {}",
            layers::MOST_SCREEN_LINES
        ));
    }
    for name in &names {
        let scatter = layers::scatter(&sources, name);
        say(&format!("   layer {name:<9} is named by {scatter} files outside its folder"));
    }
    for line in &wrong {
        say(&format!("   {line}"));
    }
    if !wrong.is_empty() {
        bail!("{} violations", wrong.len());
    }
    let longest = sources.iter().map(|source| source.text.lines().count()).max().unwrap_or(0);
    Ok(format!(
        "{} sources, longest {longest} lines; core {core} of {} lines; pipeline {screen} of {} lines; {} layers",
        sources.len(),
        source::MOST_CORE_LINES,
        layers::MOST_SCREEN_LINES,
        names.len()
    ))
}
