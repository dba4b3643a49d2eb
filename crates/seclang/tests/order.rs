//! When a variable has its value: rules of an early phase look at what later ones look at too.

use seclang::{Library, Memory, Options, RuleSet, Scratch};
use tollgate_conformance::front::Request;
use tollgate_conformance::{exchange, judge};

/// Ids that those rules find in that request.
fn found(rules: &str, raw: &str) -> Vec<u64> {
    let source = Memory::default().with("a.conf", format!("SecRuleEngine On\nSecRequestBodyAccess On\n{rules}"));
    let files = ["a.conf".to_owned()];
    let loaded = RuleSet::load(&source, &files, &Options::default(), &mut Library::default());
    let (rules, _) = loaded.expect("rules that load");
    let request = Request::read(raw.as_bytes()).expect("a request");
    let outcome = exchange::run(&rules, exchange::facts(true), &request, &mut Scratch::default());
    judge::ids(&outcome.tally).into_iter().collect()
}

fn posted(kind: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: 3\r\n\r\na=b")
}

#[test]
fn the_reader_of_a_form_is_known_in_phase_1() {
    let rules = "SecRule REQBODY_PROCESSOR \"@streq MULTIPART\" \"id:1,phase:1,pass,log\"\n\
                 SecRule REQBODY_PROCESSOR \"@streq URLENCODED\" \"id:2,phase:1,pass,log\"\n\
                 SecRule REQBODY_PROCESSOR \"@streq JSON\" \"id:3,phase:1,pass,log\"\n";
    assert_eq!(found(rules, &posted("multipart/form-data; boundary=b")), [1]);
    assert_eq!(found(rules, &posted("Application/X-WWW-Form-Urlencoded; charset=utf-8")), [2]);
    assert!(found(rules, &posted("application/json")).is_empty(), "ModSecurity reads JSON only where a rule says so");
}

#[test]
fn a_rule_of_phase_1_has_the_last_word_on_the_reader() {
    let rules = "SecAction \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=URLENCODED\"\n\
                 SecRule ARGS:a \"@streq b\" \"id:2,phase:2,pass,log\"\n\
                 SecRule REQBODY_PROCESSOR \"@streq URLENCODED\" \"id:3,phase:2,pass,log\"\n";
    assert_eq!(found(rules, &posted("multipart/form-data; boundary=b")), [2, 3]);
    assert_eq!(found(rules, &posted("text/plain")), [2, 3]);
}
