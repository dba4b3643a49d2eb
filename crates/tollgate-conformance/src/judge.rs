//! Whether a stage of a test came out as it should, in the order of `ftw.py`'s strict verdict.

use std::collections::BTreeSet;

use regex::Regex;
use seclang::{Matched, Tally};

use crate::cases::Output;

/// `Err` says what was wrong. `None` as outcome: there was no answer.
///
/// # Errors
/// What differs from the expectation.
pub fn stage(output: &Output, outcome: Option<(u16, &Tally)>) -> Result<(), String> {
    if output.expect_error.as_deref() == Some("true") {
        return if outcome.is_none() { Ok(()) } else { Err("expected no answer".to_owned()) };
    }
    let Some((status, tally)) = outcome else { return Err("no answer".to_owned()) };
    if let Some(wanted) = output.status.as_deref()
        && wanted != status.to_string()
    {
        return Err(format!("status {status}, want {wanted}"));
    }
    let Some(log) = &output.log else { return Ok(()) };
    let ids = ids(tally);
    let missing: Vec<_> = log.expect_ids.iter().filter(|id| !ids.contains(id)).collect();
    if !missing.is_empty() {
        return Err(format!("missing {missing:?}, got {ids:?}"));
    }
    let unwanted: Vec<_> = log.no_expect_ids.iter().filter(|id| ids.contains(id)).collect();
    if !unwanted.is_empty() {
        return Err(format!("unwanted {unwanted:?}"));
    }
    let text = lines(tally);
    let found = |pattern: &str| Regex::new(pattern).map(|regex| regex.is_match(&text)).map_err(|why| why.to_string());
    match (log.match_regex.as_deref(), log.no_match_regex.as_deref()) {
        (Some(pattern), _) if !found(pattern)? => Err(format!("`{pattern}` not found in {text}")),
        (_, Some(pattern)) if found(pattern)? => Err(format!("`{pattern}` found; got {ids:?}")),
        _ if output.isolated.as_deref() == Some("true") && ids.len() != 1 => Err(format!("not isolated: {ids:?}")),
        _ => Ok(()),
    }
}

/// Ids of the rules that matched and are logged.
#[must_use]
pub fn ids(tally: &Tally) -> BTreeSet<u64> {
    tally.matched.iter().filter(|matched| matched.log).map(|matched| matched.id).collect()
}

fn lines(tally: &Tally) -> String {
    let line = |matched: &Matched| {
        let [msg, data] = [&matched.msg, &matched.data].map(|text| String::from_utf8_lossy(text).into_owned());
        format!("[id \"{}\"] [msg \"{msg}\"] [data \"{data}\"]", matched.id)
    };
    let lines: Vec<String> = tally.matched.iter().filter(|matched| matched.log).map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use seclang::{Matched, Tally};

    use super::stage;
    use crate::cases::{Output, yaml};

    fn tally(ids: &[u64]) -> Tally {
        let matched = |id: &u64| Matched {
            id: *id,
            phase: 2,
            severity: None,
            log: *id != 900,
            msg: b"m".to_vec(),
            data: b"found within ARGS:x".to_vec(),
            variable: Vec::new(),
            spared: false,
        };
        Tally { matched: ids.iter().map(matched).collect(), ..Tally::default() }
    }

    #[test]
    fn each_expectation_can_fail() {
        let cases = [
            ("{log: {expect_ids: [1, 2]}}", true),
            ("{log: {expect_ids: [3]}}", false),
            ("{log: {expect_ids: [900]}}", false),
            ("{log: {no_expect_ids: [3, 900]}}", true),
            ("{log: {no_expect_ids: [2]}}", false),
            ("{status: 200}", true),
            ("{status: 400}", false),
            ("{expect_error: true}", false),
            ("{log: {match_regex: 'within ARGS:x'}}", true),
            ("{log: {match_regex: 'within ARGS:y'}}", false),
            ("{log: {no_match_regex: '\\[id \"\\d+\"\\]'}}", false),
            ("{isolated: true, log: {expect_ids: [1]}}", false),
        ];
        for (text, passes) in cases {
            let output: Output = yaml(text).expect("an output");
            assert_eq!(stage(&output, Some((200, &tally(&[1, 2, 900])))).is_ok(), passes, "{text}");
            let wants_none = text.contains("expect_error");
            assert_eq!(stage(&output, None).is_ok(), wants_none, "{text}");
        }
    }
}
