//! `tollgate reference`, hidden: what the generated pages of the reference are made from.

use serde_json::json;
use tollgate_core::ruling::Code;
use tollgate_core::stage::Stage;

use crate::exit::Exit;

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
pub(crate) fn run() -> anyhow::Result<Exit> {
    let code = |code: &Code| {
        json!({
            "name": code.name(),
            "status": code.status(),
            "grpc": code.grpc_status(),
            "title": code.title(),
            "meaning": code.meaning().trim(),
        })
    };
    let codes: Vec<_> = Code::ALL.iter().map(code).collect();
    let stages = Stage::ALL.map(Stage::name);
    println!("{}", serde_json::to_string_pretty(&json!({ "codes": codes, "stages": stages }))?);
    Ok(Exit::Good)
}
