//! What good files load to.

use std::collections::BTreeSet;
use std::path::Path;

use tollgate_core::check::{Problem, Step};

use super::sample::{
    Balance, Dimension, GOOD, HashBy, Health, Method, Probe, Profile, Rewrite, Sample, load_files, load_text,
};
use crate::config::{ByteSize, Loaded, SecretSource as SecretRef};

fn good(text: &str) -> Loaded<Sample> {
    load_text(text).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn a_good_file_fills_every_construct() {
    let sample = good(GOOD).value;
    assert_eq!((sample.version, &sample.profile), (1, &Profile::Strict));
    assert_eq!(sample.listeners["admin"].bind, "127.0.0.1:8443");
    assert_eq!(sample.listeners["public"].backlog, Some(1024));
    assert!(sample.listeners["public"].http2);
    let (triton, chat, other) = (&sample.upstreams["triton"], &sample.upstreams["chat.v1"], &sample.upstreams["other"]);
    assert_eq!(triton.timeout.0.as_secs(), 30);
    assert_eq!(triton.balance, Some(Balance::RoundRobin));
    assert_eq!(chat.timeout.0.as_secs(), 10);
    assert_eq!(chat.key, Some(SecretRef::Env { name: "CHAT_KEY".to_owned() }));
    assert_eq!(chat.balance, Some(Balance::Hash(HashBy { header: "x-user".to_owned() })));
    assert_eq!(chat.health, Some(Health::Tcp));
    assert_eq!(other.balance, Some(Balance::Weighted { weights: vec![1, 2] }));
    assert_eq!(other.health, Some(Health::Probe(Probe { port: 16 })));
    let llama = &sample.models["llama-3.1"];
    assert_eq!(llama.range, Some((-1.5, 1.0)));
    assert_eq!(llama.shape, [Dimension::Symbol("batch".to_owned()), Dimension::Fixed(9)]);
    assert_eq!(sample.routes[0].methods, BTreeSet::from([Method::Get, Method::Post]));
    assert_eq!(sample.routes[0].common.log, Some(true));
    assert_eq!((sample.routes[1].name.as_str(), sample.routes[1].path.as_str()), ("${x}", "/default"));
    assert!(matches!(&sample.routes[1].rewrite, Some(Rewrite::Parts(parts)) if parts.to == "b"));
    assert_eq!(sample.tenants["acme"].labels["port"], "16");
    assert_eq!(sample.memory.map(|memory| memory.bodies), Some(ByteSize::mib(256)));
}

#[test]
fn what_was_loaded_can_be_written_and_loaded_again() {
    let first = good(GOOD).value;
    let text = serde_json::to_string_pretty(&first).expect("the sample serialises").replace("${", "$${");
    assert_eq!(good(&text).value, first);
}

#[test]
fn the_fingerprint_changes_with_the_text_and_with_what_is_filled_in() {
    let of = |text: &str| good(text).fingerprint;
    assert_eq!(of(GOOD), of(GOOD));
    assert_eq!(of(GOOD).len(), 32);
    assert_ne!(of(GOOD), of(&GOOD.replace("backlog: 1024", "backlog: 1025")));
    assert_ne!(of(GOOD), of(&format!("{GOOD} ")));
}

#[test]
fn problems_of_meaning_stand_at_the_value_or_at_its_nearest_written_parent() {
    let places = good(GOOD).places;
    let at = |path: &[Step]| {
        let located = places.locate(&Problem {
            path: path.to_vec(),
            message: "m".to_owned(),
            hint: Some("h".to_owned()),
            place: None,
        });
        assert_eq!((located.file.as_path(), located.path.as_slice()), (Path::new("main.yaml"), path));
        (located.line, located.column)
    };
    let key = |key: &str| Step::from(key);
    assert_eq!(at(&[]), (2, 1));
    assert_eq!(at(&[key("profile")]), (3, 10));
    assert_eq!(at(&[key("listeners"), key("public"), key("bind")]), (5, 19));
    assert_eq!(at(&[key("listeners"), key("public")]), (5, 11));
    // Block mappings and what is missing inside them: the key.
    assert_eq!(at(&[key("listeners"), key("admin")]), (6, 3));
    assert_eq!(at(&[key("listeners"), key("admin"), key("tls"), key("certs")]), (6, 3));
    assert_eq!(at(&[key("models"), key("llama-3.1"), key("upstream")]), (28, 26));
    assert_eq!(at(&[key("models"), key("llama-3.1"), key("missing")]), (28, 3));
    assert_eq!(at(&[key("routes"), 0.into(), key("missing")]), (30, 5));
    assert_eq!(at(&[key("routes"), 1.into(), key("path")]), (35, 28));
    assert_eq!(at(&[key("routes"), 9.into()]), (29, 1));
    assert_eq!(at(&[key("nothing"), key("of"), key("it")]), (2, 1));
}

#[test]
fn a_located_problem_prints_as_an_editor_reads_it() {
    let places = good(GOOD).places;
    let problem =
        Problem { path: vec!["profile".into()], message: "m".to_owned(), hint: Some("h".to_owned()), place: None };
    assert_eq!(places.locate(&problem).to_string(), "main.yaml:3:10: m\n  hint: h");
    let json = serde_json::to_value(places.locate(&problem)).expect("it serialises");
    let expected = serde_json::json!({
        "file": "main.yaml", "line": 3, "column": 10, "path": ["profile"], "message": "m", "hint": "h"
    });
    assert_eq!(json, expected);
}

#[test]
fn problems_of_meaning_make_a_report_in_the_order_of_their_places() {
    let places = good(GOOD).places;
    let problem = |key: &str| Problem { path: vec![key.into()], message: key.to_owned(), hint: None, place: None };
    let report = places.report(&[problem("routes"), problem("profile")]);
    assert_eq!(report.to_string(), "main.yaml:3:10: profile\nmain.yaml:29:1: routes");
}

#[test]
fn places_keep_no_value() {
    let loaded = good("version: 1\nlisteners: {}\ntenants: {a: {labels: {x: '${KEY}', y: plainvalue}}}\n");
    assert_eq!(loaded.value.tenants["a"].labels["x"], "hunter2");
    let shown = format!("{:?}", loaded.places);
    assert!(!shown.contains("hunter2") && !shown.contains("plainvalue"), "{shown}");
}

fn files(files: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

#[test]
fn included_files_add_named_entries_list_items_and_whole_sections() {
    let loaded = load_files(&files(&[
        (
            "etc/main.yaml",
            "version: 1\ninclude: [tenants/*.yaml, more.yaml, none/../etc.d/*.yaml, '*.yaml']\nlisteners: {a: {bind: '127.0.0.1:1'}}\nroutes:\n- {name: first, path: /}\ntenants:\n  main: {}\n",
        ),
        ("etc/tenants/b.yaml", "tenants: {b: {weight: 2}}\nroutes: [{name: from-b, path: /b}]\n"),
        ("etc/tenants/a.yaml", "tenants: {a: {}}\nroutes: [{name: from-a, path: /a}]\n"),
        ("etc/tenants/.hidden.yaml", "nonsense: ["),
        ("etc/tenants/note.txt", "nonsense: ["),
        ("etc/more.yaml", "# only a comment\n"),
        ("etc/memory.yaml", "memory: {bodies: 1KiB}\n"),
        ("etc/none/../etc.d/x.txt", ""),
    ]));
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.value.tenants.keys().collect::<Vec<_>>(), ["a", "b", "main"]);
    let names: Vec<_> = loaded.value.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["first", "from-a", "from-b"]);
    assert_eq!(loaded.value.memory.map(|memory| memory.bodies), Some(ByteSize::kib(1)));
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["etc/main.yaml:2:38: no file matches `none/../etc.d/*.yaml`"]);
    let problem = Problem {
        path: vec!["tenants".into(), "b".into(), "weight".into()],
        message: "m".to_owned(),
        hint: None,
        place: None,
    };
    assert_eq!(loaded.places.locate(&problem).to_string(), "etc/tenants/b.yaml:1:23: m");
}

#[test]
fn files_on_disk_load_with_their_includes() {
    let directory = std::env::temp_dir().join(format!("tollgate-config-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("d")).expect("a directory");
    let main = directory.join("main.yaml");
    std::fs::write(&main, "version: 1\ninclude: [d/*.yaml]\n").expect("a file");
    std::fs::write(directory.join("d/l.yaml"), "listeners: {a: {bind: '127.0.0.1:1'}}\n").expect("a file");
    let env = |_: &str| None;
    let loaded = crate::config::load::<Sample>(&main, &crate::config::Sources::disk(&env));
    std::fs::remove_dir_all(&directory).expect("to clean up");
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.value.listeners.len(), 1);
    assert_eq!(loaded.places.files(), [main, directory.join("d").join("l.yaml")]);
}
