//! Variables that are still empty when the rule runs, or always.

use super::super::ast::{Action, Ctl, Directive, DirectiveKind, Rule, Setting, Spanned, Variable};
use super::super::report::Report;
use super::{Subject, written};

pub(super) fn lint(subject: &Subject<'_>, report: &mut Report) {
    for target in subject.targets() {
        let first = first_phase(target.value.variable);
        if subject.phase < first {
            let name = written(&target.value);
            report
                .warn(
                    &target.place,
                    format!("`{name}` is not known before phase {first}, and this is phase {}", subject.phase),
                )
                .hint(format!("write `phase:{first}`"));
        }
    }
}

/// Rules that look at bodies which a setting keeps from being read.
pub(super) fn unread(directives: &[Directive], report: &mut Report) {
    let (mut request, mut reply) = (None, None);
    let (mut requests, mut replies) = (0_usize, 0_usize);
    for directive in directives {
        match &directive.kind {
            DirectiveKind::Setting(Setting::RequestBodyAccess(on)) => request = (!on).then_some(&directive.place),
            DirectiveKind::Setting(Setting::ResponseBodyAccess(on)) => reply = (!on).then_some(&directive.place),
            DirectiveKind::Rule(rule) => {
                requests += usize::from(looks(rule, |variable| first_phase(variable) == 2));
                replies += usize::from(looks(rule, |variable| variable == Variable::ResponseBody));
            }
            _ => {}
        }
    }
    let switched = |wanted: &Ctl| {
        directives.iter().flat_map(all_actions).any(|action| matches!(&action.value, Action::Ctl(ctl) if ctl == wanted))
    };
    let found = [
        ("request", request, requests, Ctl::RequestBodyAccess(true)),
        ("reply", reply, replies, Ctl::ResponseBodyAccess(true)),
    ];
    for (what, place, rules, ctl) in found {
        let Some(place) = place.filter(|_| rules > 0 && !switched(&ctl)) else { continue };
        let look = if rules == 1 { "1 rule looks".to_owned() } else { format!("{rules} rules look") };
        report
            .warn(place, format!("the body of a {what} is not read, and {look} at it"))
            .hint("write `On`, or take those rules away");
    }
}

/// The actions of a rule and of all its links.
pub(super) fn all_actions(directive: &Directive) -> impl Iterator<Item = &Spanned<Action>> {
    let (head, links): (&[_], &[Rule]) = match &directive.kind {
        DirectiveKind::Rule(rule) => (&rule.actions, &rule.links),
        DirectiveKind::Action(actions) => (actions, &[]),
        _ => (&[], &[]),
    };
    head.iter().chain(links.iter().flat_map(|link| &link.actions))
}

fn looks(head: &Rule, wanted: impl Fn(Variable) -> bool) -> bool {
    let targets = std::iter::once(head).chain(&head.links).flat_map(|rule| &rule.targets);
    targets.filter(|target| !target.value.excluded).any(|target| wanted(target.value.variable))
}

/// The first phase in which a variable can hold anything.
const fn first_phase(variable: Variable) -> u8 {
    match variable {
        Variable::ArgsPost
        | Variable::ArgsPostNames
        | Variable::Files
        | Variable::FilesCombinedSize
        | Variable::FilesNames
        | Variable::FilesSizes
        | Variable::FilesTmpContent
        | Variable::FullRequest
        | Variable::FullRequestLength
        | Variable::InboundDataError
        | Variable::MultipartBoundaryQuoted
        | Variable::MultipartBoundaryWhitespace
        | Variable::MultipartCrlfLfLines
        | Variable::MultipartDataAfter
        | Variable::MultipartDataBefore
        | Variable::MultipartFileLimitExceeded
        | Variable::MultipartFilename
        | Variable::MultipartHeaderFolding
        | Variable::MultipartInvalidHeaderFolding
        | Variable::MultipartInvalidPart
        | Variable::MultipartInvalidQuoting
        | Variable::MultipartLfLine
        | Variable::MultipartMissingSemicolon
        | Variable::MultipartName
        | Variable::MultipartPartHeaders
        | Variable::MultipartSemicolonMissing
        | Variable::MultipartStrictError
        | Variable::MultipartUnmatchedBoundary
        | Variable::ReqbodyError
        | Variable::ReqbodyErrorMsg
        | Variable::ReqbodyProcessorError
        | Variable::ReqbodyProcessorErrorMsg
        | Variable::RequestBody
        | Variable::RequestBodyLength
        | Variable::Xml => 2,
        Variable::ResponseContentLength
        | Variable::ResponseContentType
        | Variable::ResponseHeaders
        | Variable::ResponseHeadersNames
        | Variable::ResponseProtocol
        | Variable::ResponseStatus
        | Variable::StatusLine => 3,
        Variable::OutboundDataError | Variable::ResponseBody => 4,
        _ => 1,
    }
}
