//! Runs the repository's own cases with the verb that users run theirs with, and shows that the verb can fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn test(args: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("test").args(args).env_clear().output().expect("the program starts")
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

/// A directory of its own for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn every_case_of_the_repository_holds() {
    let config = cases().join("tollgate.yaml");
    let output = test(&[Path::new("--config"), &config, Path::new("--json"), &cases()]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let cases = document["cases"].as_array().expect("a list of cases");
    let failed: Vec<_> = cases.iter().filter(|case| case["good"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(document["counts"]["steps"].as_u64() >= Some(120), "{}", document["counts"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_example_of_classes_on_a_budget_holds() {
    let config = cases().join("../examples/classes/tollgate.yaml");
    let output = test(&[Path::new("--config"), &config]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

const CASE: &str = "
cases:
  - what: a promise that does not hold
    steps:
      - send: { path: /nowhere }
        expect: { status: 200, stage: auth, upstream: reached, header: { x-request-id: null } }
  - what: a promise that holds
    steps:
      - send: { path: /nowhere }
        expect: { status: 404, code: not_found, stage: routes }
";

#[test]
fn a_broken_promise_is_told_with_what_was_there_and_ends_with_one() {
    let scratch = Scratch::new("broken-promise");
    let file = scratch.write("case.yaml", CASE);
    let output = test(&[Path::new("--config"), &cases().join("tollgate.yaml"), &file]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "case.yaml:3: a promise that does not hold",
        "step 1: status: expected 200",
        "got 404",
        "step 1: stage: expected auth",
        "got routes",
        "step 1: upstream: expected reached",
        "step 1: header `x-request-id`: expected absent",
        "record: status=404 outcome=denied stage=routes code=not_found",
        "case.yaml:7: a promise that holds",
        "2 cases, 2 steps: 1 failed",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn a_mistaken_case_is_located_and_ends_with_78() {
    let scratch = Scratch::new("mistaken-case");
    let steps = "
cases:
  - what: mistakes
    steps:
      - send: { path: nowhere, text: a, json: b }
        as: nobody
        expect: { code: no_such_code }
      - send: { raw: \"GET / HTTP/1.1\\r\\n\\r\\n\", method: GET, listener: none }
        expect: { status: 404, code: forbidden }
";
    let file = scratch.write("case.yaml", steps);
    let output = test(&[Path::new("--config"), &cases().join("tollgate.yaml"), &file]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for problem in [
        "case.yaml:6:13: `nobody` is not a tenant",
        "case.yaml:5:23: `nowhere` does not begin with `/`",
        "case.yaml:5:15: a body is one of",
        "case.yaml:7:25: `no_such_code` is not a code",
        "case.yaml:8:22: `raw` is the whole request",
        "case.yaml:8:71: `none` is not a listener",
        "case.yaml:9:27: no answer with this code has this status",
        "7 problems found",
    ] {
        assert!(text.contains(problem), "no `{problem}` in\n{text}");
    }
    let misspelt = scratch.write("shape.yaml", "cases:\n  - what: a\n    steps:\n      - { send: {}, expects: {} }\n");
    let output = test(&[Path::new("--config"), &cases().join("tollgate.yaml"), &misspelt]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("shape.yaml:4:21: unknown key `expects`"), "{text}");
}

#[test]
fn nothing_to_test_and_a_wrong_option_end_with_64() {
    let scratch = Scratch::new("nothing");
    let config =
        scratch.write("tollgate.yaml", "version: 1\nlisteners: { a: { bind: \"127.0.0.1:0\" } }\nroutes: []\n");
    assert_eq!(test(&[Path::new("--config"), &config]).status.code(), Some(64));
    assert_eq!(test(&[Path::new("--no-such-option")]).status.code(), Some(64));
    assert_eq!(test(&[Path::new("--help")]).status.code(), Some(0));
    let case = scratch.write("case.yaml", CASE);
    let output = test(&[Path::new("--config"), &config, &case]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "a configuration that serves nothing cannot be tested: {text}");
    assert!(text.contains("no route"), "{text}");
}
