//! `tollgate policy explain`, `test` and `diff` on policies of a test.
#![cfg(feature = "cedar")]

use std::process::Command;

use tollgate_testkit::Folder;

const CONFIG: &str = "version: 1
listeners: { data: { bind: \"127.0.0.1:0\" } }
upstreams: { m: { endpoints: [\"127.0.0.1:1\"] } }
models:
  small: { upstream: m }
  big: { upstream: m }
routes:
  - { name: chat, path: /v1/chat/completions, protocol: openai, models: [small, big] }
authz: { policies: [all.cedar], model_groups: { all: [small, big] } }
tenants:
  acme: { models: [small], attributes: { tier: gold } }
  globex: {}
";
const POLICIES: &str = "@id(\"nights\") permit(principal in Tenant::\"globex\", action == Action::\"infer\", resource in ModelGroup::\"all\")
when { context.hour < 6 };
@id(\"lan\") forbid(principal, action, resource) unless { context.ip.isInRange(ip(\"10.0.0.0/8\")) || context.ip.isLoopback() };
";
const CASES: &str = "
cases:
  - what: globex works at night
    ask: { tenant: globex, route: chat, model: big, hour: 3 }
    is: allowed
    by: [nights]
  - what: and not by day
    ask: { tenant: globex, route: chat, model: big, hour: 12 }
    is: denied
  - what: strangers are kept out
    ask: { tenant: acme, route: chat, model: small, ip: 192.0.2.1 }
    is: denied
    by: [lan]
";
const LOG: &str = "\
{\"time_ms\":1763600400000,\"client\":\"10.0.0.1\",\"method\":\"POST\",\"route\":\"chat\",\"model\":\"small\",\"tenant\":\"acme\",\"principal\":\"k1\"}
{\"time_ms\":1763600400000,\"client\":\"10.0.0.1\",\"method\":\"POST\",\"route\":\"chat\",\"model\":\"small\",\"tenant\":\"acme\",\"principal\":\"k1\"}
{\"time_ms\":1763640000000,\"client\":\"10.0.0.1\",\"method\":\"POST\",\"route\":\"chat\",\"model\":\"big\",\"tenant\":\"globex\",\"principal\":\"k2\",\"stage\":\"authz\"}
{\"time_ms\":1763640000000,\"client\":\"10.0.0.1\",\"method\":null,\"route\":null,\"model\":null,\"tenant\":null,\"principal\":null,\"stage\":\"hygiene\"}
";

fn folder() -> Folder {
    let folder = Folder::fresh();
    folder.write("tollgate.yaml", CONFIG);
    folder.write("all.cedar", POLICIES);
    folder.write("cases.yaml", CASES);
    folder.write("access.log", LOG);
    folder
}

fn policy(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.arg("policy").args(args).current_dir(folder.join("")).output().expect("the program runs");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told)
}

fn says(folder: &Folder, args: &[&str], code: i32, parts: &[&str]) {
    let (is, told) = policy(folder, args);
    assert_eq!(is, Some(code), "{args:?}: {told}");
    for part in parts {
        assert!(told.contains(part), "`{part}` is not in {told}");
    }
}

#[test]
fn a_decision_is_explained_with_the_policies_that_make_it() {
    let folder = folder();
    let night = ["explain", "--tenant", "globex", "--route", "chat", "--model", "big", "--hour", "3"];
    says(&folder, &night, 0, &["allowed\n", "the allow lists do not permit it", "nights", "hour, ip"]);
    let day = ["explain", "--tenant", "globex", "--route", "chat", "--model", "big", "--hour", "9"];
    says(&folder, &day, 1, &["denied: neither a list nor a policy permits it to `globex`"]);
    let far = ["explain", "--tenant", "acme", "--route", "chat", "--model", "small", "--ip", "192.0.2.1", "--json"];
    says(&folder, &far, 1, &["\"allowed\":false", "policy `lan` forbids it"]);
    says(&folder, &["explain", "--route", "nowhere"], 69, &["`nowhere` is not a route"]);
}

#[test]
fn the_allow_lists_are_printed_as_policies() {
    let parts = ["@id(\"tenants.acme\")", "[Model::\"small\"].contains(resource)", "@id(\"scopes.calls\")"];
    says(&folder(), &["explain", "--lists"], 0, &parts);
}

#[test]
fn cases_hold_or_are_named() {
    let folder = folder();
    says(&folder, &["test", "cases.yaml"], 0, &["3 held, 0 did not"]);
    folder.write("all.cedar", POLICIES.replace("< 6", "< 20"));
    says(&folder, &["test", "cases.yaml"], 1, &["cases.yaml: and not by day: it is allowed", "2 held, 1 did not"]);
    folder.write("cases.yaml", "cases:\n  - { what: a, ask: { rout: chat }, is: allowed }\n");
    says(&folder, &["test", "cases.yaml"], 78, &["cases.yaml:2:"]);
}

#[test]
fn recorded_requests_are_decided_by_two_configurations() {
    let folder = folder();
    folder.write("next.yaml", CONFIG.replace("all.cedar", "next.cedar"));
    folder.write("next.cedar", POLICIES);
    let diff = ["diff", "--to", "next.yaml", "access.log"];
    says(&folder, &diff, 0, &["0 of 3 records change", "1 are about no caller"]);
    folder.write("next.cedar", POLICIES.replace("10.0.0.0/8", "10.9.0.0/16"));
    says(
        &folder,
        &diff,
        1,
        &[
            "acme k1 on chat with small: allowed -> denied, policy `lan` forbids it (2 records)",
            "2 of 3 records change",
        ],
    );
    folder.write("next.cedar", POLICIES.replace("context.ip.isLoopback()", "context.mtls"));
    says(
        &folder,
        &diff,
        0,
        &["0 of 3 records change", "3 cannot be told: their policies look at mtls, which no record holds"],
    );
}

#[test]
fn mistakes_in_policies_have_a_place() {
    let folder = folder();
    folder.write("all.cedar", "permit(principal, action, resource)\nwhen { context.hours < 6 };\n");
    says(&folder, &["explain", "--lists"], 78, &["all.cedar:2:8", "1 problem found"]);
}
