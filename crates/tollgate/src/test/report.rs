//! What a person, or a machine, is told of a run.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::run::Ended;

/// Counts, and for machines every case.
#[derive(Default)]
pub(crate) struct Report {
    cases: usize,
    steps: usize,
    failed: usize,
    rows: Vec<Value>,
}

/// Where a case stands, and what it promises.
#[derive(Clone, Copy)]
pub(crate) struct Title<'a> {
    pub(crate) file: &'a Path,
    pub(crate) line: u32,
    pub(crate) what: &'a str,
}

impl Report {
    /// Takes a case in, and says what people read of it.
    pub(crate) fn case(&mut self, title: Title<'_>, steps: &[Ended]) -> String {
        let Title { file, line, what } = title;
        let good = steps.iter().all(|step| step.misses.is_empty());
        self.cases += 1;
        self.steps += steps.len();
        self.failed += usize::from(!good);
        self.rows.push(json!({
            "file": file.display().to_string(), "line": line, "what": what, "good": good,
            "steps": steps.iter().map(|step| json!({ "misses": step.misses, "record": step.record })).collect::<Vec<_>>(),
        }));
        let mark = if good { "ok  " } else { "FAIL" };
        let mut text = format!("{mark}  {}:{line}: {what}", file.display());
        for (number, step) in steps.iter().enumerate().filter(|(_, step)| !step.misses.is_empty()) {
            for miss in &step.misses {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n      step {}: {}: expected {}", number + 1, miss.what, miss.expected);
                let _ = write!(text, "\n{:>w$}got {}", "", miss.got, w = 16 + miss.what.len());
            }
            let _ = match &step.record {
                Some(record) => write!(text, "\n      record: {}", brief(record)),
                None => write!(text, "\n      record: no line for this request"),
            };
        }
        text
    }

    /// Whether every promise was kept.
    pub(crate) const fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        let (cases, steps) = (count(self.cases, "case"), count(self.steps, "step"));
        match self.failed {
            0 => format!("{cases}, {steps}: all as promised"),
            failed => format!("{cases}, {steps}: {failed} failed"),
        }
    }

    /// The document for machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "good": self.is_good(), "cases": self.rows,
            "counts": { "cases": self.cases, "steps": self.steps, "failed": self.failed },
        })
    }
}

/// What of a record explains a verdict.
fn brief(record: &Value) -> String {
    let members = ["status", "outcome", "route", "model", "tenant", "stage", "code", "evidence", "would_refuse"];
    let said = members.iter().filter_map(|name| match record.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(format!("{name}={text}")),
        other => Some(format!("{name}={other}")),
    });
    said.collect::<Vec<_>>().join(" ")
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
