//! Finds rules that load and cannot do what their author meant: comparisons that never hold, variables that are empty
//! in their phase, actions that come too late. It reports only what follows from the files; what may well be meant so
//! it leaves alone. Nothing here keeps rules from loading.

use super::ast::{Action, Directive, DirectiveKind, Rule, Spanned, Target, Variable};
use super::report::Report;
use crate::problem::{Place, Problem};
use crate::transforms::Transform;

mod absent;
mod capture;
mod flow;
mod literal;
mod pattern;
mod phase;
mod value;

/// What is doubtful about the rules, in the order of the list.
#[must_use]
pub fn lint(directives: &[Directive]) -> Vec<Problem> {
    let mut report = Report::default();
    let counted = absent::counted(directives);
    for directive in directives {
        report.opened(&directive.place.file);
        match &directive.kind {
            DirectiveKind::Rule(head) => {
                flow::rule(&head.actions, &mut report);
                capture::lint(head, &mut report);
                let chained = !head.links.is_empty();
                for rule in std::iter::once(head).chain(&head.links) {
                    one(&Subject::new(rule, phase_of(&head.actions)), &mut report);
                }
                if !chained {
                    absent::lint(head, &counted, &mut report);
                }
            }
            DirectiveKind::Action(actions) => {
                flow::rule(actions, &mut report);
                flow::action(actions, &mut report);
            }
            _ => {}
        }
    }
    flow::skipped(directives, &mut report);
    flow::uninitialised(directives, &mut report);
    phase::unread(directives, &mut report);
    report.into_problems()
}

fn one(subject: &Subject<'_>, report: &mut Report) {
    phase::lint(subject, report);
    value::lint(subject, report);
    literal::lint(subject, report);
    pattern::lint(subject, report);
    flow::transforms(subject, report);
}

/// The phase of a rule: 2 when it names none.
fn phase_of(actions: &[Spanned<Action>]) -> u8 {
    let phase = |action: &Spanned<Action>| if let Action::Phase(phase) = action.value { Some(phase) } else { None };
    actions.iter().find_map(phase).unwrap_or(2)
}

/// A rule or a link of a chain, and what it inherits.
struct Subject<'d> {
    rule: &'d Rule,
    phase: u8,
    /// Those behind the last `t:none`.
    transforms: Vec<(Transform, &'d Place)>,
    /// The operator also sees the value as it was before each transformation.
    multi: bool,
}

impl<'d> Subject<'d> {
    fn new(rule: &'d Rule, phase: u8) -> Self {
        let mut transforms = Vec::new();
        for action in &rule.actions {
            match action.value {
                Action::Transform(None) => transforms.clear(),
                Action::Transform(Some(transform)) => transforms.push((transform, &action.place)),
                _ => {}
            }
        }
        let multi = rule.actions.iter().any(|action| action.value == Action::MultiMatch);
        Self { rule, phase, transforms, multi }
    }

    fn operator(&self) -> &'d str {
        &self.rule.operator.value.name
    }

    fn argument(&self) -> &'d str {
        &self.rule.operator.value.argument
    }

    fn argument_place(&self) -> &'d Place {
        &self.rule.operator.value.argument_place
    }

    /// The argument is what it says: no macro is expanded in it.
    fn is_literal(&self) -> bool {
        !self.argument().contains("%{")
    }

    /// What it looks at.
    fn targets(&self) -> impl Iterator<Item = &'d Spanned<Target>> {
        self.rule.targets.iter().filter(|target| !target.value.excluded)
    }

    /// What comes of a match that should not have been, and of one that should.
    fn outcome(&self) -> &'static str {
        if self.rule.operator.value.negated { "always matches" } else { "never matches" }
    }
}

/// Variables whose value is text that no address and no number stands in.
const fn is_text(variable: Variable) -> bool {
    matches!(
        variable,
        Variable::ArgsGetNames
            | Variable::ArgsNames
            | Variable::ArgsPostNames
            | Variable::AuthType
            | Variable::FilesNames
            | Variable::FullRequest
            | Variable::MatchedVarName
            | Variable::MatchedVarsNames
            | Variable::MultipartPartHeaders
            | Variable::QueryString
            | Variable::ReqbodyErrorMsg
            | Variable::ReqbodyProcessor
            | Variable::RequestBasename
            | Variable::RequestBody
            | Variable::RequestCookiesNames
            | Variable::RequestFilename
            | Variable::RequestHeadersNames
            | Variable::RequestLine
            | Variable::RequestMethod
            | Variable::RequestProtocol
            | Variable::RequestUri
            | Variable::RequestUriRaw
            | Variable::ResponseBody
            | Variable::ResponseContentType
            | Variable::ResponseHeadersNames
            | Variable::ResponseProtocol
            | Variable::StatusLine
            | Variable::UniqueId
            | Variable::Xml
    )
}

/// The target as a rule author writes it.
fn written(target: &Target) -> String {
    use super::ast::Selector;
    let count = if target.count { "&" } else { "" };
    let selector = match &target.selector {
        Some(Selector::Name(name)) => format!(":{name}"),
        Some(Selector::Pattern(pattern)) => format!(":/{pattern}/"),
        None => String::new(),
    };
    format!("{count}{}{selector}", target.variable.name())
}
