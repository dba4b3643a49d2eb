//! The rules with which a set begins are run once for a thread, and replayed: that changes nothing.

use super::{Request, load_with, once, options, run};
use crate::engine::{Scratch, Verdict};
use crate::ir::Options;

#[test]
fn a_first_rule_that_refuses_at_once_ends_the_phase() {
    let rules = r#"SecRule &TX:nothere "@eq 0" "id:1,phase:1,deny,status:500""#;
    assert_eq!(run(rules, &Request::get("/")).verdict(), Verdict::Deny { status: 500, rule: 1 });
}

#[test]
fn a_first_chain_that_ends_in_the_request_is_asked_each_time() {
    let rules = r#"
        SecRule TX:level "@ge 1" "id:1,phase:1,deny,status:403,chain"
            SecRule REQUEST_HEADERS:X-A "@rx evil"
        SecAction "id:2,phase:1,pass,nolog,setvar:tx.n=1"
    "#;
    let mut request = Request::get("/").with("X-A", "evil");
    request.pinned = vec![("level".into(), "3".into())];
    assert_eq!(run(rules, &request).verdict(), Verdict::Deny { status: 403, rule: 1 });
}

#[test]
fn what_a_rule_of_the_request_matched_is_seen_by_the_rules_behind_it() {
    let rules = r#"
        SecRule REQUEST_HEADERS:X-A "@rx evil" "id:1,phase:1,pass"
        SecAction "id:2,phase:1,pass,setvar:tx.a=%{MATCHED_VAR}"
        SecRule TX:a "@streq evilfoo" "id:3,phase:1,deny,status:403"
    "#;
    let found = run(rules, &Request::get("/").with("X-A", "evilfoo"));
    assert_eq!(found.verdict(), Verdict::Deny { status: 403, rule: 3 });
}

#[test]
fn a_beginning_that_was_cut_short_is_not_kept() {
    let rules = r#"
        SecRule REQUEST_HEADERS:X-Long "@rx a.*z" "id:1,phase:1,pass"
        SecRule &TX:one "@eq 0" "id:2,phase:1,pass,nolog,setvar:tx.one=1"
        SecRule &TX:two "@eq 0" "id:3,phase:1,pass,nolog,setvar:tx.two=1"
        SecRule &TX:three "@eq 0" "id:4,phase:1,pass,nolog,setvar:tx.three=1"
        SecRule TX:three "@eq 1" "id:5,phase:1,deny,status:403,chain"
            SecRule REQUEST_HEADERS:X-A "@rx evil"
    "#;
    for long in 90..110 {
        let (rules, _) = load_with(rules, &Options { work: 100, ..options(false) }).unwrap();
        let scratch = &mut Scratch::default();
        once(&rules, &Request::get("/").with("X-Long", &"a".repeat(long)), scratch);
        let found = once(&rules, &Request::get("/").with("X-A", "evil"), scratch);
        assert_eq!(found.verdict(), Verdict::Deny { status: 403, rule: 5 }, "{long}");
    }
}

#[test]
fn names_of_numbers_are_held_against_what_a_macro_comes_to() {
    let rules = r#"
        SecAction "id:1,phase:2,pass,nolog,setvar:tx.neg=-1"
        SecRule ARGS_NAMES "@gt %{tx.neg}" "id:2,phase:2,pass,t:base64Decode"
    "#;
    assert_eq!(run(rules, &Request::json(r#"{"x":[1,2]}"#)).ids(), [2]);
}
