//! Reads an operator: `@rx ^a`, `!@streq b`, or a bare pattern. Whether its argument makes sense is the operator's matter.

use super::ast::{OperatorText, Spanned};
use super::names::{self, OPERATORS, Support, nearest};
use super::report::Report;
use super::target::shortened;
use super::text::View;

/// The operator of a rule; `None` when nobody knows it.
pub(crate) fn operator(text: View<'_>, report: &mut Report) -> Option<Spanned<OperatorText>> {
    let text = text.trim_start();
    let place = text.place();
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let (name, argument) = match rest.strip_prefix('@') {
        Some(named) => {
            let end = named.as_str().find(|char: char| char.is_ascii_whitespace()).unwrap_or(named.as_str().len());
            let (name, argument) = named.split_at(end);
            (known(name, negated, report)?, argument.trim_start())
        }
        None => ("rx", rest),
    };
    let value = OperatorText {
        negated,
        name: name.to_owned(),
        argument: argument.as_str().to_owned(),
        argument_place: argument.place(),
    };
    if argument.as_str().is_empty() && needs_argument(name) {
        report.error(&argument.place(), format!("`@{name}` needs an argument")).hint("write it behind the name");
    }
    Some(Spanned { value, place })
}

/// The operator's name as the reference spells it. One that is ignored never matches; negated, it would always.
fn known(name: View<'_>, negated: bool, report: &mut Report) -> Option<&'static str> {
    let text = name.as_str();
    match names::find(OPERATORS, text) {
        Some((known, Support::Done)) => Some(known),
        Some((known, Support::Ignored(why))) if !negated => {
            report.ignored(&name.place(), format!("operator `@{known}` does nothing"), why);
            Some("noMatch")
        }
        Some((known, Support::Ignored(_))) => {
            report
                .error(&name.place(), format!("operator `!@{known}` is not supported"))
                .hint("nothing is looked up, so it would match every request: take the rule away");
            None
        }
        Some((known, Support::Refused(why))) => {
            report.error(&name.place(), format!("operator `@{known}` is not supported")).hint(why);
            None
        }
        None => {
            let near = nearest(text, OPERATORS.iter().map(|(known, _)| *known));
            let hint = near.map_or_else(
                || "a pattern that begins with `@` is written `@rx @…`".to_owned(),
                |near| format!("did you mean `@{near}`?"),
            );
            report.error(&name.place(), format!("unknown operator `@{}`", shortened(text))).hint(hint);
            None
        }
    }
}

/// Operators that make no sense without an argument. An empty text or pattern does.
fn needs_argument(name: &str) -> bool {
    matches!(
        name,
        "pm" | "pmf"
            | "pmFromFile"
            | "ipMatch"
            | "ipMatchF"
            | "ipMatchFromFile"
            | "eq"
            | "ge"
            | "gt"
            | "le"
            | "lt"
            | "validateByteRange"
    )
}
