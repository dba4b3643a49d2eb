//! Operators: tables of cases. What the proofs promise is in [`proof`], PCRE's dialect in [`dialect`].

mod dialect;
mod injection;
mod proof;

use super::*;

struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "words.data" => Ok(b"# a comment\n alpha \n\nBeta\r\n#gamma\nwith space".to_vec()),
            "nets.data" => Ok(b"10.0.0.0/8 # ours\n\n::1\n".to_vec()),
            _ => Err("no such file".to_owned()),
        }
    }
}

fn compiled(name: &str, argument: &str) -> Result<Operator, Unusable> {
    Operator::compile(name, argument, false, &mut Env { files: &mut NoFiles, patterns: &mut Patterns::default() })
}

/// Whether a value matches, whatever the way of asking.
fn matches(name: &str, argument: &str, value: &[u8]) -> bool {
    let operator = compiled(name, argument).unwrap_or_else(|why| panic!("@{name} {argument}: {why:?}"));
    let mut captures = Captures::default();
    let plain = operator.test(value, argument.as_bytes(), &mut Caches::default(), None);
    let captured = operator.test(value, argument.as_bytes(), &mut Caches::default(), Some(&mut captures));
    assert_eq!(plain, captured, "@{name} {argument} on {value:?}: captures change the verdict");
    assert!(plain || captures == Captures::default(), "@{name}: captures without a match");
    proof::holds(&operator, value, plain);
    plain
}

/// Rows of name, argument, a value, whether it matches.
const CASES: &[(&str, &str, &[u8], bool)] = &[
    ("beginsWith", "GET", b"GET /", true),
    ("beginsWith", "GET", b"get /", false),
    ("beginsWith", "", b"", true),
    ("contains", "#", b"a#b", true),
    ("contains", "ab", b"AB", false),
    ("contains", "", b"x", true),
    ("containsWord", "a-a", b"xa-a-a", true),
    ("containsWord", "select", b"1 select;", true),
    ("containsWord", "select", b"selected select", true),
    ("containsWord", "select", b"selected", false),
    ("containsWord", "select", b"1select", false),
    ("containsWord", "", b"x", true),
    ("detectSQLi", "", b"1' OR '1'='1", true),
    ("detectSQLi", "", b"hello world", false),
    ("detectSQLi", "", b"", false),
    ("detectXSS", "", b"<script>alert(1)</script>", true),
    ("detectXSS", "", b"a < b", false),
    ("detectXSS", "", b"", false),
    ("endsWith", ".pdf", b"a.pdf", true),
    ("endsWith", ".pdf", b".pdf.", false),
    ("eq", "0", b"", true),
    ("eq", "0", b"abc", true),
    ("eq", "15", b"15abc", true),
    ("eq", "15", b"+15", true),
    ("eq", "-15", b"-15", true),
    ("eq", "15", b" 15", true),
    ("eq", "9223372036854775807", b"99999999999999999999", true),
    ("eq", "-9223372036854775808", b"-99999999999999999999", true),
    ("ge", "5", b"5", true),
    ("ge", "5", b"4", false),
    ("gt", "5", b"5", false),
    ("gt", "5", b"10", true),
    ("ipMatch", "127.0.0.1,::1", b"127.0.0.1", true),
    ("ipMatch", "127.0.0.1,::1", b"0:0:0:0:0:0:0:1", true),
    ("ipMatch", "127.0.0.1, ::1", b"127.0.0.2", false),
    ("ipMatch", "10.1.2.3/8", b"10.255.0.1", true),
    ("ipMatch", "10.0.0.0/8,10.1.0.0/16", b"10.200.0.0", true),
    ("ipMatch", "10.0.0.0/8", b"11.0.0.0", false),
    ("ipMatch", "0.0.0.0/0", b"255.255.255.255", true),
    ("ipMatch", "2001:db8::/32", b"2001:db8:ffff::1", true),
    ("ipMatch", "2001:db8::/32", b"2001:db9::", false),
    ("ipMatch", "::/0", b"::1", true),
    ("ipMatch", "10.0.0.0/8", b"::ffff:10.0.0.1", true),
    ("ipMatch", "10.0.0.0/8", b"010.0.0.1", false),
    ("ipMatch", "10.0.0.0/8", b"ten", false),
    ("ipMatchF", "nets.data", b"::1", true),
    ("ipMatchFromFile", "nets.data", b"10.9.9.9", true),
    ("ipMatchFromFile", "nets.data", b"9.9.9.9", false),
    ("le", "5", b"5", true),
    ("le", "5", b"6", false),
    ("lt", "5", b"4", true),
    ("lt", "5", b"5", false),
    ("noMatch", "", b"", false),
    ("pm", "gzip compress |62 72| de|66|late", b"x DEFLATE", true),
    ("pm", "gzip |62 72|", b"bRotli", true),
    ("pm", "gzip br", b"b r", false),
    ("pm", "a|b", b"a|B", true),
    ("pm", "a|b", b"a", false),
    ("pm", "", b"a", false),
    ("pmFromFile", "words.data", b"an ALPHA", true),
    ("pmFromFile", "words.data", b"xbetax", true),
    ("pmFromFile", "words.data", b"gamma", false),
    ("pmf", "words.data", b"with space", true),
    ("pmf", "words.data", b"with", false),
    ("rx", "^a.b$", b"a\nb", true),
    ("rx", "^a$", b"a\n", false),
    ("rx", "^a$", b"b\na\nb", false),
    ("rx", "(?m)^a$", b"b\na\nb", true),
    ("rx", "\\x{c2}\\x{b4}", b"\xc2\xb4", true),
    ("rx", "[\\x{c2}]", b"\xc2", true),
    ("rx", "", b"", true),
    ("rxGlobal", "a", b"bab", true),
    ("streq", "POST", b"POST", true),
    ("streq", "POST", b"post", false),
    ("strmatch", "WebZIP", b"a WebZIP", true),
    ("unconditionalMatch", "", b"", true),
    ("validateByteRange", "9,10,13,32-126", b"a\tb", false),
    ("validateByteRange", "9,10,13,32-126", b"a\0b", true),
    ("validateByteRange", "1-255", b"", false),
    ("validateUrlEncoding", "", b"a%20b", false),
    ("validateUrlEncoding", "", b"a%2", true),
    ("validateUrlEncoding", "", b"%zz", true),
    ("validateUrlEncoding", "", b"%", true),
    ("validateUtf8Encoding", "", "é€😀".as_bytes(), false),
    ("validateUtf8Encoding", "", b"\xc0\xaf", true),
    ("validateUtf8Encoding", "", b"\xed\xa0\x80", true),
    ("validateUtf8Encoding", "", b"\xe2\x82", true),
    ("validateUtf8Encoding", "", b"\xf4\x90\x80\x80", true),
    ("within", "GET HEAD POST", b"HEAD", true),
    ("within", "GET HEAD POST", b"", true),
    ("within", "GET HEAD POST", b"PUT", false),
    ("WITHIN", "GET HEAD POST", b"D P", true),
];

#[test]
fn every_row_of_the_table_holds() {
    for &(name, argument, value, expected) in CASES {
        assert_eq!(matches(name, argument, value), expected, "@{name} {argument} on {}", value.escape_ascii());
    }
}

#[test]
fn a_bad_argument_is_refused_at_its_place() {
    let cases = [
        ("ipMatch", "10.0.0.0/8,nonsense", "`nonsense` is not an address or a network", 11),
        ("ipMatch", "10.0.0.0/33", "`10.0.0.0/33` is not an address or a network", 0),
        ("nope", "", "unknown operator `@nope`", 0),
        ("pmFromFile", "gone.data", "cannot read `gone.data`: no such file", 0),
        ("rbl", "x", "operator `@rbl` is not supported", 0),
        ("rx", "abc(", "bad pattern: unclosed group", 3),
        ("validateByteRange", "1-2,300", "`300` is not a byte value", 4),
        ("validateByteRange", "9-1", "the range `9-1` is empty", 0),
    ];
    for (name, argument, message, at) in cases {
        let why = compiled(name, argument).expect_err(name);
        assert_eq!((why.message.as_str(), why.at), (message, at), "@{name} {argument}");
    }
}

#[test]
fn a_macro_is_expanded_for_comparisons_and_refused_elsewhere() {
    let mut patterns = Patterns::default();
    let mut dynamic = |name: &str| {
        Operator::compile(name, "%{tx.x}", true, &mut Env { files: &mut NoFiles, patterns: &mut patterns })
    };
    let mut caches = Caches::default();
    assert!(dynamic("ge").unwrap().test(b"7", b"5", &mut caches, None));
    assert!(!dynamic("ge").unwrap().test(b"7", b"8", &mut caches, None));
    assert!(dynamic("within").unwrap().test(b"b", b"a b", &mut caches, None));
    assert!(dynamic("endsWith").unwrap().test(b"a.b", b".b", &mut caches, None));
    assert!(dynamic("streq").unwrap().can_match(&ByteSet::of(b"a")));
    for name in ["rx", "rxGlobal", "pm", "pmFromFile", "ipMatch", "ipMatchF", "validateByteRange"] {
        assert!(dynamic(name).is_err(), "@{name}");
    }
}

#[test]
fn a_match_fills_the_slots_and_clears_the_others() {
    let stale = || Captures { slots: std::array::from_fn(|_| Some(9..9)), text: Some(Vec::new()) };
    let mut captures = stale();
    let test = |name: &str, argument: &str, value: &[u8], captures: &mut Captures| {
        compiled(name, argument).unwrap().test(value, b"", &mut Caches::default(), Some(captures))
    };
    assert!(test("rx", "(a)(x)?(b+)", b"--abb", &mut captures));
    let mut expected = Captures::default();
    expected.slots[0] = Some(2..5);
    expected.slots[1] = Some(2..3);
    expected.slots[3] = Some(3..5);
    assert_eq!(captures, expected);

    captures = stale();
    assert!(test("pm", "needle", b"a NEEDLE", &mut captures));
    assert_eq!(captures.slots[0], Some(2..8));
    assert_eq!(captures.slots[1], None);

    captures = stale();
    assert!(test("detectSQLi", "", b"1' OR '1'='1", &mut captures));
    assert_eq!((captures.text.as_deref(), &captures.slots[0]), (Some(&b"s&sos"[..]), &None));

    captures = stale();
    assert!(!test("rx", "zzz", b"abc", &mut captures));
    assert_eq!(captures, stale());

    captures = Captures::default();
    assert!(test("rxGlobal", "(a)|(b)", b"ab", &mut captures));
    assert_eq!((captures.slots[1].clone(), captures.slots[2].clone()), (Some(0..1), Some(1..2)));
}

#[test]
fn equal_patterns_are_compiled_once() {
    let mut patterns = Patterns::default();
    let mut compile = || {
        let mut env = Env { files: &mut NoFiles, patterns: &mut patterns };
        match Operator::compile("rx", "abc", false, &mut env) {
            Ok(Operator::Rx(rx)) => rx,
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&compile(), &compile()));
}

#[test]
fn caches_stay_within_their_budget_and_answers_stay_right() {
    let mut patterns = Patterns::default();
    let many: Vec<_> = (0..64).map(|n| patterns.rx(&format!("[a-f]+{n}x?[0-9]{{1,20}}y")).unwrap()).collect();
    let mut caches = Caches::with_budget(200_000);
    for round in 0..3 {
        for (n, rx) in many.iter().enumerate() {
            let value = format!("{}abcdef{n}x123y", "fedcba0123".repeat(200));
            assert!(rx.test(value.as_bytes(), &mut caches, None), "{round} {n}");
            assert!(!rx.test(b"abcdef", &mut caches, None), "{round} {n}");
            assert!(caches.bytes() < 200_000 + 600_000, "{}", caches.bytes());
        }
    }
}
