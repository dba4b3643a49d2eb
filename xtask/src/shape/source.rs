//! Rules for each source file.

use std::fs;

use anyhow::Result;

use crate::project::{Project, files};

/// Lines of a file.
const MOST_LINES: usize = 600;
/// Lines of `tollgate-core` without its tests.
pub(super) const MOST_CORE_LINES: usize = 1_500;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// A source file.
pub(super) struct Source {
    /// Its path in the project, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// Whether all of it is tests.
    pub(super) is_test: bool,
}

/// Every source file of the project.
pub(super) fn all(project: &Project) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for folder in ["bench", "crates", "fuzz", "tests", "xtask"] {
        let folder = project.root.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for file in files(&folder, "rs")? {
            let path = file.strip_prefix(&project.root)?.to_string_lossy().replace('\\', "/");
            let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
            found.push(Source { text: fs::read_to_string(&file)?, path, is_test });
        }
    }
    Ok(found)
}

/// Lines of all files below a folder, without the tests at their ends.
pub(super) fn lines_below(sources: &[Source], folder: &str) -> usize {
    let lines = |source: &Source| source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    sources.iter().filter(|source| source.path.starts_with(folder) && !source.is_test).map(lines).sum()
}

impl Source {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let lines = self.text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{}: {lines} lines, more than {MOST_LINES}", self.path));
        }
        let name = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if name.split('/').any(|part| EMPTY_NAMES.contains(&part)) {
            wrong.push(format!("{}: a name that says nothing about what is inside", self.path));
        }
        let mut in_tests = self.is_test;
        for (number, line) in self.text.lines().enumerate() {
            in_tests |= line.starts_with("#[cfg(test)]") || line.starts_with("#![cfg(test)]");
            if let Some(what) = flaw(line, in_tests) {
                wrong.push(format!("{}:{}: {what}", self.path, number + 1));
            }
        }
        wrong
    }
}

/// What is wrong with a line; in tests, globs are welcome.
fn flaw(line: &str, in_tests: bool) -> Option<&'static str> {
    let code = line.trim_start();
    if code.starts_with("#[allow(") || code.starts_with("#![allow(") {
        return Some("`allow` hides what it no longer needs to; say `#[expect(lint, reason = \"…\")]`");
    }
    if !in_tests && (code.starts_with("use ") || code.starts_with("pub use ")) && code.contains("::*") {
        return Some("a glob import");
    }
    let comment = code.find("//").and_then(|at| code.get(at..)).unwrap_or_default();
    let left = ["TODO", "FIXME"].iter().any(|word| comment.contains(word));
    (left && !comment.contains("(#")).then_some("unfinished work without the number of an issue")
}

#[cfg(test)]
mod tests {
    use super::flaw;

    #[test]
    fn an_allow_a_glob_and_unfinished_work_are_found() {
        assert!(flaw("    #[allow(dead_code)]", true).is_some());
        assert!(flaw("use crate::project::*;", false).is_some());
        assert!(flaw(concat!("    let a = 1; // TO", "DO: more"), false).is_some());
    }

    #[test]
    fn an_expectation_a_glob_of_tests_and_an_issue_are_fine() {
        assert!(flaw("#[expect(dead_code, reason = \"soon\")]", false).is_none());
        assert!(flaw("    use super::*;", true).is_none());
        assert!(flaw("// TODO(#12): more", false).is_none());
    }
}
