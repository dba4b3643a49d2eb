//! `tollgate waf run`, `lint` and `explain` on rules of a test.

use std::process::{Command, Output};

use tollgate_testkit::Folder;

const RULES: &str = "SecRule ARGS \"@contains evil\" \"id:10,phase:2,deny,log,msg:'An evil word',tag:'attack-generic',\
severity:'CRITICAL',logdata:'%{MATCHED_VAR}'\"
SecRule ARGS \"@contains bad\" \"id:11,phase:2,deny\"
";
/// What a path is compared with here is a number: it is 0, and so is every path.
const DOUBTFUL: &str = "\nSecRule REQUEST_FILENAME \"@eq /admin\" \"id:11,phase:1,deny\"\n";

fn folder() -> Folder {
    let folder = Folder::fresh();
    folder.write("rules.conf", RULES);
    folder.write(
        "attack.http",
        "POST /a?x=1 HTTP/1.1\nHost: localhost\nContent-Type: application/x-www-form-urlencoded\n\nq=very+evil",
    );
    folder.write("fine.http", "GET /a?x=1 HTTP/1.1\nHost: localhost\n");
    let config = "version: 1
listeners: { data: { bind: \"127.0.0.1:0\" } }
upstreams: { m: { endpoints: [\"127.0.0.1:1\"] } }
routes:
  - { name: strict, path: /a, protocol: none, upstream: m }
  - { name: open, path: /b, protocol: none, upstream: m, waf: { exclusions: [SecRuleRemoveById 10] } }
waf: { pack: none, rules: [rules.conf] }
";
    folder.write("tollgate.yaml", config);
    folder
}

fn waf(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output: Output = command.arg("waf").args(args).current_dir(folder.join("")).output().expect("the program runs");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told)
}

#[test]
fn a_request_is_tried_out_against_files_and_against_a_configuration() {
    let folder = folder();
    for args in [&["run", "attack.http", "--rules", "rules.conf"][..], &["run", "attack.http"]] {
        let (code, told) = waf(&folder, args);
        assert_eq!(code, Some(1), "{told}");
        for part in [
            "phase 2  10",
            "critical",
            "An evil word",
            "ARGS:q",
            "very evil",
            "it would be refused: rule 10 in phase 2",
        ] {
            assert!(told.contains(part), "`{part}` is not in {told}");
        }
    }
    let (code, told) = waf(&folder, &["run", "fine.http"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("nothing refuses it"), "{told}");
    let (code, told) = waf(&folder, &["run", "attack.http", "--route", "open", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["matched"], &told["refused"]), (&serde_json::json!([]), &serde_json::Value::Null));
}

#[test]
fn a_path_that_is_compared_as_a_number_is_explained() {
    let folder = folder();
    folder.write("rules.conf", DOUBTFUL);
    let (code, told) = waf(&folder, &["lint"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("rules.conf:2:") && told.contains("@eq"), "{told}");
    folder.write("rules.conf", "SecRule REQUEST_FILENAME \"@streq /admin\" \"id:11,phase:1,deny\"\n");
    let (code, told) = waf(&folder, &["lint"]);
    assert_eq!((code, told.as_str()), (Some(0), "nothing is doubtful\n"));
}

#[test]
fn a_rule_is_looked_up() {
    let folder = folder();
    let (code, told) = waf(&folder, &["explain", "10"]);
    assert_eq!(code, Some(0), "{told}");
    for part in
        ["10 in phase 2, severity critical", "rules.conf:1:1", "An evil word", "@contains evil", "attack-generic"]
    {
        assert!(told.contains(part), "`{part}` is not in {told}");
    }
    let (code, told) = waf(&folder, &["explain", "99"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("no rule 99") && told.contains("nearest one is 11"), "{told}");
}

#[test]
fn rules_that_do_not_load_are_told_with_their_place() {
    let folder = folder();
    folder.write("rules.conf", "SecRule ARGS \"@nothing x\" \"id:1,phase:2,deny\"\n");
    let (code, told) = waf(&folder, &["run", "fine.http"]);
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("rules.conf:1:"), "{told}");
}
