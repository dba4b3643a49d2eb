//! `tollgate schema`: the JSON Schema of the configuration.

use tollgate_gateway::config::{Config, schema};

use crate::exit::Exit;

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
pub(crate) fn run() -> anyhow::Result<Exit> {
    println!("{}", serde_json::to_string_pretty(&schema::<Config>())?);
    Ok(Exit::Good)
}
