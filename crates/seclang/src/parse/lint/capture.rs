//! Uses of what a match captured where nothing captures.

use super::super::ast::{Action, Change, Rule};
use super::super::report::Report;

/// `%{TX.0}` to `%{TX.9}` in a rule that captures nothing are those of some rule before it.
pub(super) fn lint(head: &Rule, report: &mut Report) {
    let rules = || std::iter::once(head).chain(&head.links);
    if rules().flat_map(|rule| &rule.actions).any(|action| action.value == Action::Capture) {
        return;
    }
    for action in rules().flat_map(|rule| &rule.actions) {
        let texts: [&str; 2] = match &action.value {
            Action::LogData(text) | Action::Msg(text) => [text, ""],
            Action::SetVar {
                name, change: Change::Add(text) | Change::Assign(text) | Change::Subtract(text), ..
            } => [name, text],
            _ => continue,
        };
        if let Some(slot) = texts.into_iter().find_map(slot) {
            report
                .warn(
                    &action.place,
                    format!("`%{{TX.{slot}}}` is what some earlier rule captured: this one captures nothing"),
                )
                .hint("add `capture`, or use `%{MATCHED_VAR}`");
        }
    }
}

/// The first capture slot that a text names.
fn slot(text: &str) -> Option<char> {
    text.split("%{").skip(1).find_map(|after| {
        let (name, _) = after.split_once('}')?;
        let (collection, slot) = name.split_once('.')?;
        let mut chars = slot.chars();
        let digit = chars.next().filter(char::is_ascii_digit)?;
        (collection.eq_ignore_ascii_case("tx") && chars.next().is_none()).then_some(digit)
    })
}
