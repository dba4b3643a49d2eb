//! `tollgate keys` from the command line: what it prints, what it keeps to itself, and how it says no.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use tollgate_testkit::House;
use tollgate_testkit::house::environment;

const CONFIG: &str = "tenants: { acme: { routes: [all] } }
upstreams: { m: { endpoints: [\"http://127.0.0.1:1\"] } }
routes: [{ name: all, path: /p, methods: [POST], protocol: none, upstream: m }]
";
const FOREIGN: &str = "sk_live_51HqJ8xKzQ2vN7mRfT0aBcYd";

fn keys(house: &House, words: &[&str], input: &str) -> Output {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    verb.arg("keys").args(words).arg("--config").arg(house.folder.join("tollgate.yaml"));
    verb.env_clear().envs(environment()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = verb.spawn().expect("the program runs");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// What it printed, and what it said beside that, where it ended well.
fn said(house: &House, words: &[&str], input: &str) -> (String, String) {
    let output = keys(house, words, input);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{words:?}: {out}{err}");
    (out.trim_end().to_owned(), err.into_owned())
}

/// Why it did not.
fn refused(house: &House, words: &[&str], input: &str) -> String {
    let output = keys(house, words, input);
    assert_ne!(output.status.code(), Some(0), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_key_is_made_followed_revoked_and_forgotten_from_the_command_line() {
    let house = House::furnish(CONFIG);
    let (key, _) = said(&house, &["new", "--tenant", "acme", "--client", "batch", "--purpose", "nightly"], "");
    let id = key.split('_').nth(2).expect("an id");
    let (next, told) = said(&house, &["rotate", id, "--grace", "12h"], "");
    assert!(next.starts_with("tgk_live_") && told.contains(&format!("{id} is good until ")), "{told}");
    let (shown, _) = said(&house, &["show", id], "");
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["standing"], &shown["principal"]), (&"retiring".into(), &"acme/batch".into()));
    assert!(refused(&house, &["rotate", id], "").contains("is retiring"));
    assert!(
        refused(&house, &["new", "--tenant", "acme", "--client", "batch", "--purpose", "nightly"], "")
            .contains("two keys")
    );
    said(&house, &["revoke", id], "");
    let (list, _) = said(&house, &["list"], "");
    assert_eq!(list.lines().count(), 4, "a head, the key of the house, and two: {list}");
    assert_eq!(said(&house, &["prune"], "").0, "", "it is kept for a while");
    assert_eq!(said(&house, &["prune", "--kept", "0d"], "").0, id);
    let written = std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file");
    for key in [&key, &next] {
        let secret = key.rsplit('_').next().expect("a secret");
        assert!(!format!("{written}{list}{shown}").contains(&secret[..8]));
        assert!(!refused(&house, &["revoke", key], "").contains(&secret[..8]), "a whole key in place of an id");
        assert!(!refused(&house, &["show", key], "").contains(&secret[..8]), "a whole key in place of an id");
    }
}

#[test]
fn keys_of_other_systems_are_taken_over_all_or_none() {
    let house = House::furnish(CONFIG);
    let import = ["import", "--tenant", "acme"];
    assert!(refused(&house, &import, FOREIGN).contains("`auth.keys.opaque` is not set"));
    let path = house.folder.join("tollgate.yaml");
    let text = std::fs::read_to_string(&path).expect("our own file");
    house.folder.write("tollgate.yaml", text.replace("file: keys.yaml,", "file: keys.yaml, opaque: true,"));
    let before = std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file");
    for (input, why) in [
        (String::new(), "no key on standard input"),
        (format!("{FOREIGN}\n{FOREIGN}\n"), "line 2: it is known already"),
        (format!("{FOREIGN}\npasswordpassword\n"), "line 2: it can be guessed"),
        (format!("{FOREIGN}\ntgk_live_x\n"), "line 2: it begins with `tgk_`"),
    ] {
        let told = refused(&house, &import, &input);
        assert!(told.contains(why) && !told.contains("51HqJ8"), "{told}");
    }
    assert_eq!(std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file"), before);
    let (ids, told) = said(&house, &import, &format!("{FOREIGN}\n\n{}\n", "a3f08b77c15e4d29a3c0"));
    assert_eq!(ids.lines().count(), 2, "{ids}{told}");
    let written = std::fs::read_to_string(house.folder.join("keys.yaml")).expect("the key file");
    assert!(written.contains("kind: opaque") && !written.contains("51HqJ8"), "{written}");
}
