//! Joins the links of a chain to its head.

use super::ast::{Action, Directive, DirectiveKind, Rule};
use super::directive::always;
use super::report::Report;
use crate::problem::Place;

/// The chain being read, if one is.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    head: Option<Directive>,
    /// Where the `chain` action stands that asks for another link.
    wanted: Option<Place>,
}

impl Chains {
    /// Takes the next directive of a file; gives back what is complete.
    pub(crate) fn add(&mut self, directive: Directive, raw: String, report: &mut Report) -> [Option<Directive>; 2] {
        if self.head.is_none() {
            let DirectiveKind::Rule(rule) = &directive.kind else { return [Some(directive), None] };
            self.wanted = chain(rule);
            return match self.wanted {
                Some(_) => {
                    self.head = Some(directive);
                    [None, None]
                }
                None => [Some(directive), None],
            };
        }
        let link = match directive.kind {
            DirectiveKind::Rule(rule) => rule,
            DirectiveKind::Action(actions) => always(actions, raw, &directive.place),
            _ => return [self.close(report), Some(directive)],
        };
        inspect(&link, report);
        self.wanted = chain(&link);
        if let Some(Directive { kind: DirectiveKind::Rule(head), .. }) = &mut self.head {
            head.links.push(link);
        }
        if self.wanted.is_some() { [None, None] } else { [self.head.take(), None] }
    }

    /// Nothing more can come; gives back the chain, reporting that a link is missing.
    pub(crate) fn close(&mut self, report: &mut Report) -> Option<Directive> {
        if let Some(place) = self.wanted.take() {
            report
                .error(&place, "`chain` asks for another rule, and none follows")
                .hint("write the next `SecRule` right below, or take `chain` away");
        }
        self.head.take()
    }
}

fn chain(rule: &Rule) -> Option<Place> {
    rule.actions.iter().find(|action| action.value == Action::Chain).map(|action| action.place.clone())
}

/// What belongs to the head cannot stand in a link.
fn inspect(link: &Rule, report: &mut Report) {
    for action in &link.actions {
        let name = match action.value {
            Action::Accuracy(_) => "accuracy",
            Action::Allow(_) => "allow",
            Action::Block => "block",
            Action::Deny => "deny",
            Action::Drop => "drop",
            Action::Id(id) if id > 0 => "id",
            Action::Maturity(_) => "maturity",
            Action::Pass => "pass",
            Action::Phase(_) => "phase",
            Action::Redirect(_) => "redirect",
            Action::Rev(_) => "rev",
            Action::Severity(_) => "severity",
            Action::Skip(_) => "skip",
            Action::SkipAfter(_) => "skipAfter",
            Action::Ver(_) => "ver",
            _ => continue,
        };
        report
            .error(&action.place, format!("`{name}` cannot stand in a link of a chain"))
            .hint("move it to the chain's first rule; if this rule is no link, the rule above has a `chain` too many");
    }
}
