//! With and without optimisations the same is found: numeric runs against their elements, proofs against none.

use std::cell::RefCell;
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::strategy::{Just, Strategy};
use proptest::{prop_assert_eq, prop_oneof};

use super::{Request, load_with, once, run, run_as};
use crate::engine::{Knowledge, Scratch};
use crate::ir::{Options, Profile, RuleSet};
use crate::operators::{Caches, Operator};

const RULES: &str = r#"
    SecRule ARGS "@rx (?i)union\s+select|1e309|[<>]script" "id:1,phase:2,pass,capture,logdata:'%{TX.0} in %{MATCHED_VAR_NAME}',t:none,t:urlDecodeUni,setvar:tx.n=+1"
    SecRule ARGS_NAMES "@rx \.array_1\d$|^x" "id:2,phase:2,pass,setvar:tx.n=+1"
    SecRule ARGS_NAMES|ARGS "@pm array_7 fox" "id:3,phase:2,pass,t:none,t:lowercase,setvar:tx.n=+1"
    SecRule ARGS|ARGS_NAMES "@detectSQLi" "id:4,phase:2,pass,t:none,t:utf8toUnicode,t:urlDecodeUni,t:removeNulls,multiMatch,setvar:tx.n=+1"
    SecRule ARGS|ARGS_NAMES "@rx (?:eval|open)\(" "id:5,phase:2,pass,t:none,t:urlDecodeUni,t:base64Decode,multiMatch,setvar:tx.n=+1"
    SecRule ARGS "!@rx ^[\w .,-]*$" "id:6,phase:2,pass,setvar:tx.n=+1"
    SecRule ARGS:json.data.array_3 "@ge 3" "id:7,phase:2,pass,setvar:tx.n=+1"
    SecRule &ARGS "@gt 4" "id:8,phase:2,pass,setvar:tx.n=+1"
    SecRule ARGS|!ARGS:/array_2/ "@rx ^-" "id:9,phase:2,pass,chain"
        SecRule MATCHED_VARS "@rx 5" "setvar:tx.n=+1"
    SecRule ARGS_NAMES "@rx \b\d{3}\b|_9+\.|a\.array_\d+\.array_0$" "id:10,phase:2,pass,t:none,t:lowercase,setvar:tx.n=+1"
    SecRule ARGS_COMBINED_SIZE|TX:n "@gt 0" "id:11,phase:2,pass,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
    SecRule REQUEST_HEADERS|REQUEST_COOKIES "@validateByteRange 32-126" "id:12,phase:1,pass"
    SecRule ARGS "@rx ^.{30,}$" "id:13,phase:2,pass,t:none,t:compressWhitespace,t:hexEncode"
    SecRule ARGS|TX:n "@streq %{tx.n}" "id:14,phase:2,pass"
    SecRule ARGS_NAMES "@rx a" "id:15,phase:2,pass,ctl:ruleRemoveTargetById=16;ARGS:json.data"
    SecRule ARGS "@rx [13579]" "id:16,phase:2,pass,setvar:tx.n=+1"
"#;

#[test]
fn a_run_of_numbers_finds_what_its_elements_find() {
    let bodies = [
        r#"{"data":[1,2,3,4]}"#,
        r#"{"data":[0.5,-0.25,1e309,3]}"#,
        r#"{"a":[[1,2],[3,4]],"data":[-5]}"#,
        r#"{"x":[],"data":[1,2,3,4,5,6,7,8,9,10,11,12,-15]}"#,
        r#"[[1],[2,3],[[4]]]"#,
        r#"{"a":{"b":[1]},"fox":[2]}"#,
    ];
    for body in bodies {
        run(RULES, &Request::json(body));
        let counted = run_as(RULES, &Request::json(body), Profile::Ml);
        assert!(!counted.ids().is_empty(), "{body}");
    }
}

#[test]
fn a_known_run_is_read_as_one_argument_under_ml_and_by_its_elements_under_stock() {
    let rules = r#"SecRule &ARGS "@ge 0" "id:1,phase:2,pass,msg:'%{MATCHED_VAR}'""#;
    let body = r#"{"data":[1,2,3,4],"k":"v"}"#;
    let mut request = Request::json(body);
    assert_eq!(run_as(rules, &request, Profile::Ml).msg(), "2");
    assert_eq!(run_as(rules, &request, Profile::Stock).msg(), "5");
    request.known = vec![super::known(body, "[1,2,3,4]", Knowledge::Numbers)];
    assert_eq!(run_as(rules, &request, Profile::Ml).msg(), "2");
}

/// JSON that holds runs, text and names of all kinds.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i32>().prop_map(|it| it.to_string()),
        any::<f32>().prop_filter("JSON has no others", |it| it.is_finite()).prop_map(|it| format!("{it:e}")),
        Just("1e309".to_owned())
    ];
    let text =
        prop_oneof!["[ -~]{0,24}", "\\PC{0,12}", Just("1' union select 2".to_owned()), Just("b3BlbigxKQ==".to_owned())]
            .prop_map(|it| serde_like(&it));
    let run = prop::collection::vec(number.clone(), 0..14).prop_map(|it| format!("[{}]", it.join(",")));
    let nested = prop::collection::vec(run.clone(), 0..4).prop_map(|it| format!("[{}]", it.join(",")));
    let value = prop_oneof![number, text, run, nested];
    let name = prop_oneof!["[a-z_.]{0,8}", "[ -~]{0,6}", Just("data".to_owned()), Just("array_9".to_owned())];
    prop::collection::vec((name, value), 0..6).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("{}:{value}", serde_like(name))).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A JSON string.
fn serde_like(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

thread_local! {
    /// Rules and memory of a thread, fast and plain: what is remembered of one request is there in the next.
    static THREAD: RefCell<[(Arc<RuleSet>, Scratch); 2]> = RefCell::new([false, true].map(|plain| {
        let options = Options { profile: Profile::Stock, plain, ..Options::default() };
        (load_with(RULES, &options).unwrap().0, Scratch::default())
    }));
}

/// Dotted names of the words that libinjection knows, of numbers and of others.
fn dotted() -> impl Strategy<Value = String> {
    const WORDS: [&str; 24] = [
        "select", "union", "or", "and", "1", "a", "_", "from", "drop", "table", "json", "data", "x1", "sleep",
        "waitfor", "delay", "having", "like", "0x1", "1e5", "null", "user", "in", "array_",
    ];
    let word = prop_oneof![prop::sample::select(&WORDS[..]).prop_map(str::to_owned), "[a-zA-Z0-9_]{0,4}"];
    prop::collection::vec((word, prop_oneof![Just("."), Just("_"), Just("")]), 0..6)
        .prop_map(|parts| parts.into_iter().map(|(word, mark)| word + mark).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn an_index_changes_nothing_for_libinjection(prefix in dotted(), indices in prop::collection::vec(0_u32..200_000, 1..4)) {
        let name = |index: &dyn Fn(u32) -> u32| {
            indices.iter().fold(prefix.clone(), |name, at| format!("{name}.array_{}", index(*at)))
        };
        let test = |name: String| Operator::DetectSqli.test(name.as_bytes(), b"", &mut Caches::default(), None);
        prop_assert_eq!(test(name(&|_| 0)), test(name(&|at| at)), "{}", prefix);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn optimisations_change_nothing_for_any_json(body in json()) {
        let found = THREAD.with_borrow_mut(|sides| sides.each_mut().map(|(rules, scratch)| {
            let mut found = once(rules, &Request::json(&body), scratch);
            found.tally.work = 0;
            found
        }));
        prop_assert_eq!(&found[0], &found[1]);
    }

    #[test]
    fn optimisations_change_nothing_for_any_query(query in "[ -~]{0,60}", value in "\\PC{0,20}") {
        run(RULES, &Request::get(&format!("/p?{query}")).with("X-Any", &value).with("Cookie", &query));
    }
}
