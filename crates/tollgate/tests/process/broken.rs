//! Broken configurations: each gives all its mistakes with line and column, and none of them disturbs a running gateway.
//!
//! `tests/broken/*.yaml` are data: lines `#! LINE:COLUMN: FRAGMENT` at the head of a file say what must be found in it,
//! all of it and nothing else; `=> FRAGMENT` at the end of such a line is part of the hint. Lines are counted without
//! those lines, so that an expectation moves nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gateway::{Scratch, Served};

/// The environment of every run.
const ENV: [(&str, &str); 2] = [("ADMIN_KEY", "0123456789abcdef0123456789abcdef"), ("SHORT", "short")];

/// What must be found at a place.
#[derive(Debug)]
struct Expected {
    line: u64,
    column: u64,
    message: String,
    hint: Option<String>,
}

/// A broken configuration.
struct Broken {
    name: String,
    expected: Vec<Expected>,
    text: String,
}

impl Broken {
    fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
        let entries = std::fs::read_dir(directory).expect("the directory of broken configurations");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a text");
        let (head, body): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("#! "));
        let expected = head.iter().map(|line| {
            let mut parts = line.trim_start_matches("#! ").splitn(3, ':');
            let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("LINE:COLUMN: FRAGMENT");
            let (line, column) = (number(), number());
            let rest = parts.next().expect("a fragment").trim();
            let (message, hint) = match rest.split_once(" => ") {
                Some((message, hint)) => (message, Some(hint.to_owned())),
                None => (rest, None),
            };
            Expected { line, column, message: message.to_owned(), hint }
        });
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        Self { name, expected: expected.collect(), text: body.join("\n") + "\n" }
    }

    fn write(&self, scratch: &Scratch) -> PathBuf {
        scratch.write(&self.name, &self.text)
    }
}

/// Files that broken configurations name: made anew, because Git keeps no permissions and keys do not belong into it.
fn files(scratch: &Scratch) {
    let directory = scratch.path().join("files");
    std::fs::create_dir_all(&directory).expect("a directory");
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("permissions");
    };
    let made = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    write("cert.pem", &made.cert.pem(), 0o644);
    write("key.pem", &made.signing_key.serialize_pem(), 0o600);
    write("other.key", &other.serialize_pem(), 0o600);
    write("loose", "a-secret-that-everybody-can-read", 0o644);
    write("not-a-model.onnx", "not a model\n", 0o644);
    write("empty-keys.yaml", "keys: []\n", 0o600);
    let ghost = "version: 1\nlisteners: { data: { bind: \"127.0.0.1:0\" } }\nroutes: []\ntenants: { ghost: {} }\n\
                 auth: { keys: { file: files/keys.yaml, pepper: { v1: \"secret://env/ADMIN_KEY\" } } }\n";
    let config = scratch.write("ghost.yaml", ghost);
    let mut issue = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let issued =
        issue.args(["keys", "new", "--tenant", "ghost", "--config"]).arg(&config).env_clear().envs(ENV).output();
    assert!(issued.expect("the program starts").status.success());
}

fn found(config: &Path) -> (Option<i32>, Vec<serde_json::Value>) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output =
        check.arg("check").arg("--json").arg(config).env_clear().envs(ENV).output().expect("the program starts");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    (output.status.code(), document["problems"].as_array().cloned().unwrap_or_default())
}

/// What differs between what a file promises and what was found in it.
fn differences(broken: &Broken, problems: &[serde_json::Value]) -> Vec<String> {
    let mut unclaimed: BTreeSet<usize> = (0..problems.len()).collect();
    let mut differences = Vec::new();
    for expected in &broken.expected {
        let fits = |problem: &serde_json::Value| {
            let hint = problem["hint"].as_str().unwrap_or_default();
            problem["line"] == expected.line
                && problem["column"] == expected.column
                && problem["message"].as_str().is_some_and(|message| message.contains(&expected.message))
                && expected.hint.as_ref().is_none_or(|expected| hint.contains(expected))
        };
        match unclaimed.iter().copied().find(|place| problems.get(*place).is_some_and(fits)) {
            Some(place) => drop(unclaimed.remove(&place)),
            None => differences.push(format!("{}: not found: {expected:?}", broken.name)),
        }
    }
    let more = unclaimed.iter().filter_map(|place| problems.get(*place));
    differences.extend(more.map(|problem| format!("{}: found: {problem}", broken.name)));
    differences
}

#[test]
fn every_broken_file_gives_all_its_mistakes_with_line_and_column() {
    let scratch = Scratch::new("broken");
    files(&scratch);
    let all = Broken::all();
    assert!(all.len() >= 40, "{} files", all.len());
    let mut differences_of_all = Vec::new();
    for broken in &all {
        assert!(!broken.expected.is_empty(), "{} expects nothing", broken.name);
        let (code, problems) = found(&broken.write(&scratch));
        if code != Some(78) {
            differences_of_all.push(format!("{}: exit code {code:?}", broken.name));
        }
        differences_of_all.extend(differences(broken, &problems));
    }
    assert!(differences_of_all.is_empty(), "{}", differences_of_all.join("\n"));
}

#[test]
fn no_message_about_a_secret_repeats_it() {
    let scratch = Scratch::new("secrets");
    files(&scratch);
    for broken in Broken::all() {
        let (_, problems) = found(&broken.write(&scratch));
        let text = serde_json::to_string(&problems).expect("text");
        for secret in ["hunter2", "424242", ENV[0].1, "everybody-can", "password@"] {
            assert!(!text.contains(secret), "{} tells `{secret}`: {text}", broken.name);
        }
    }
}

#[test]
fn a_running_gateway_keeps_its_policy_when_it_is_told_to_load_a_broken_one() {
    let scratch = Scratch::new("reload");
    files(&scratch);
    let good = "version: 1
listeners:
  data: { bind: \"127.0.0.1:0\" }
  admin: { bind: \"127.0.0.1:0\", serves: admin }
admin: { key: \"secret://env/ADMIN_KEY\" }
runtime: { workers: 1 }
record: { access: off }
routes: [{ name: health, path: /health, protocol: health }]
";
    let config = scratch.write("running.yaml", good);
    let gateway = Served::start(&config, &ENV);
    let state = |name: &str| gateway.metric(name, ENV[0].1);
    assert_eq!(state("tollgate_config_rejected"), Some(0.0));
    let sample = Broken::all();
    for broken in sample.iter().step_by(6) {
        let generation = state("tollgate_config_generation");
        assert!(generation.is_some());
        scratch.write("running.yaml", &broken.text);
        gateway.reload();
        assert!(gateway.comes_true(|| state("tollgate_config_rejected") == Some(1.0)), "{}", broken.name);
        assert_eq!(gateway.get("data", "/health", None), 200, "{}", broken.name);
        assert_eq!(state("tollgate_config_generation"), generation, "{}", broken.name);
        scratch.write("running.yaml", good);
        gateway.reload();
        assert!(gateway.comes_true(|| state("tollgate_config_rejected") == Some(0.0)), "good again");
    }
    gateway.stop();
}
