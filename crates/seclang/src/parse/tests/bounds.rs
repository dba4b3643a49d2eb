//! Hostile files: whatever stands in one, reading it ends soon.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use super::super::parse;
use super::problems_of;
use crate::source::Memory;

/// Text that gets further into the reader than any bytes would.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        Just("SecRule "),
        Just("SecAction "),
        Just("ARGS"),
        Just("|"),
        Just(":"),
        Just("'"),
        Just("\""),
        Just("/"),
        Just("\\"),
        Just("\n"),
        Just("\\\n"),
        Just(","),
        Just("!"),
        Just("&"),
        Just("@rx "),
        Just("id:1"),
        Just("chain"),
        Just("setvar:"),
        Just("tx.a"),
        Just("="),
        Just("ctl:"),
        Just("ruleRemoveTargetById"),
        Just(";"),
        Just("%{"),
        Just("}"),
        Just(" "),
        Just("#"),
        Just("Include r.conf"),
        Just("XML:/*"),
        Just("-"),
        Just("5"),
        Just("é"),
        Just("SecRuleUpdateTargetById "),
        Just("SecUnicodeMapFile r.conf 5"),
        Just("t:"),
        Just("\r"),
    ];
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        problems_of(&bytes);
    }

    #[test]
    fn no_order_of_words_makes_the_reader_panic(text in pieces()) {
        for problem in problems_of(text.as_bytes()) {
            let lines = text.lines().count().max(1);
            let line = text.split('\n').nth(problem.place.line as usize - 1);
            prop_assert!(problem.place.line as usize <= lines + 1);
            prop_assert!(problem.place.column as usize <= line.map_or(0, str::len) + 1, "{problem}");
        }
    }
}

#[test]
fn time_grows_with_the_length_of_a_file_and_no_faster() {
    // Work is counted by what is reported or kept, not by a clock: a line of half a million signs is read in one pass, and
    // a reader that went back for each of them would not come to an end within the test's patience.
    let long = 1 << 19;
    for text in [
        format!("SecRule {} x id:1", "!".repeat(long)),
        format!("SecRule {}ARGS x id:1", "ARGS|".repeat(long / 5)),
        format!("SecRule ARGS:'{}' x id:1", "\\'".repeat(long / 2)),
        format!("SecRule ARGS:/{}/ x id:1", "\\/".repeat(long / 2)),
        format!("SecRule ARGS \"{}\" id:1", "\\\"".repeat(long / 2)),
        format!("SecRule ARGS x \"id:1,msg:'{}'\"", "\\'".repeat(long / 2)),
        format!("SecRule ARGS x \"id:1{}\"", ",t:none".repeat(long / 7)),
        format!("SecRule ARGS x \"id:1{}\"", ",".repeat(long)),
        format!("SecRule ARGS x \"id:1{}\"", ",a:'b".repeat(long / 5)),
        format!("SecRule ARGS x \"id:1,{}\"", "a:'b',".repeat(long / 6)),
        format!("SecRule ARGS x {}id:1", "\\\n".repeat(long / 2)),
        format!("SecRule ARGS \"{}\" id:1", "a\\\n\\\"".repeat(long / 5)),
        format!("SecRule ARGS x \"id:1,setvar:tx.{}=1\"", "%{".repeat(long / 2)),
        "\\\n".repeat(long / 2),
        "#\\\n".repeat(long / 3),
        "SecRule ARGS x id:1,chain\n".repeat(long / 26),
        format!("SecRuleRemoveById {}", "1-2 ".repeat(long / 4)),
        "SecMarker A\nSecRule ARGS x id:1,skipAfter:B\n".repeat(long / 100),
        format!("{} On", "S".repeat(long)),
        "SecAudit\n".repeat(long / 9),
    ] {
        assert!(problems_of(text.as_bytes()).len() <= 2002);
    }
}

#[test]
fn includes_nest_to_a_bound_and_multiply_to_a_bound() {
    let nested = |levels: usize| {
        let file = |level: usize| (format!("{level}.conf"), format!("Include {}.conf", level + 1));
        (0..levels).map(file).fold(Memory::default(), |memory, (path, text)| memory.with(path, text))
    };
    let first = ["0.conf".to_owned()];
    assert_eq!(parse(&nested(8).with("8.conf", ""), &first).problems, []);
    let deep = parse(&nested(9).with("9.conf", ""), &first).problems;
    assert_eq!(deep.len(), 1);
    assert_eq!(deep[0].to_string().lines().next(), Some("8.conf:1:9: error: includes nest deeper than 8 levels"));

    let wide = |level: usize| (format!("{level}.conf"), format!("Include {}.conf\n", level + 1).repeat(100));
    let memory = (0..7).map(wide).fold(Memory::default(), |memory, (path, text)| memory.with(path, text));
    let bomb = parse(&memory.with("7.conf", ""), &first).problems;
    assert_eq!(bomb.len(), 1);
    assert_eq!(bomb[0].message, "the rules are more than 4096 files or 64 MiB");
}

#[test]
fn after_a_thousand_errors_the_reader_gives_up_and_says_so() {
    let found = problems_of("SecNothing\n".repeat(3000).as_bytes());
    assert_eq!(found.len(), 1001);
    assert_eq!(found.last().map(|problem| problem.message.as_str()), Some("there are more errors than are shown"));
}

#[test]
fn any_number_of_warnings_lets_the_rules_load() {
    let found = problems_of("SecCookieFormat 1\n".repeat(3000).as_bytes());
    assert_eq!(found.len(), 1001);
    assert!(found.iter().all(|problem| problem.severity == crate::problem::Severity::Warning));
}

#[test]
fn a_file_that_includes_itself_through_another_is_named() {
    let memory = Memory::default().with("a.conf", "Include b.conf").with("b.conf", "SecMarker A\nInclude *.conf");
    let found = parse(&memory, &["a.conf".to_owned()]).problems;
    let places: Vec<String> = found.iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(places, ["b.conf:2:9", "b.conf:2:9"]);
}
