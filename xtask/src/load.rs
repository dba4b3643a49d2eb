//! Configurations that documents show and examples hold must load: a page that is wrong about the product fails here.
//!
//! Shape and meaning are checked with `tollgate check`. Files that a page names, such as keys and certificates, need not
//! exist: a problem that is only about such a file is passed over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::project::{Project, files};
use crate::tally::{Tally, say};
use crate::test::Done;

/// Checks every whole configuration.
pub(crate) fn run(project: &Project) -> Result<Done> {
    let program = project.tollgate()?;
    let scratch = project.scratch("load")?;
    let mut tally = Tally::default();
    let mut judge = |name: &str, file: &Path| -> Result<()> {
        match check(project, &program, file).with_context(|| name.to_owned()) {
            Ok(()) => tally += Tally::PASSED,
            Err(error) => {
                say(&format!("   {error:#}"));
                tally += Tally::FAILED;
            }
        }
        Ok(())
    };
    for file in files(&project.root.join("examples"), "yaml")? {
        if fs::read_to_string(&file)?.lines().any(is_root) {
            judge(&file.strip_prefix(&project.root)?.display().to_string(), &file)?;
        }
    }
    let mut pages = vec![project.root.join("README.md")];
    pages.extend(files(&project.root.join("docs"), "md")?);
    for page in pages {
        let name = page.strip_prefix(&project.root)?.display().to_string();
        for (line, block) in blocks(&fs::read_to_string(&page)?) {
            if block.lines().any(is_root) {
                let file = scratch.join(format!("{}-{line}.yaml", name.replace('/', "-")));
                fs::write(&file, block)?;
                judge(&format!("{name}:{line}"), &file)?;
            }
        }
    }
    ensure!(tally != Tally::default(), "neither README nor examples hold a configuration");
    Ok(Done::Counted(tally))
}

/// Whether a line makes its document a whole configuration rather than a piece of one.
fn is_root(line: &str) -> bool {
    line.starts_with("version:")
}

/// The YAML blocks of a page, each with the line it begins on.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut open): (Vec<(usize, String)>, bool) = (Vec::new(), false);
    for (at, line) in page.lines().enumerate() {
        match (open, line.trim_end()) {
            (false, "```yaml") => {
                open = true;
                found.push((at + 2, String::new()));
            }
            (true, "```") => open = false,
            (true, line) => {
                if let Some((_, text)) = found.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (false, _) => {}
        }
    }
    found
}

/// What the example for conformance runs is filled with.
const CONFORMANCE: [(&str, &str); 4] = [
    ("TOLLGATE_LISTEN", "127.0.0.1:0"),
    ("TOLLGATE_UPSTREAM", "http://127.0.0.1:1"),
    ("TOLLGATE_CRS_DIR", "no-rules-here"),
    ("TOLLGATE_CRS_LOG", "waf.jsonl"),
];

fn check(project: &Project, program: &PathBuf, file: &Path) -> Result<()> {
    let mut command = project.command(program, &["check", "--json", "--config"]);
    let done = command.arg(file).envs(CONFORMANCE).envs(secrets(file)?).stderr(Stdio::inherit()).output()?;
    let told: Value = serde_json::from_slice(&done.stdout).context("`check --json` prints JSON")?;
    let problems = told["problems"].as_array().context("a list of problems")?;
    let real: Vec<_> = problems.iter().filter(|problem| !is_absence(problem)).collect();
    if real.is_empty() {
        return Ok(());
    }
    let lines = real.iter().map(|problem| format!("{}:{}: {}", problem["line"], problem["column"], problem["message"]));
    bail!("{}", lines.collect::<Vec<_>>().join("; "))
}

/// A problem that is only about a file that a page need not bring along.
fn is_absence(problem: &Value) -> bool {
    const FILES: [&str; 9] = ["bundle", "ca", "cert", "crl", "crs", "file", "key", "keys", "pepper"];
    let message = problem["message"].as_str().unwrap_or_default();
    let mut path = problem["path"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let says_so =
        ["cannot be read", "does not exist", "holds no", "not found"].iter().any(|words| message.contains(words));
    says_so && path.any(|step| FILES.contains(&step))
}

/// A value for each variable that secrets are read from.
fn secrets(file: &Path) -> Result<BTreeSet<(String, String)>> {
    const MARK: &str = "secret://env/";
    let text = fs::read_to_string(file)?;
    let names = text.split(MARK).skip(1).filter_map(|rest| {
        let name: String = rest.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '_').collect();
        (!name.is_empty()).then_some(name)
    });
    Ok(names
        .map(|name| (name, "5f1d0c9b7a6e4f3d2c1b0a9f8e7d6c5b4a3f2e1d0c9b8a7f6e5d4c3b2a1f0e9d".to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn yaml_blocks_are_found_with_their_lines() {
        let page = "# A page\n\n```yaml\nversion: 1\na: b\n```\n\n```sh\nls\n```\n";
        assert_eq!(blocks(page), [(4, "version: 1\na: b\n".to_owned())]);
    }
}
