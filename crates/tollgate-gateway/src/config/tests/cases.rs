//! Broken files and everything that must be said about them: `cases/*.txt`.
//!
//! A case is a line `=== what it shows`, files, each after a line `--- NAME`, and after `--- expect` the problems, each
//! as `file:line:column: message` (the whole message) with, where it is worth pinning, its `  hint: …` below. In the
//! files, `<U+0009>` stands for the character of that number: what does not show is written out.

use super::sample::load_files;
use crate::config::Report;

const TABLES: &[&str] = &[
    include_str!("../cases/include.txt"),
    include_str!("../cases/shape.txt"),
    include_str!("../cases/substitution.txt"),
    include_str!("../cases/unions.txt"),
    include_str!("../cases/yaml.txt"),
];

struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    expected: String,
}

#[test]
fn every_broken_file_gets_all_its_mistakes_with_line_and_column() {
    let mut wrong = Vec::new();
    for case in cases() {
        let report = match load_files(&case.files) {
            Ok(_) => Report::default(),
            Err(report) => report,
        };
        if !agrees(&report, &case.expected) {
            wrong.push(format!("=== {}\n{report}\n--- expected\n{}", case.name, case.expected));
        }
        let shown = report.to_string();
        assert!(!shown.contains("hunter2"), "{}: a secret shows:\n{shown}", case.name);
        assert!(report.problems.iter().all(|problem| problem.line > 0 && problem.column > 0), "{}", case.name);
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_as_many_cases_as_promised() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    assert!(cases.iter().all(|case| !case.expected.trim().is_empty()), "a case without a problem is no broken file");
}

/// Whether the report says what is expected, line by line; hints may be left out of the expectation.
fn agrees(report: &Report, expected: &str) -> bool {
    let shown = report.to_string();
    let mut shown = shown.lines().peekable();
    for line in expected.lines().filter(|line| !line.trim().is_empty()) {
        if !line.starts_with("  hint:") {
            while shown.next_if(|shown| shown.starts_with("  hint:")).is_some() {}
        }
        if shown.next() != Some(line) {
            return false;
        }
    }
    shown.all(|line| line.starts_with("  hint:"))
}

fn cases() -> Vec<Case> {
    TABLES.iter().flat_map(|table| table.split("\n=== ").skip(1)).map(case).collect()
}

fn case(text: &str) -> Case {
    let mut parts = text.split("\n--- ");
    let name = parts.next().unwrap_or("").to_owned();
    let (mut files, mut expected) = (Vec::new(), String::new());
    for part in parts {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        if head == "expect" {
            expected = body.to_owned();
        } else {
            files.push((head.to_owned(), unhidden(body).into_bytes()));
        }
    }
    Case { name, files, expected }
}

fn unhidden(text: &str) -> String {
    let mut parts = text.split("<U+");
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (number, rest) = part.split_once('>').expect("a number ends with `>`");
        let number = u32::from_str_radix(number, 16).expect("a hexadecimal number");
        out.push(char::from_u32(number).expect("a character"));
        out.push_str(rest);
    }
    out
}
