//! Which crate may name which: `cargo metadata` says what is, the table here what may be.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::project::Project;

/// Who may depend on whom in what ships. A leaf names no sibling.
const ARROWS: [(&str, &[&str]); 8] = [
    ("tollgate", &["tollgate-core", "tollgate-gateway", "tollgate-layers", "tollgate-model"]),
    ("tollgate-call", &[]),
    ("tollgate-core", &["tollgate-call"]),
    ("tollgate-gateway", &["tollgate-core", "tollgate-layers", "tollgate-limit"]),
    ("tollgate-layers", &["tollgate-core", "tollgate-limit", "tollgate-seclang"]),
    ("tollgate-limit", &[]),
    ("tollgate-model", &["tollgate-core"]),
    ("tollgate-seclang", &[]),
];
/// Members that never ship: they may name what they like, and nothing that ships may name them but in its tests.
const TOOLS: [&str; 5] = ["tollgate-bench", "tollgate-conformance", "tollgate-sim", "tollgate-testkit", "xtask"];
/// Of them, those that tests of others use.
const FOR_TESTS: [&str; 2] = ["tollgate-conformance", "tollgate-testkit"];
/// The driver builds first and must stay light.
const DRIVER: &str = "xtask";

/// Every arrow that points the wrong way, and every crate that the table does not know.
pub(super) fn check(project: &Project) -> Result<Vec<String>> {
    let packages = project.metadata["packages"].as_array().context("cargo names packages")?;
    let names: Vec<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        let allowed = ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        if allowed.is_none() && !TOOLS.contains(&name) {
            wrong.push(format!("crate `{name}` is not in the table of arrows"));
            continue;
        }
        for (to, kind) in dependencies(package) {
            if !names.contains(&to) {
                continue;
            }
            let fine = match allowed {
                Some(allowed) => allowed.contains(&to) || (kind == "dev" && (to == name || FOR_TESTS.contains(&to))),
                None => name != DRIVER,
            };
            if !fine {
                wrong.push(format!("crate `{name}` names `{to}` ({kind}): that arrow is not in the table"));
            }
        }
    }
    Ok(wrong)
}

/// Names and kinds: `normal`, `build` or `dev`.
fn dependencies(package: &Value) -> impl Iterator<Item = (&str, &str)> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter_map(|dependency| Some((dependency["name"].as_str()?, dependency["kind"].as_str().unwrap_or("normal"))))
}
