//! Directives that change rules that are already loaded, and problems with their places.

use super::{Request, load, load_with, options, run};
use crate::engine::Verdict;
use crate::ir::{Library, RuleSet};
use crate::problem::Severity;
use crate::source::Memory;

const RULES: &str = r#"
    SecRule ARGS "@contains x" "id:1,phase:2,pass,msg:'one',tag:'web/args'"
    SecRule REQUEST_HEADERS:X-Key "@contains x" "id:2,phase:2,pass,msg:'two',tag:'web/head'"
"#;

fn ids(more: &str) -> Vec<u64> {
    run(&format!("{RULES}{more}"), &Request::get("/?q=x&p=x").with("X-Key", "x")).ids()
}

#[test]
fn rules_are_removed_by_id_message_and_tag() {
    assert_eq!(ids(""), [1, 2]);
    assert_eq!(ids("SecRuleRemoveById 1"), [2]);
    assert_eq!(ids("SecRuleRemoveById 1-5"), Vec::<u64>::new());
    assert_eq!(ids("SecRuleRemoveByMsg ^tw"), [1]);
    assert_eq!(ids("SecRuleRemoveByTag /args$"), [2]);
}

#[test]
fn targets_are_added_taken_away_and_replaced() {
    assert_eq!(ids("SecRuleUpdateTargetById 1 \"!ARGS:q,!ARGS:p\""), [2]);
    assert_eq!(ids("SecRuleUpdateTargetById 1 \"!ARGS:q\""), [1, 2]);
    assert_eq!(ids("SecRuleUpdateTargetByTag web \"!ARGS,!REQUEST_HEADERS:/^x-/\""), Vec::<u64>::new());
    assert_eq!(ids("SecRuleUpdateTargetByMsg two REQUEST_HEADERS:X-None REQUEST_HEADERS:X-Key"), [1]);
    let added = format!("{RULES}SecRuleUpdateTargetById 2 ARGS:q");
    assert_eq!(run(&added, &Request::get("/?q=x")).ids(), [1, 2]);
}

#[test]
fn actions_are_replaced_and_the_id_stays() {
    let rules = format!("{RULES}SecRuleUpdateActionById 1 \"deny,status:451,msg:'new'\"");
    let found = run(&rules, &Request::get("/?q=x"));
    assert_eq!((found.verdict(), found.msg()), (Verdict::Deny { status: 451, rule: 1 }, "new".to_owned()));
}

#[test]
fn an_update_of_no_rule_is_a_warning_with_its_place() {
    let (_, warnings) = load_with(&format!("{RULES}SecRuleRemoveById 77"), &options(false)).unwrap();
    assert!(!warnings.is_empty(), "an update of nothing");
    assert!(
        warnings.iter().all(|warning| warning.severity == Severity::Warning && warning.place.line == 4),
        "{warnings:?}"
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "SecRule ARGS \"@rx (\" \"id:1,phase:2,pass\"\nSecRule ARGS \"@nope x\" \"id:2,phase:2,pass\"\n\
                SecAction \"id:3,phase:1,pass,msg:'%{NOT_A_VARIABLE}'\"\nSecAction \"id:3,phase:1,pass\"\n";
    let problems = load_with(text, &options(false)).unwrap_err();
    let lines: Vec<u32> = problems.iter().filter(|it| it.severity == Severity::Error).map(|it| it.place.line).collect();
    assert_eq!(lines, [1, 2, 3, 4], "{problems:?}");
}

#[test]
fn what_is_wrong_within_an_argument_is_shown_there_however_its_line_is_written() {
    for (text, expected) in [
        ("SecRule REMOTE_ADDR \"@ipMatch 10.0.0.1,nowhere\" \"id:1,phase:1,pass\"", "1:40"),
        ("SecRule REMOTE_ADDR \"@ipMatch 10.0.0.1,\\\nnowhere\" \"id:1,phase:1,pass\"", "2:1"),
        ("SecRule ARGS \"@rx \\\"a\\\"(\" \"id:1,phase:2,pass\"", "1:24"),
    ] {
        let problems = load_with(text, &options(false)).unwrap_err();
        let places: Vec<String> = problems.iter().map(|it| it.place.to_string()).collect();
        assert_eq!(places, [format!("rules.conf:{expected}")], "{text}: {problems:?}");
    }
}

#[test]
fn tools_see_every_rule_with_its_chain_and_its_excuse() {
    let rules = r#"
SecRule ARGS "@contains x" "id:1,phase:2,pass,msg:'hit %{MATCHED_VAR}',tag:'attack-xss',severity:CRITICAL,chain"
    SecRule REQUEST_METHOD "@streq GET" "t:none"
SecAction "id:2,phase:1,pass""#;
    let infos: Vec<_> = load(rules).rules().collect();
    let first = &infos[0];
    assert_eq!((first.id, first.phase, first.severity, first.place.line), (1, 2, Some(2), 2));
    assert_eq!((first.msg.as_str(), first.tags.len(), infos.len()), ("hit %{MATCHED_VAR}", 1, 2));
    assert!(first.text.contains("REQUEST_METHOD") && !first.excuses_prompts);
}

#[test]
fn rule_sets_of_one_load_share_compiled_patterns() {
    let source = Memory::default().with("a.conf", RULES).with("b.conf", RULES);
    let mut library = Library::default();
    for file in ["a.conf", "b.conf"] {
        let loaded = RuleSet::load(&source, &[file.to_owned()], &options(false), &mut library);
        assert_eq!(loaded.unwrap().0.rules().count(), 2);
    }
}
