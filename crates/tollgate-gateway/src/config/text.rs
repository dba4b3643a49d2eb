//! Bytes to text: refuses with a place what no YAML parser should see. Knows nothing of YAML.

use super::place::Place;
use super::report::{Finding, Findings};

/// How large one file may be.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// The text of a file, or where it stops being one. A byte order mark is reported and passed over.
pub(super) fn text<'b>(bytes: &'b [u8], file: u32, findings: &mut Findings) -> Option<&'b str> {
    let start = Place::start(file);
    if bytes.len() > MOST_BYTES {
        let finding = Finding::new(start, &[], format!("the file is larger than {} MiB", MOST_BYTES >> 20));
        findings.push(finding.hint("split it with `include`"));
        return None;
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        findings.push(Finding::new(start, &[], "the file is UTF-16, not UTF-8").hint("save it as UTF-8"));
        return None;
    }
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            let finding = Finding::new(start, &[], "the file starts with a byte order mark");
            findings.push(finding.hint("save it as UTF-8 without a byte order mark"));
            rest
        }
        None => bytes,
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let place = end_of(&String::from_utf8_lossy(valid), file);
            findings.push(Finding::new(place, &[], "this byte is not UTF-8").hint("save the file as UTF-8"));
            return None;
        }
    };
    match text.find(unprintable) {
        None => Some(text),
        Some(at) => {
            let before = text.get(..at).unwrap_or("");
            let found = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('\0');
            let message = match found {
                '\0' => "the file holds a NUL byte here".to_owned(),
                other => format!("the file holds the control character U+{:04X} here", u32::from(other)),
            };
            let hint = "remove it; in a double-quoted string, write it as an escape such as `\\x1B`";
            findings.push(Finding::new(end_of(before, file), &[], message).hint(hint));
            None
        }
    }
}

/// The characters that YAML 1.2 § 5.1 keeps out of a stream, a byte order mark in the middle, and those that make text
/// read in another order than it is stored (CVE-2021-42574).
fn unprintable(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => true,
        _ => c.is_control(),
    }
}

fn end_of(before: &str, file: u32) -> Place {
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    let last = before.rsplit('\n').next().unwrap_or("").chars().count();
    Place { file, line: counted(lines), column: counted(last) }
}

fn counted(from_zero: usize) -> u32 {
    u32::try_from(from_zero).unwrap_or(u32::MAX).saturating_add(1)
}
