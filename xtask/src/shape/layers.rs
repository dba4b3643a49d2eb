//! Layer folders, the one screen of the pipeline, and how far the name of a layer is scattered.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::source::Source;
use crate::project::Project;

/// `judge`, `serve` and `look` together, with their doc comments' lines left out: a screen at a common size of type.
pub(super) const MOST_SCREEN_LINES: usize = 72;

const LAYERS: &str = "crates/tollgate-layers/src";
const PIPELINE: &str = "crates/tollgate-gateway/src/pipeline.rs";
/// Modules of the crate that are no layers: codecs.
const NO_LAYERS: [&str; 1] = ["protocol"];

/// The layers, in the order of `lib.rs`.
pub(super) fn names(project: &Project) -> Result<Vec<String>> {
    let text = fs::read_to_string(project.root.join(LAYERS).join("lib.rs")).context("the layers have a `lib.rs`")?;
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let names: Vec<_> = modules.filter(|name| !NO_LAYERS.contains(name)).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "`lib.rs` names no layer");
    Ok(names)
}

/// What a layer's folder lacks.
pub(super) fn check(project: &Project, names: &[String]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for name in names {
        let folder = project.root.join(LAYERS).join(name);
        for file in ["README.md", "mod.rs", "config.rs"] {
            if !folder.join(file).is_file() {
                wrong.push(format!("layer `{name}` has no `{file}`"));
            }
        }
        if !folder.join("tests.rs").is_file() && !folder.join("tests/mod.rs").is_file() {
            wrong.push(format!("layer `{name}` has no `tests.rs`"));
        }
        let cases = folder.join("cases");
        let cases = if cases.is_dir() { crate::project::files(&cases, "yaml")?.len() } else { 0 };
        if cases == 0 {
            wrong.push(format!("layer `{name}` has no `cases/*.yaml`"));
        }
    }
    Ok(wrong)
}

/// How many lines `judge`, `serve` and `look` have, from their signatures to their closing braces.
pub(super) fn screen(project: &Project) -> Result<usize> {
    let text = fs::read_to_string(project.root.join(PIPELINE)).with_context(|| format!("`{PIPELINE}` is missing"))?;
    ["pub async fn judge(", "pub async fn serve(", "pub fn look("].into_iter().try_fold(0, |sum, start| {
        let begun = text.lines().skip_while(|line| !line.starts_with(start));
        let body = begun.take_while(|line| *line != "}").count();
        ensure!(body > 0, "`{PIPELINE}` has no `{start}…`");
        Ok(sum + body + 1)
    })
}

/// How many files outside a layer's folder name its module; tests and the list of modules aside.
pub(super) fn scatter(sources: &[Source], name: &str) -> usize {
    let (own, path) = (format!("{LAYERS}/{name}/"), format!("{name}::"));
    let names_it = |source: &&Source| {
        source.path.starts_with("crates/")
            && !source.path.starts_with(&own)
            && !source.is_test
            && source.text.lines().any(|line| {
                let code = line.trim_start();
                let imported =
                    code.starts_with("use ") && (code.contains("tollgate_layers") || code.contains("crate::"));
                (imported || code.contains("tollgate_layers::")) && mentions(code, name, &path)
            })
    };
    sources.iter().filter(names_it).count()
}

/// Whether a line of code says `tollgate_layers::{name}` or `crate::{name}`, also within braces.
fn mentions(code: &str, name: &str, path: &str) -> bool {
    ["tollgate_layers::", "crate::"].iter().any(|root| {
        code.match_indices(root).any(|(at, _)| {
            let rest = &code[at + root.len()..];
            let list = rest.strip_prefix('{').unwrap_or(rest);
            rest.starts_with(path)
                || list.split([',', '}', ';']).any(|item| item.trim() == name || item.trim().starts_with(path))
        })
    })
}
