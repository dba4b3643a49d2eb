//! `schema/tollgate.schema.json`: what `tollgate schema` prints.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::project::{Project, output};
use crate::tally::say;

const FILE: &str = "schema/tollgate.schema.json";

/// Writes the schema, or says that it is not as generated.
pub(crate) fn run(project: &Project, check: bool) -> Result<()> {
    let text = output(&mut project.command(project.tollgate()?, &["schema"]))?;
    project.generated(FILE, &text, check, "schema")?;
    say(&format!("   {FILE} {}", if check { "is as generated" } else { "is written" }));
    Ok(())
}

/// The schema as a document.
pub(crate) fn document(project: &Project) -> Result<Value> {
    let text = output(&mut project.command(project.tollgate()?, &["schema"]))?;
    serde_json::from_str(&text).context("`tollgate schema` prints JSON")
}
