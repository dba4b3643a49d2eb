//! `tollgate release` before a gateway that runs: what it prints, what it moves, and how it says no.

use std::process::{Command, Output};

use tollgate_testkit::House;
use tollgate_testkit::house::environment;

const CONFIG: &str = "runtime: { workers: 1 }
upstreams:
  old: { endpoints: [\"http://127.0.0.1:1\"] }
  new: { endpoints: [\"http://127.0.0.1:2\"] }
models:
  m: { upstream: old, versions: { blue: { weight: 100 }, green: { upstream: new } } }
  plain: { upstream: old }
routes:
  - { name: chat, path: \"/v1/{*rest}\", protocol: openai, models: [m, plain], auth: none }
";

fn verb(house: &House, words: &[&str]) -> Output {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    verb.arg("release").args(words).arg("--config").arg(house.folder.join("tollgate.yaml"));
    verb.args(["--admin", &house.at("admin").to_string()]).env_clear().envs(environment());
    verb.output().expect("the program runs")
}

/// What it printed, where it ended with `code`.
fn said(house: &House, words: &[&str], code: i32) -> String {
    let output = verb(house, words);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{err}");
    format!("{out}{err}")
}

#[test]
fn a_release_is_started_seen_promoted_and_rolled_back_from_the_command_line() {
    let house = House::start(CONFIG);
    let told = said(&house, &["status"], 0);
    assert!(told.starts_with("m\n  blue             100 %  baseline"), "{told}");
    assert!(told.contains("green              0 %  idle") && !told.contains("plain"), "{told}");
    let told = said(&house, &["start", "--model", "m", "--version", "green", "--weight", "10"], 0);
    assert!(told.starts_with("start green: 0 % -> 10 % by the operator (asked for)\n"), "{told}");
    assert!(told.contains("green             10 %  trial") && told.contains("evidence 1.0 of 100.0"), "{told}");
    assert!(told.contains("a restart forgets it"), "{told}");
    let told = said(&house, &["promote", "--model", "m"], 0);
    assert!(told.starts_with("promote green: 10 % -> 100 %"), "{told}");
    let told = said(&house, &["rollback", "--model", "m"], 0);
    assert!(told.starts_with("rollback green: 100 % -> 0 %") && told.contains("blue             100 %"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&house, &["status", "--model", "m", "--json"], 0)).expect("JSON");
    assert_eq!(json["releases"][0]["history"].as_array().map(Vec::len), Some(3), "{json}");
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let house = House::start(CONFIG);
    for (words, why) in [
        (&["promote", "--model", "m"][..], "no version is on trial"),
        (&["start", "--model", "m", "--version", "red"], "`red` is not a version"),
        (&["start", "--model", "plain"], "`plain` is no model with versions"),
        (&["status", "--model", "plain"], "`plain` is no model with versions"),
        (&["start"], "needs `--model NAME`"),
        (&["start", "--model", "m", "--weight", "101"], "101 is not in 0..=100"),
    ] {
        let told = said(&house, words, 64);
        assert!(told.contains(why), "{words:?}: {told}");
    }
    assert!(said(&house, &["status"], 0).contains("blue             100 %"));
    let mut gone = house;
    let at = gone.at("admin");
    drop(gone.take());
    assert!(said(&gone, &["status"], 69).contains(&format!("no gateway answers at {at}")));
}
