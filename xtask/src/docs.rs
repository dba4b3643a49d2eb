//! `docs/reference/`: pages that are generated from the product, so that they cannot be wrong about it.

mod codes;
mod configuration;
mod metrics;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::project::{Project, output};
use crate::schema;
use crate::tally::say;

/// Writes the pages, or says which one is not as generated.
pub(crate) fn run(project: &Project, check: bool) -> Result<()> {
    let told = output(&mut project.command(project.tollgate()?, &["reference"]))?;
    let told: Value = serde_json::from_str(&told).context("`tollgate reference` prints JSON")?;
    let pages = [
        ("docs/reference/codes.md", codes::page(&told)?),
        ("docs/reference/configuration.md", configuration::page(&schema::document(project)?)?),
        ("docs/reference/metrics.md", metrics::page(project)?),
    ];
    for (file, text) in pages {
        project.generated(file, &text, check, "docs")?;
        say(&format!("   {file} {}", if check { "is as generated" } else { "is written" }));
    }
    Ok(())
}

/// A text as it may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
