//! Skips, allowances, limits, the phases of the reply, the budget.

use bytes::Bytes;

use super::{Request, facts, load, load_with, once, options, run};
use crate::engine::{HeadView, Processor, ReplyView, Scope, Scratch, Transaction, Verdict};
use crate::ir::Options;

#[test]
fn skip_after_jumps_to_its_marker_in_its_phase() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,skipAfter:END"
        SecAction "id:2,phase:1,pass"
        SecAction "id:3,phase:2,pass"
        SecMarker END
        SecAction "id:4,phase:1,pass"
        SecAction "id:5,phase:2,pass""#;
    assert_eq!(run(rules, &Request::get("/")).ids(), [1, 4, 3, 5]);
}

#[test]
fn a_marker_that_no_rule_of_the_phase_follows_ends_the_phase() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,skipAfter:END"
        SecAction "id:2,phase:1,pass"
        SecMarker END
        SecAction "id:3,phase:2,pass""#;
    assert_eq!(run(rules, &Request::get("/")).ids(), [1, 3]);
}

#[test]
fn skip_leaves_out_as_many_rules_of_the_phase() {
    let rules = r#"
        SecAction "id:1,phase:1,pass,skip:2"
        SecAction "id:2,phase:1,pass"
        SecAction "id:3,phase:2,pass"
        SecAction "id:4,phase:1,pass"
        SecAction "id:5,phase:1,pass""#;
    assert_eq!(run(rules, &Request::get("/")).ids(), [1, 5, 3]);
}

#[test]
fn allow_ends_what_its_scope_says() {
    let rules = |scope: &str| {
        format!(
            "SecAction \"id:1,phase:1,allow{scope}\"
             SecAction \"id:2,phase:1,pass\"
             SecAction \"id:3,phase:2,pass\"
             SecAction \"id:4,phase:3,pass\"
             SecAction \"id:5,phase:5,pass\""
        )
    };
    let mut request = Request::get("/");
    request.reply = Some((200, "text/html", b""));
    let all = run(&rules(""), &request);
    assert_eq!((all.ids(), all.verdict()), (vec![1, 5], Verdict::Allow(Scope::All)));
    let of_request = run(&rules(":request"), &request);
    assert_eq!((of_request.ids(), of_request.verdict()), (vec![1, 4, 5], Verdict::Allow(Scope::Request)));
    let of_phase = run(&rules(":phase"), &request);
    assert_eq!((of_phase.ids(), of_phase.verdict()), (vec![1, 3, 4, 5], Verdict::Pass));
}

#[test]
fn media_types_of_replies_replace_the_defaults_and_then_add_up_until_they_are_cleared() {
    let wanted = |rules: &str| {
        let rules = load(rules);
        let kinds = ["text/html", "text/css", "image/svg+xml", "text/plain"];
        kinds.into_iter().filter(|kind| rules.wants_reply(kind.as_bytes())).collect::<Vec<_>>()
    };
    let named = |types: &str| format!("SecResponseBodyMimeType {types}\n");
    assert_eq!(wanted(""), ["text/html", "text/plain"]);
    assert_eq!(wanted(&named("text/css")), ["text/css"]);
    let both = format!("{}{}", named("text/css text/html"), named("image/svg+xml text/css"));
    assert_eq!(wanted(&both), ["text/html", "text/css", "image/svg+xml"]);
    assert_eq!(wanted(&format!("{both}SecResponseBodyMimeTypesClear\n")), [""; 0]);
    assert_eq!(wanted(&format!("{both}SecResponseBodyMimeTypesClear\n{}", named("text/plain"))), ["text/plain"]);
    assert_eq!(wanted(&format!("SecResponseBodyMimeTypesClear\n{}", named("text/plain"))), ["text/plain"]);
}

#[test]
fn the_reply_is_judged_when_its_type_is_one_that_the_rules_name() {
    let rules = r#"
        SecResponseBodyAccess On
        SecResponseBodyMimeType text/html
        SecRule RESPONSE_STATUS "@streq 500" "id:1,phase:3,pass"
        SecRule RESPONSE_BODY "@contains secret" "id:2,phase:4,deny,status:500""#;
    let mut request = Request::get("/");
    request.reply = Some((500, "text/html; charset=utf-8", b"a secret"));
    let found = run(rules, &request);
    assert_eq!((found.ids(), found.verdict()), (vec![1, 2], Verdict::Deny { status: 500, rule: 2 }));
    request.reply = Some((200, "application/octet-stream", b"a secret"));
    assert_eq!(run(rules, &request).verdict(), Verdict::Pass);
    let rules = load(rules);
    assert!(rules.wants_reply(b"Text/HTML;charset=utf-8") && !rules.wants_reply(b"image/png"));
}

#[test]
fn windows_of_a_reply_run_the_rules_that_look_at_nothing_else_once() {
    let rules = load(
        r#"
        SecRule RESPONSE_BODY "@contains key" "id:1,phase:4,pass"
        SecRule RESPONSE_BODY|RESPONSE_STATUS "@contains key" "id:2,phase:4,pass"
        SecRule RESPONSE_BODY "@contains stop" "id:3,phase:4,deny""#,
    );
    let scratch = &mut Scratch::default();
    let mut turn = Transaction::new(rules, facts(&Request::get("/")));
    let head = HeadView { line: b"GET / HTTP/1.1", method: b"GET", target: b"/", protocol: b"HTTP/1.1", headers: &[] };
    turn.head(&head, scratch);
    turn.body(scratch);
    turn.reply_head(&ReplyView { status: 200, protocol: b"HTTP/1.1", headers: &[] }, scratch);
    assert_eq!(turn.reply_window(b"nothing", scratch), Verdict::Pass);
    assert_eq!(turn.reply_window(b"a key", scratch), Verdict::Pass);
    assert_eq!(turn.reply_window(b"key, stop", scratch), Verdict::Deny { status: 403, rule: 3 });
    let ids: Vec<u64> = turn.finish(200, scratch).matched.iter().map(|matched| matched.id).collect();
    assert_eq!(ids, [1, 3]);
}

#[test]
fn a_body_above_its_limit_is_refused_or_read_in_part() {
    let rules = |action: &str| {
        format!(
            "SecRequestBodyLimit 12\nSecRequestBodyLimitAction {action}\n\
             SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:1,phase:2,pass\"\n\
             SecRule ARGS:late \"@rx .\" \"id:2,phase:2,pass\""
        )
    };
    let request = Request::form("a=1234567890&late=x");
    assert_eq!(run(&rules("Reject"), &request).verdict(), Verdict::Deny { status: 413, rule: 0 });
    assert_eq!(run(&rules("ProcessPartial"), &request).ids(), [1]);
    let detect_only = Request { detect_only: true, ..request };
    assert_eq!(run(&rules("Reject"), &detect_only).ids(), [1]);
}

#[test]
fn too_many_arguments_and_broken_bodies_are_reported_to_the_rules() {
    let rules = r#"
        SecArgumentsLimit 3
        SecRule REQBODY_ERROR "!@eq 0" "id:1,phase:2,deny,status:400"
        SecRule &ARGS "@ge 1" "id:2,phase:2,pass""#;
    assert_eq!(run(rules, &Request::form("a=1&b=2&c=3")).ids(), [2]);
    assert_eq!(run(rules, &Request::form("a=1&b=2&c=3&d=4")).verdict(), Verdict::Deny { status: 400, rule: 1 });
    assert_eq!(run(rules, &Request::get("/?a=1&b=2&c=3&d=4")).ids(), [1]);
    assert_eq!(run(rules, &Request::json(r#"{"a":"#)).ids(), [1]);
    assert_eq!(run(rules, &Request::json("[1,2,3,4]")).ids(), [1]);
}

#[test]
fn a_transaction_that_scans_too_much_is_out_of_work_and_still_finishes() {
    let text = r#"
        SecRule ARGS "@rx (?:a|b)+c" "id:1,phase:2,pass"
        SecAction "id:2,phase:5,pass""#;
    let (rules, _) = load_with(text, &Options { work: 100, ..options(false) }).unwrap();
    let long = format!("/?q={}c", "ab".repeat(200));
    let found = once(&rules, &Request::get(&long), &mut Scratch::default());
    assert_eq!((found.verdict(), found.ids()), (Verdict::OutOfWork, vec![2]));
}

#[test]
fn an_engine_that_is_off_finds_nothing_and_a_rule_can_switch_it_off() {
    let rule = "SecAction \"id:1,phase:1,pass\"\n";
    assert_eq!(run(&format!("SecRuleEngine Off\n{rule}"), &Request::get("/")).ids(), Vec::<u64>::new());
    let rules =
        format!("SecAction \"id:9,phase:1,pass,nolog,ctl:ruleEngine=Off\"\n{rule}SecAction \"id:2,phase:5,pass\"");
    assert_eq!(run(&rules, &Request::get("/")).ids(), Vec::<u64>::new());
    let rules = "SecAction \"id:9,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly\"\nSecAction \"id:1,phase:1,deny\"";
    assert_eq!(run(rules, &Request::get("/")).verdict(), Verdict::Pass);
}

#[test]
fn one_scratch_serves_many_transactions_and_rule_sets_alike() {
    let first = load(r#"SecRule ARGS "@contains x" "id:1,phase:2,pass,setvar:tx.seen=1""#);
    let second = load(r#"SecRule &TX:seen "@eq 1" "id:2,phase:2,pass""#);
    let scratch = &mut Scratch::default();
    for _ in 0..3 {
        assert_eq!(once(&first, &Request::get("/?a=x"), scratch).ids(), [1]);
        assert_eq!(once(&second, &Request::get("/?a=x"), scratch).ids(), Vec::<u64>::new());
    }
}

#[test]
fn a_transaction_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let turn = Transaction::new(load("SecAction \"id:1,phase:1,pass\""), facts(&Request::get("/")));
    is_send(&turn);
    is_send(&Scratch::default());
    drop(Bytes::new());
}

#[test]
fn a_body_is_let_go_after_phase_2_unless_a_later_rule_reads_something_of_it() {
    let held_after_phase_2 = |rules: &str| {
        let rules = load(rules);
        let scratch = &mut Scratch::default();
        let mut turn = Transaction::new(rules, facts(&Request::json("")));
        let head = HeadView {
            line: b"POST / HTTP/1.1",
            method: b"POST",
            target: b"/",
            protocol: b"HTTP/1.1",
            headers: &[(b"Content-Type", b"application/json")],
        };
        turn.head(&head, scratch);
        let body = Bytes::from(b"{\"a\": \"evil\"}".to_vec());
        turn.read_body(body.clone(), Processor::Json, &[]);
        assert!(turn.holds_body());
        turn.body(scratch);
        let held = turn.holds_body();
        assert_eq!(held, !body.is_unique());
        let ids: Vec<u64> = turn.finish(200, scratch).matched.iter().map(|matched| matched.id).collect();
        assert!(body.is_unique(), "what is over holds nothing");
        (held, ids)
    };
    let early = "SecRule ARGS \"@contains evil\" \"id:1,phase:2,pass,log,setvar:tx.n=+1\"\n";
    let with = |late: &str| held_after_phase_2(&format!("{early}{late}"));
    assert_eq!(with(""), (false, vec![1]));
    assert_eq!(with("SecRule TX:N \"@eq 1\" \"id:2,phase:5,pass,log,msg:'%{REQUEST_URI}'\""), (false, vec![1, 2]));
    assert_eq!(with("SecRule REQUEST_BODY_LENGTH \"@gt 1\" \"id:2,phase:5,pass,log\""), (false, vec![1, 2]));
    assert_eq!(with("SecRule ARGS \"@contains evil\" \"id:2,phase:5,pass,log\""), (true, vec![1, 2]));
    assert!(with("SecRule ARGS_NAMES \"@contains json\" \"id:2,phase:3,pass,log\"").0);
    assert_eq!(with("SecAction \"id:2,phase:5,pass,log,msg:'%{ARGS_POST.json.a}'\""), (true, vec![1, 2]));
    assert!(with("SecRule TX:N \"@eq 1\" \"id:2,phase:5,pass,log,chain\"\nSecRule REQUEST_BODY \"@rx .\"").0);
}
