//! What `lint` says of rules that cannot work, and that it says nothing of those that can.

use super::super::{lint, parse};
use crate::problem::Severity;
use crate::source::Memory;

/// Rules without their ids, and the place and beginning of what is said of them.
const DOUBTFUL: &[(&str, &str)] = &[
    ("SecRule REQUEST_URI \"@eq 5\" deny", "1:9: `@eq` compares numbers, and `REQUEST_URI` holds text"),
    ("SecRule REQUEST_HEADERS:user-agent \"@gt 5\"", "1:9: `@gt` compares numbers, and `REQUEST_HEADERS:user-agent`"),
    ("SecRule REQUEST_HEADERS \"@lt 5\"", "1:9: `@lt` compares numbers, and `REQUEST_HEADERS`"),
    ("SecRule ARGS \"@eq 5\"", "1:9: `@eq` is asked of every argument's value"),
    ("SecRule ARGS:a \"@eq b\"", "1:21: `@eq` compares numbers, and `b` counts as 0"),
    (
        "SecRule ARGS \"@streq Admin\" t:lowercase",
        "1:22: the value is in lower case and this is not, so the rule never",
    ),
    (
        "SecRule ARGS \"!@contains A\" \"t:cmdLine,t:trim\"",
        "1:26: the value is in lower case and this is not, so the rule always",
    ),
    ("SecRule ARGS \"@within GET POST\" t:lowercase", "1:23: the value is in lower case"),
    ("SecRule ARGS \"@rx ^(?:Select|UNION)\\s\" t:lowercase", "1:19: the value is in lower case"),
    ("SecRule ARGS \"@rx [A-Z]+\" t:lowercase", "1:19: the value is in lower case"),
    ("SecRule ARGS \"@streq admin\" t:uppercase", "1:22: the value is in upper case"),
    ("SecRule RESPONSE_BODY x phase:3", "1:9: `RESPONSE_BODY` is not known before phase 4, and this is phase 3"),
    ("SecRule RESPONSE_STATUS x", "1:9: `RESPONSE_STATUS` is not known before phase 3, and this is phase 2"),
    ("SecRule ARGS|ARGS_POST x phase:1", "1:14: `ARGS_POST` is not known before phase 2"),
    ("SecRule REQUEST_BODY x phase:1", "1:9: `REQUEST_BODY` is not known before phase 2"),
    ("SecRule FILES x phase:1", "1:9: `FILES` is not known before phase 2"),
    ("SecRule REQUEST_URI \"@ipMatch 10.0.0.0/8\"", "1:9: `REQUEST_URI` holds no address for `@ipMatch`"),
    ("SecRule REMOTE_PORT \"@ipMatch 10.0.0.0/8\"", "1:9: `REMOTE_PORT` holds no address"),
    ("SecRule ARGS x phase:5,deny", "1:24: in phase 5 the answer has been sent"),
    ("SecRule REQUEST_URI \"@within admin\"", "1:30: `@within` asks whether `REQUEST_URI` is a part of `admin`"),
    ("SecRule REQUEST_HEADERS:User-Agent \"@within curl\"", "1:45: `@within` asks whether"),
    ("SecRule ARGS x \"t:urlDecode,t:lowercase,t:urlDecodeUni\"", "1:41: the value is decoded twice"),
    ("SecRule ARGS x \"t:lowercase,t:none,t:trim\"", "1:17: `t:none` further on takes this transformation away"),
    (
        "SecAction pass,skipAfter:E\nSecRule ARGS a\nSecRule ARGS b\nSecMarker E",
        "1:16: this always skips 2 rules of phase 2, from r.conf:2:1 on",
    ),
    (
        "SecRule REMOTE_ADDR @unconditionalMatch skipAfter:E\nSecRule ARGS a\nSecMarker E",
        "1:41: this always skips 1 rule",
    ),
    ("SecRule &ARGS \"@contains a\"", "1:9: `&ARGS` is a number, and `@contains` looks at text"),
    ("SecRule &ARGS:a \"@rx ^.*[a-z]\"", "1:9: `&ARGS:a` is a number, and `@rx` looks at text"),
    ("SecRule &ARGS @detectSQLi", "1:9: `&ARGS` is a number"),
    ("SecRule REQUEST_HEADERS:X-Key \"!@streq secret\" deny", "1:32: a request without `REQUEST_HEADERS:X-Key` passes"),
    ("SecRule ARGS:id \"!@rx ^[0-9]+$\" deny", "1:18: a request without `ARGS:id` passes"),
    ("SecRule ARGS x \"deny,status:200\"", "1:22: status 200 does not tell a client that it was refused"),
    ("SecRule ARGS x \"redirect:/a,status:403\"", "1:29: a client does not follow a redirect with status 403"),
    ("SecAction pass,t:lowercase", "1:16: `t:` does nothing in a `SecAction`"),
    (
        "SecRule REQUEST_HEADERS:Host \"@rx ^www.example.com$\"",
        "1:35: the dot in `www.example.com` stands for any byte",
    ),
    ("SecRule ARGS x severity:CRITICAL", "1:16: the rule has a severity and no message"),
    ("SecRule ARGS x setvar:ip.n=+1", "1:16: no rule opens the collection `IP`"),
    ("SecRule ARGS \"@pm select,union,drop\"", "1:19: `@pm` takes spaces between its phrases"),
    ("SecRule ARGS \"@pm select, union, drop\"", "1:19: `@pm` takes spaces between its phrases"),
    ("SecRule ARGS x pass,deny", "1:16: the rule says twice what a match does"),
    ("SecRule ARGS x chain\nSecRule RESPONSE_BODY y", "2:9: `RESPONSE_BODY` is not known before phase 4"),
    (
        "SecRule ARGS a \"logdata:'%{tx.0}'\"",
        "1:17: `%{TX.0}` is what some earlier rule captured: this one captures nothing",
    ),
    ("SecRule ARGS a chain\nSecRule ARGS b \"setvar:'tx.a=%{TX.1}'\"", "2:17: `%{TX.1}` is what some earlier rule"),
    ("SecRule FILES a\nSecRequestBodyAccess Off", "2:1: the body of a request is not read, and 1 rule looks at it"),
    (
        "SecResponseBodyAccess Off\nSecRule RESPONSE_BODY a phase:4\nSecRule RESPONSE_BODY b phase:4",
        "1:1: the body of a reply is not read, and 2 rules look at it",
    ),
];

/// Rules that are meant so.
const SOUND: &[&str] = &[
    "SecRequestBodyAccess Off\nSecRule ARGS|!FILES a\nSecRequestBodyAccess Off",
    "SecRequestBodyAccess Off\nSecRequestBodyAccess On\nSecRule REQUEST_BODY a",
    "SecRequestBodyAccess Off\nSecRule REQUEST_BODY a\nSecAction ctl:requestBodyAccess=On",
    "SecRule ARGS a chain\nSecRule ARGS b \"capture,setvar:'tx.a=%{TX.1}'\"",
    "SecRule ARGS a \"logdata:'%{tx.10}%{tx.a}'\"",
    "SecRule &REQUEST_URI|REQUEST_HEADERS:Content-Length|TX:n|ARGS:n|RESPONSE_STATUS \"@eq 5\" phase:3",
    "SecRule ARGS|REQUEST_URI \"@gt 100\" t:length",
    "SecRule TX:n \"@gt %{tx.max}\"",
    "SecRule ARGS \"@streq Admin\" \"t:lowercase,t:base64Decode\"",
    "SecRule ARGS \"@streq Admin\" \"t:lowercase,multiMatch\"",
    "SecRule ARGS \"@streq %{TX.A}\" t:lowercase",
    "SecRule ARGS \"@within GET post\" t:lowercase",
    "SecRule ARGS \"@rx (?i)SELECT\" t:lowercase",
    "SecRule ARGS \"@rx SELECT|union\" t:lowercase",
    "SecRule ARGS \"@rx [A-Za-z]|X?\" t:lowercase",
    "SecRule ARGS \"@rx \\D\\S\\W\" t:lowercase",
    "SecRule ARGS x phase:1",
    "SecRule ARGS|!REQUEST_BODY x phase:1",
    "SecRule RESPONSE_BODY x phase:4",
    "SecRule REMOTE_ADDR|REQUEST_HEADERS:X-Forwarded-For|TX:ip \"@ipMatch 10.0.0.0/8\"",
    "SecRule ARGS x phase:5,pass",
    "SecRule REQUEST_METHOD \"@within GET HEAD\"",
    "SecRule REQUEST_URI \"@within /a /b\"",
    "SecRule ARGS x \"t:urlDecodeUni,t:base64Decode,t:urlDecodeUni\"",
    "SecRule ARGS x \"t:none,t:lowercase\"",
    "SecRule TX:pl \"@lt 2\" phase:2,skipAfter:E\nSecRule ARGS a\nSecMarker E",
    "SecAction phase:1,pass,skipAfter:E\nSecRule ARGS a phase:2\nSecMarker E\nSecRule ARGS b phase:1",
    "SecRule &ARGS \"@rx ^[0-9]+$\"",
    "SecRule &ARGS \"@streq 0\"",
    "SecRule REQUEST_HEADERS:X-Key \"!@streq a\" deny\nSecRule &REQUEST_HEADERS:x-key \"@eq 0\" deny",
    "SecRule REQUEST_HEADERS:X-Key \"!@streq a\" pass",
    "SecRule REQUEST_HEADERS:Content-Length \"!@rx ^[0-9]+$\" deny",
    "SecRule ARGS x \"deny,status:429\"",
    "SecRule ARGS x \"redirect:/a,status:302\"",
    "SecRule REQUEST_HEADERS:Host \"@rx ^www\\.example\\.com$\"",
    "SecRule REQUEST_HEADERS:Host \"@streq www.example.com\"",
    "SecRule ARGS x \"severity:CRITICAL,msg:'m'\"",
    "SecAction \"pass,initcol:ip=%{REMOTE_ADDR}\"\nSecRule ARGS x setvar:ip.n=+1",
    "SecRule ARGS \"@pm select union\"",
    "SecRule ARGS \"@pm a, b c\"",
    "SecRule ARGS \"@pm ,\"",
    "SecRule ARGS \"@pm text/html,application/xhtml+xml\"",
];

/// What is said of rules, which may lack their ids.
fn doubts(text: &str) -> Vec<String> {
    let parsed = parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]);
    assert!(parsed.problems.iter().all(|problem| problem.message == "the rule has no id"), "{:?}", parsed.problems);
    let found = lint(&parsed.directives);
    assert!(found.iter().all(|doubt| doubt.hint.is_some() && doubt.severity == Severity::Warning));
    found.iter().map(|doubt| format!("{}:{}: {}", doubt.place.line, doubt.place.column, doubt.message)).collect()
}

#[test]
fn rules_that_cannot_do_what_they_are_meant_to_are_named() {
    let mut wrong = Vec::new();
    for (text, expected) in DOUBTFUL {
        let found = doubts(text);
        if !matches!(found.as_slice(), [only] if only.starts_with(expected)) {
            wrong.push((text, expected, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rules_that_work_are_left_alone() {
    for text in SOUND {
        assert_eq!(doubts(text), Vec::<String>::new(), "{text}");
    }
}
