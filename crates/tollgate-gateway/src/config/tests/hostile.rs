//! Whatever the bytes, the loader answers: no panic, no hang, no place before the first line.

use std::io;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::{any, prop, proptest};

use super::sample::{GOOD, Sample, load_files, load_text};
use crate::config::{Sources, load};

/// What YAML gives a meaning to, and a few letters and digits.
const PUNCTUATION: &[u8] = b"\n\n\n    \t:::---,?!&*{}[]<>|%@'\"#$~.=`\\ab10";

/// Loads bytes and checks what holds for every report.
fn survive(bytes: Vec<u8>) -> usize {
    let Err(report) = load_files(&[("main.yaml".to_owned(), bytes)]) else { return 0 };
    assert!(!report.problems.is_empty());
    assert!(report.problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
    assert!(report.problems.iter().all(|problem| problem.message.len() < 1_000));
    assert!(serde_json::to_string(&report).is_ok());
    report.problems.len() + report.omitted
}

proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 1_500, failure_persistence: None, ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(bytes);
    }

    #[test]
    fn arbitrary_yaml_punctuation_is_answered(picks in prop::collection::vec(any::<prop::sample::Index>(), 0..120)) {
        survive(picks.iter().map(|pick| PUNCTUATION[pick.index(PUNCTUATION.len())]).collect());
    }

    #[test]
    fn mutated_good_files_are_answered(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (index, byte, how) in edits {
            if bytes.is_empty() {
                bytes.push(byte);
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, PUNCTUATION[usize::from(byte) % PUNCTUATION.len()]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        survive(bytes);
    }

    #[test]
    fn lines_in_any_order_are_answered(order in prop::collection::vec(any::<prop::sample::Index>(), 1..40)) {
        let lines: Vec<&str> = GOOD.lines().collect();
        let text: Vec<&str> = order.iter().map(|index| lines[index.index(lines.len())]).collect();
        survive(text.join("\n").into_bytes());
    }

    #[test]
    fn included_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let main = "version: 1\nlisteners: {}\ninclude: [x.yaml]\n".as_bytes().to_vec();
        if let Err(report) = load_files(&[("main.yaml".to_owned(), main), ("x.yaml".to_owned(), bytes)]) {
            assert!(report.problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
        }
    }
}

#[test]
fn large_and_deep_files_are_answered_in_time() {
    let many = |text: &str, count: usize| text.repeat(count);
    for text in [
        many("[", 1 << 20),
        many("{", 1 << 20),
        many("- ", 1 << 20),
        many("? ", 1 << 20),
        many("a: ", 1 << 18),
        many("- a\n", 1 << 19),
        many("x: 1\n", 1 << 18),
        many("&a ", 1 << 18),
        many("!a ", 1 << 18),
        many("*a ", 1 << 18),
        many("# c\n", 1 << 19),
        many("\n", 4 << 20),
        many(" ", 4 << 20),
        many("'", 1 << 20),
        many("\"\\x24", 1 << 18),
        many("---\n", 1 << 19),
        many("%A\n", 1 << 19),
        format!("profile: {}", many("${", 1 << 20)),
        format!("profile: '{}'", many("${A}", 1 << 19)),
        format!("profile: {}", many("$", 3 << 20)),
        format!("profile: \"{}\"", many("a", 3 << 20)),
        format!("listeners: {{{}}}", (0..60_000).map(|n| format!("n{n}: 1,")).collect::<String>()),
        format!("routes: [{}]", many("{name: a, path: b, methods: [GET], rewrite: {from: a}},", 9_000)),
        format!("models: {{a: {{upstream: a, shape: [{}]}}}}", many("x,", 150_000)),
        // Long paths, and a finding at the end of each.
        format!("{}{{{}}}{}", many(&format!("{{{}: ", many("k", 900)), 60), many("a: 1, ", 60_000), many("}", 60)),
    ] {
        let (before, head) = (cpu(), text.chars().take(20).collect::<String>());
        survive(text.into_bytes());
        assert!(cpu() - before < Duration::from_secs(30), "{head:?} took {:?}", cpu() - before);
    }
}

/// Time this thread spent computing: other load on the machine does not count.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

#[test]
fn a_report_is_bounded() {
    let text = format!("listeners: {{{}}}", (0..5_000).map(|n| format!("n{n}: 1,")).collect::<String>());
    let report = load_text(&text).expect_err("none of them is a listener");
    assert_eq!(report.problems.len(), 500);
    assert_eq!(report.omitted, 5_001 - 500);
    assert!(report.to_string().ends_with("\nand 4501 more"));
}

#[test]
fn budgets_have_a_message_of_their_own() {
    for (bytes, message) in [
        (vec![b' '; (4 << 20) + 1], "main.yaml:1:1: the file is larger than 4 MiB"),
        (b"\xFF\xFEv\0".to_vec(), "main.yaml:1:1: the file is UTF-16, not UTF-8"),
        (b"version: 1\nprofile: \xFFx".to_vec(), "main.yaml:2:10: this byte is not UTF-8"),
        (format!("[{}]", "1,".repeat(200_001)).into_bytes(), "main.yaml:1:400000: more than 200000 keys and values"),
    ] {
        let report = load_files(&[("main.yaml".to_owned(), bytes)]).expect_err("beyond a budget");
        assert_eq!(report.problems.len(), 1, "{report}");
        assert_eq!(report.to_string().lines().next(), Some(message));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_at_its_start() {
    let read = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
    let list = |_: &Path| Ok(Vec::new());
    let env = |_: &str| None;
    let report = load::<Sample>(Path::new("m.yaml"), &Sources { read: &read, list: &list, env: &env });
    assert_eq!(report.expect_err("unreadable").to_string(), "m.yaml:1:1: the file cannot be read: permission denied");
}

#[test]
fn too_many_files_and_too_large_ones_are_refused() {
    let main = "version: 1\nlisteners: {}\ninclude: ['*.yaml']\n".as_bytes().to_vec();
    let mut files = vec![("main.yaml".to_owned(), main)];
    files.extend((0..1_001).map(|n| (format!("x{n}.yaml"), Vec::new())));
    let report = load_files(&files).expect_err("too many");
    assert_eq!(report.to_string(), "main.yaml:3:10: 1001 files are included, 1000 are the most");
    files.truncate(6);
    files.iter_mut().skip(1).for_each(|(_, bytes)| *bytes = b"# \n".repeat(1_300_000));
    let report = load_files(&files).expect_err("too large");
    assert_eq!(report.to_string(), "main.yaml:3:11: all files together are larger than 16 MiB");
}
