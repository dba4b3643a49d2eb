//! What the journal keeps of a refusal: the rule, the score, where it was found and which rules led to it. Ids, numbers and
//! names of variables; never a value. No answer holds any of it.

use std::fmt::Write as _;

use seclang::{Matched, Transaction};

/// How many variables, and how many rules besides the one that refused: with these, no text is ever cut within a number.
const MOST_VARIABLES: usize = 2;
const MOST_RULES: usize = 12;
/// The most bytes of the name of a variable: the part behind its colon is the client's.
const LONGEST_VARIABLE: usize = 48;

/// The score of a request, as the Core Rule Set 4, its version 3 and our pack keep it.
const INBOUND: [&str; 3] = ["blocking_inbound_anomaly_score", "anomaly_score", "ml_total"];
/// The same of a reply.
const OUTBOUND: [&str; 2] = ["blocking_outbound_anomaly_score", "outbound_anomaly_score"];

/// The score that counts in that phase.
pub(super) fn score(transaction: &Transaction, phase: u8) -> Option<i64> {
    let names: &[&str] = if phase > 2 { &OUTBOUND } else { &INBOUND };
    names.iter().filter_map(|name| transaction.number(name)).max()
}

/// `rule 949110 in phase 2, score 10, in ARGS:q, after 942100 942190`
pub(super) fn told<'a>(
    (rule, phase): (u64, u8),
    score: Option<i64>,
    matched: impl Iterator<Item = &'a Matched> + Clone,
) -> String {
    let mut text = format!("rule {rule} in phase {phase}");
    if let Some(score) = score.filter(|score| *score > 0) {
        write!(text, ", score {score}").expect("a string takes all");
    }
    let mut variables: Vec<String> = Vec::new();
    for name in matched.clone().map(|matched| shown(&matched.variable)) {
        if variables.len() < MOST_VARIABLES && is_of_message(&name) && !variables.contains(&name) {
            variables.push(name);
        }
    }
    list(&mut text, ", in", &variables);
    let mut rules: Vec<u64> = Vec::new();
    for id in matched.filter(|matched| matched.log).map(|matched| matched.id) {
        if rules.len() < MOST_RULES && id != rule && !rules.contains(&id) {
            rules.push(id);
        }
    }
    list(&mut text, ", after", &rules);
    text
}

fn list(text: &mut String, word: &str, items: &[impl std::fmt::Display]) {
    if !items.is_empty() {
        text.push_str(word);
    }
    for item in items {
        write!(text, " {item}").expect("a string takes all");
    }
}

/// A score is no place in a message.
fn is_of_message(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("TX:")
}

fn shown(name: &[u8]) -> String {
    let mut text = name.get(..LONGEST_VARIABLE).unwrap_or(name).escape_ascii().to_string();
    text.truncate(LONGEST_VARIABLE);
    text
}

#[cfg(test)]
mod tests {
    use seclang::Matched;
    use tollgate_core::ruling::Evidence;

    use super::told;

    fn matched(id: u64, variable: &[u8]) -> Matched {
        Matched {
            id,
            phase: 2,
            severity: None,
            log: true,
            msg: Vec::new(),
            data: b"a secret".to_vec(),
            variable: variable.to_vec(),
            spared: false,
        }
    }

    #[test]
    fn a_refusal_names_its_rule_the_score_where_it_was_and_what_led_to_it() {
        let found = [
            matched(942_100, b"ARGS:q"),
            matched(942_190, b"ARGS:q"),
            matched(942_100, b"REQUEST_HEADERS:x"),
            matched(949_110, b"TX:blocking_inbound_anomaly_score"),
        ];
        assert_eq!(
            told((949_110, 2), Some(15), found.iter()),
            "rule 949110 in phase 2, score 15, in ARGS:q REQUEST_HEADERS:x, after 942100 942190"
        );
        assert_eq!(told((1, 1), None, [].iter()), "rule 1 in phase 1");
        assert_eq!(told((1, 1), Some(0), [].iter()), "rule 1 in phase 1");
    }

    #[test]
    fn however_much_matched_nothing_of_it_is_cut_off_within_a_number() {
        let long = [b"ARGS:".to_vec(), vec![0xff; 3_000]].concat();
        let found: Vec<Matched> = (0..5_000)
            .map(|n| matched(9_000_000 + n, &[long.as_slice(), n.to_string().as_bytes()].concat()[n as usize % 3..]))
            .collect();
        let text = told((9_999_999, 2), Some(i64::from(i32::MAX)), found.iter());
        assert!(text.len() <= Evidence::MAX, "{} bytes: {text}", text.len());
        assert!(text.is_ascii() && text.ends_with(" 9000011"), "{text}");
    }
}
