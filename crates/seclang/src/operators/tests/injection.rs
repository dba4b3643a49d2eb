//! The detectors of libinjection and the fence around them.

use libinjectionrs::{detect_sqli, detect_xss};
use proptest::prelude::*;

use super::proof::Dice;
use super::*;

fn sqli(value: &[u8]) -> bool {
    matches("detectSQLi", "", value)
}

#[test]
fn no_json_number_is_an_injection() {
    let mut dice = Dice(11);
    let digits = |dice: &mut Dice, most: usize, out: &mut String| {
        for _ in 0..=dice.roll(most) {
            out.push(char::from(b'0' + u8::try_from(dice.roll(10)).unwrap()));
        }
    };
    let (sqli, xss) = (Operator::DetectSqli, Operator::DetectXss);
    let mut caches = Caches::default();
    // A tenth of what a release build tests.
    for _ in 0..if cfg!(debug_assertions) { 100_000 } else { 1_000_000 } {
        let mut number = String::new();
        if dice.roll(3) == 0 {
            number.push('-');
        }
        match dice.roll(3) {
            0 => number.push('0'),
            _ => {
                number.push(char::from(b'1' + u8::try_from(dice.roll(9)).unwrap()));
                if dice.roll(2) == 0 {
                    digits(&mut dice, 20, &mut number);
                }
            }
        }
        if dice.roll(2) == 0 {
            number.push('.');
            digits(&mut dice, 18, &mut number);
        }
        if dice.roll(3) == 0 {
            number.push(if dice.roll(2) == 0 { 'e' } else { 'E' });
            number.push_str(["", "+", "-", " "][dice.roll(4)]);
            digits(&mut dice, 3, &mut number);
        }
        assert!(!sqli.test(number.as_bytes(), b"", &mut caches, None), "{number}");
        assert!(!xss.test(number.as_bytes(), b"", &mut caches, None), "{number}");
    }
}

#[test]
fn no_single_word_of_letters_is_an_sql_injection() {
    // Each kind of word that libinjection knows, and words that it does not.
    for word in
        ["select", "UNION", "or", "having", "group", "like", "int", "true", "null", "sleep", "user_id", "waitfor"]
    {
        assert!(!detect_sqli(word.as_bytes()).is_injection(), "{word}");
    }
    let known = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS.iter().map(|keyword| keyword.word);
    let words = known.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_'));
    let mut count = 0;
    for word in words {
        assert!(!detect_sqli(word.as_bytes()).is_injection(), "{word}");
        count += 1;
    }
    assert!(count > 500, "{count}");
}

#[test]
fn long_values_are_judged_like_short_ones() {
    let prose =
        "The quick brown fox doesn't jump over the lazy dog. It (really) sleeps, e.g. at 10:30; why? ".repeat(800);
    assert!(!sqli(prose.as_bytes()));
    let attack = format!("1' UNION SELECT password FROM users -- {prose}");
    assert!(sqli(attack.as_bytes()));
    // The quote that opens the attack stands far behind the first 16 KB.
    let padded = format!("{}' OR '1'='1", "a".repeat(100_000));
    assert!(detect_sqli(padded.as_bytes()).is_injection());
    assert!(sqli(padded.as_bytes()));
    let listed = format!("{}1 UNION SELECT 1 FROM users", "1,".repeat(3000));
    assert_eq!(sqli(listed.as_bytes()), detect_sqli(listed.as_bytes()).is_injection());
}

#[test]
fn values_that_fold_without_end_or_are_one_long_word_take_linear_time() {
    // The square of the second kind would take minutes.
    for unit in
        ["1,", "(", "a.", "$.", "a`", "select.", "+", "1+", "/**/", "''", "\\", "<a ", "<a href=", "'", "\"", "@"]
    {
        let value = unit.repeat((256 << 10) / unit.len());
        for prefix in ["", "'", "1 ", "<a b="] {
            let value = format!("{prefix}{value}");
            let _ = Operator::DetectSqli.test(value.as_bytes(), b"", &mut Caches::default(), None);
            let _ = Operator::DetectXss.test(value.as_bytes(), b"", &mut Caches::default(), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_fence_changes_no_verdict(pieces in prop::collection::vec(prop::sample::select(vec![
        "'", "\"", "`", "<", ">", "=", " ", "a", "script", "1", "or", "union", "select", "(", ")", ",", "--", "/*", "*/", ";", "#",
        "onload", "href", "style", "/", ".", "a.b", "\0", "<!", "-->", "x", "javascript:", "&#x6a;", "\\", "@", "$", "{", "!",
    ]), 0..14)) {
        let text = pieces.concat();
        prop_assert_eq!(matches("detectXSS", "", text.as_bytes()), detect_xss(text.as_bytes()).is_injection());
        prop_assert_eq!(sqli(text.as_bytes()), detect_sqli(text.as_bytes()).is_injection());
        let spared: String = text.chars().filter(|char| !matches!(char, '<' | '=')).collect();
        prop_assert!(!detect_xss(spared.as_bytes()).is_injection());
    }
}
