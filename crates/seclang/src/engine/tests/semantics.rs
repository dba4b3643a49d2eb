//! The rows of the table in which engines differ, and what rules do on a match.

use super::{Request, run, run_as};
use crate::engine::{Knowledge, Verdict};
use crate::ir::Profile;

#[test]
fn every_matching_value_adds_to_a_score() {
    let rules = r#"
        SecRule ARGS "@contains bad" "id:1,phase:2,pass,nolog,setvar:tx.score=+5"
        SecRule TX:score "@eq 10" "id:2,phase:2,pass,msg:'%{tx.score}'""#;
    let found = run(rules, &Request::get("/?a=bad&b=good&c=bad"));
    assert_eq!((found.ids(), found.msg()), (vec![2], "10".to_owned()));
}

#[test]
fn a_chain_is_logged_once_when_all_of_its_links_match() {
    let rules = r#"
        SecRule ARGS "@contains x" "id:1,phase:2,pass,msg:'%{MATCHED_VAR_NAME}',chain,setvar:tx.head=+1"
            SecRule REQUEST_METHOD "@streq GET" "setvar:tx.tail=+1"
        SecRule TX:head|TX:tail "@ge 1" "id:2,phase:2,pass,msg:'%{tx.head} %{tx.tail}'""#;
    let found = run(rules, &Request::get("/?a=x1&b=x2"));
    assert_eq!(found.ids(), [1, 2]);
    assert_eq!(found.tally.matched[0].msg, b"REQUEST_METHOD");
    assert_eq!(found.msg(), "2 1");
}

#[test]
fn a_chain_whose_last_link_fails_logs_nothing_and_keeps_the_variables_of_the_first() {
    let rules = r#"
        SecRule ARGS "@contains x" "id:1,phase:2,deny,setvar:tx.head=1,chain"
            SecRule REQUEST_METHOD "@streq PUT"
        SecRule TX:head "@eq 1" "id:2,phase:2,pass""#;
    let found = run(rules, &Request::get("/?a=x"));
    assert_eq!((found.ids(), found.verdict()), (vec![2], Verdict::Pass));
}

#[test]
fn matched_vars_hold_what_the_chain_matched_and_a_link_sees_those_before_it() {
    let rules = r#"
        SecRule ARGS "@rx ^(?:one|two)$" "id:1,phase:2,pass,logdata:'%{MATCHED_VAR} in %{MATCHED_VAR_NAME}',chain"
            SecRule MATCHED_VARS "@streq two" """#;
    let found = run(rules, &Request::get("/?a=one&b=two&c=three"));
    assert_eq!(found.tally.matched[0].data, b"two in ARGS:b");
    assert_eq!(run(rules, &Request::get("/?a=one")).ids(), Vec::<u64>::new());
}

#[test]
fn matched_vars_are_cleared_at_each_head() {
    let rules = r#"
        SecRule ARGS "@streq one" "id:1,phase:2,pass,chain"
            SecRule MATCHED_VARS "@streq one" ""
        SecRule ARGS "@streq two" "id:2,phase:2,pass,chain"
            SecRule MATCHED_VARS "@streq one" """#;
    assert_eq!(run(rules, &Request::get("/?a=one&b=two")).ids(), [1]);
}

#[test]
fn captures_are_rewritten_on_a_match_and_kept_without_one() {
    let rules = r#"
        SecRule ARGS:a "@rx (\w)(\w)" "id:1,phase:2,pass,capture,msg:'%{tx.0}-%{tx.1}-%{tx.2}'"
        SecRule ARGS:b "@rx nothing(.)" "id:2,phase:2,pass,capture"
        SecRule TX:2 "@streq y" "id:3,phase:2,pass,msg:'kept'"
        SecRule ARGS:c "@rx ^z" "id:4,phase:2,pass,capture"
        SecRule &TX:2 "@eq 0" "id:5,phase:2,pass,msg:'gone'""#;
    let found = run(rules, &Request::get("/?a=xy&b=q&c=z"));
    assert_eq!(found.ids(), [1, 3, 4, 5]);
    assert_eq!(found.tally.matched[0].msg, b"xy-x-y");
}

#[test]
fn an_absent_variable_is_not_evaluated_and_its_count_always_is() {
    let rules = r#"
        SecRule REQUEST_HEADERS:X-None "!@streq set" "id:1,phase:1,pass"
        SecRule &REQUEST_HEADERS:X-None "@eq 0" "id:2,phase:1,pass"
        SecRule TX:none "!@eq 3" "id:3,phase:1,pass"
        SecRule &TX:none "!@eq 0" "id:4,phase:1,pass""#;
    assert_eq!(run(rules, &Request::get("/")).ids(), [2]);
}

#[test]
fn selectors_compare_without_regard_to_case() {
    let rules = r#"
        SecRule REQUEST_HEADERS:x-KEY "@streq v" "id:1,phase:1,pass"
        SecRule ARGS:/^TOK/ "@streq t" "id:2,phase:2,pass"
        SecRule ARGS:Name "@streq n" "id:3,phase:2,pass"
        SecAction "id:4,phase:2,pass,nolog,setvar:tx.Mixed_Case=1"
        SecRule TX:/^mixed/ "@eq 1" "id:5,phase:2,pass""#;
    assert_eq!(run(rules, &Request::get("/?token=t&nAME=n").with("X-Key", "v")).ids(), [1, 2, 3, 5]);
}

#[test]
fn t_none_drops_the_transformations_of_the_default_action() {
    let rules = r#"
        SecDefaultAction "phase:2,pass,log,t:lowercase"
        SecRule ARGS "@streq abc" "id:1,phase:2"
        SecRule ARGS "@streq ABC" "id:2,phase:2,t:none"
        SecRule ARGS "@streq abc" "id:3,phase:2,t:none"
        SecRule ARGS "@streq abc" "id:4,phase:2,t:none,t:lowercase""#;
    assert_eq!(run(rules, &Request::get("/?a=ABC")).ids(), [1, 2, 4]);
}

#[test]
fn multi_match_tests_the_raw_value_and_each_step_that_changed_it() {
    let rules = r#"
        SecRule ARGS "@contains %" "id:1,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,multiMatch,setvar:tx.hits=+1"
        SecRule ARGS "@rx (?i)a" "id:2,phase:2,pass,t:none,t:lowercase,t:removeNulls,multiMatch,setvar:tx.hits=+1"
        SecRule TX:hits "@gt 0" "id:3,phase:2,pass,msg:'%{tx.hits}'""#;
    // `%2525` is `%25` when it arrives; then `%`; then the same.
    assert_eq!(run(rules, &Request::get("/?q=%2525")).msg(), "2");
    // `A`, then `a`; the last step changes nothing.
    assert_eq!(run(rules, &Request::get("/?q=A")).msg(), "2");
}

#[test]
fn setvar_assigns_adds_subtracts_and_unsets() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,nolog,setvar:tx.a=7,setvar:tx.a=+5,setvar:tx.a=-2,setvar:tx.b,setvar:tx.c=word,setvar:tx.c=+3,setvar:tx.d=1,setvar:!tx.d,setvar:tx.e=9223372036854775807,setvar:tx.e=+1"
        SecAction "id:2,phase:1,pass,msg:'%{tx.a} %{tx.b} %{tx.c} [%{tx.d}] %{tx.e}'""#;
    assert_eq!(run(rules, &Request::get("/")).msg(), "10 1 3 [] 9223372036854775807");
}

#[test]
fn names_of_variables_may_hold_macros() {
    let rules = r#"
        SecRule ARGS_NAMES "@rx ." "id:1,phase:2,pass,nolog,setvar:'tx.count_%{MATCHED_VAR}=+1'"
        SecRule TX:/^count_/ "@gt 1" "id:2,phase:2,pass,msg:'%{MATCHED_VAR_NAME}=%{MATCHED_VAR}'""#;
    let found = run(rules, &Request::get("/?a=1&b=2&a=3"));
    assert_eq!(found.msg(), "TX:count_a=2");
}

#[test]
fn numbers_are_read_from_a_sign_and_digits() {
    for (text, want) in [("12abc", 12), ("-3", -3), ("%2b4", 4), ("abc", 0), ("", 0)] {
        let rules = format!(r#"SecRule ARGS:n "@eq {want}" "id:1,phase:2,pass""#);
        assert_eq!(run(&rules, &Request::get(&format!("/?n={text}"))).ids(), [1], "{text}");
    }
}

#[test]
fn block_does_what_the_default_action_of_its_phase_says() {
    let rule = r#"SecRule ARGS "@streq x" "id:1,phase:2,block""#;
    let passing = format!("SecDefaultAction \"phase:2,log,pass\"\n{rule}");
    let denying = format!("SecDefaultAction \"phase:2,log,deny,status:406\"\n{rule}");
    assert_eq!(run(&passing, &Request::get("/?a=x")).verdict(), Verdict::Pass);
    assert_eq!(run(&denying, &Request::get("/?a=x")).verdict(), Verdict::Deny { status: 406, rule: 1 });
}

#[test]
fn detection_only_notes_what_it_does_not_do_and_goes_on() {
    let rules = r#"
        SecRule ARGS "@streq x" "id:1,phase:2,deny,status:403"
        SecRule ARGS "@streq x" "id:2,phase:2,pass""#;
    let mut request = Request::get("/?a=x");
    assert_eq!(run(rules, &request).ids(), [1]);
    request.detect_only = true;
    let found = run(rules, &request);
    assert_eq!((found.ids(), found.verdict()), (vec![1, 2], Verdict::Pass));
    assert!(found.tally.matched[0].spared && !found.tally.matched[1].spared);
}

#[test]
fn a_denied_request_still_gets_its_last_phase() {
    let rules = r#"
        SecRule ARGS "@streq x" "id:1,phase:1,deny"
        SecRule ARGS "@streq x" "id:2,phase:2,pass"
        SecAction "id:3,phase:5,pass""#;
    assert_eq!(run(rules, &Request::get("/?a=x")).ids(), [1, 3]);
}

#[test]
fn nolog_keeps_a_rule_out_of_the_log_and_noauditlog_does_not() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,nolog"
        SecAction "id:2,phase:1,pass,noauditlog"
        SecAction "id:3,phase:1,deny,nolog""#;
    let found = run(rules, &Request::get("/"));
    assert_eq!(found.ids(), [2]);
    assert_eq!(found.verdict(), Verdict::Deny { status: 403, rule: 3 });
    assert_eq!(found.tally.matched.last().map(|matched| (matched.id, matched.log)), Some((3, false)));
}

#[test]
fn request_body_is_filled_for_forms_and_on_demand_and_never_for_json() {
    let rules = r#"SecRule REQUEST_BODY "@contains word" "id:1,phase:2,pass""#;
    let force = format!("SecAction \"id:9,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On\"\n{rules}");
    assert_eq!(run(rules, &Request::form("a=word")).ids(), [1]);
    assert_eq!(run(&force, &Request::json(r#"{"a":"word"}"#)).ids(), Vec::<u64>::new());
    let mut text = Request::form("a word");
    text.headers.pop();
    let text = text.with("Content-Type", "text/plain");
    assert_eq!(run(rules, &text).ids(), Vec::<u64>::new());
    assert_eq!(run(&force, &text).ids(), [1]);
}

#[test]
fn pinned_variables_are_set_before_the_first_phase_and_no_rule_changes_them() {
    let rules = r#"
        SecRule &TX:level "@eq 0" "id:1,phase:1,pass,setvar:tx.level=1"
        SecAction "id:2,phase:1,pass,nolog,setvar:tx.level=4,setvar:!tx.level,setvar:tx.level=+1"
        SecRule TX:level "@eq 3" "id:3,phase:1,pass""#;
    let mut request = Request::get("/");
    request.pinned = vec![("level".into(), "3".into())];
    assert_eq!(run(rules, &request).ids(), [3]);
}

#[test]
fn a_prompt_is_excused_from_attack_rules_and_its_name_is_not() {
    let rules = r#"
        SecRule ARGS "@contains select" "id:1,phase:2,pass,tag:'attack-sqli'"
        SecRule ARGS "@contains select" "id:2,phase:2,pass,tag:'attack-protocol'"
        SecRule ARGS_NAMES "@contains text" "id:3,phase:2,pass,tag:'attack-sqli'""#;
    let body = r#"{"text":"select","other":"selector"}"#;
    let mut request = Request::json(body);
    request.known = vec![super::known(body, "\"select\"", Knowledge::Prompt)];
    let found = run_as(rules, &request, Profile::Ml);
    let variables: Vec<_> = found.tally.matched.iter().map(|it| (it.id, it.variable.clone())).collect();
    assert_eq!(found.ids(), [1, 2, 3]);
    assert_eq!(variables[0], (1, b"ARGS:json.other".to_vec()));
    let only = Request { known: request.known.clone(), ..Request::json(r#"{"text":"select"}"#) };
    assert_eq!(run_as(rules, &only, Profile::Ml).ids(), [2, 3]);
    assert_eq!(run_as(rules, &only, Profile::Stock).ids(), [1, 2, 3]);
}

#[test]
fn a_macro_finds_any_variable_and_unset_ones_are_empty() {
    let rules = r#"
        SecRule ARGS:a "@streq v" "id:1,phase:2,pass,msg:'%{request_headers.host}|%{REQUEST_METHOD}|%{ARGS.a}|%{tx.none}|%{rule.id}|%{matched_var_name}'""#;
    assert_eq!(run(rules, &Request::get("/?a=v")).msg(), "shop.example|GET|v||1|ARGS:a");
}
