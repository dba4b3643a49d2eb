//! Rules that demand something of a part of the request and are silent when the part is not there.

use std::collections::HashSet;

use super::super::ast::{Action, Directive, DirectiveKind, Rule, Selector, Target, Variable};
use super::super::report::Report;
use super::written;

/// The members whose absence some rule asks about, as `&REQUEST_HEADERS:X-Key`, in lower case.
pub(super) fn counted(directives: &[Directive]) -> HashSet<String> {
    let rules = directives.iter().filter_map(|directive| match &directive.kind {
        DirectiveKind::Rule(rule) => Some(rule),
        _ => None,
    });
    rules
        .flat_map(|head| std::iter::once(head).chain(&head.links))
        .flat_map(|rule| &rule.targets)
        .filter(|target| target.value.count)
        .map(|target| written(&target.value).to_ascii_lowercase())
        .collect()
}

/// An absent variable is not looked at, so that a negated operator does not match it either.
pub(super) fn lint(rule: &Rule, counted: &HashSet<String>, report: &mut Report) {
    let refuses = rule.actions.iter().any(|action| matches!(action.value, Action::Deny | Action::Drop));
    let [target] = rule.targets.as_slice() else { return };
    let optional = matches!(
        &target.value,
        Target {
            variable: Variable::Args
                | Variable::ArgsGet
                | Variable::ArgsPost
                | Variable::RequestCookies
                | Variable::RequestHeaders,
            selector: Some(Selector::Name(name)),
            count: false,
            excluded: false,
        } if !name.eq_ignore_ascii_case("content-length")
    );
    let name = written(&target.value);
    if refuses
        && optional
        && rule.operator.value.negated
        && rule.operator.value.name != "noMatch"
        && !counted.contains(&format!("&{name}").to_ascii_lowercase())
    {
        report
            .warn(&rule.operator.place, format!("a request without `{name}` passes: an absent value is not looked at"))
            .hint(format!("add a rule `SecRule &{name} \"@eq 0\" …` that refuses it as well"));
    }
}
