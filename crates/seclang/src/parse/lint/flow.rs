//! Actions that come too late, have no effect, or keep other rules from running.

use std::collections::BTreeMap;

use super::super::ast::{Action, Directive, DirectiveKind, Rule, Spanned, Variable};
use super::super::report::Report;
use super::{Subject, phase_of};
use crate::problem::Place;
use crate::transforms::Transform;

/// The actions of a rule or `SecAction`.
pub(super) fn rule(actions: &[Spanned<Action>], report: &mut Report) {
    let phase = phase_of(actions);
    let find = |wanted: &dyn Fn(&Action) -> bool| actions.iter().find(|action| wanted(&action.value));
    let deny = find(&|action| *action == Action::Deny);
    let redirect = find(&|action| matches!(action, Action::Redirect(_)));
    let refusal = find(&|action| matches!(action, Action::Deny | Action::Drop | Action::Redirect(_)));
    if let Some(refusal) = refusal.filter(|_| phase == 5) {
        report
            .warn(&refusal.place, "in phase 5 the answer has been sent, and nothing can be refused")
            .hint("choose an earlier phase, or `pass`");
    }
    let status = actions.iter().find_map(|action| match action.value {
        Action::Status(status) => Some((status, &action.place)),
        _ => None,
    });
    if let Some((status, place)) = status {
        if deny.is_some() && !(400..=599).contains(&status) {
            report
                .warn(place, format!("status {status} does not tell a client that it was refused"))
                .hint("write 403, or another status from 400 to 599");
        }
        if redirect.is_some() && !matches!(status, 301 | 302 | 303 | 307 | 308) {
            report
                .warn(place, format!("a client does not follow a redirect with status {status}"))
                .hint("write 301, 302, 303, 307 or 308");
        }
    }
    let severity = find(&|action| matches!(action, Action::Severity(_)));
    let silent = find(&|action| matches!(action, Action::Msg(_) | Action::Log(false))).is_none();
    if let Some(severity) = severity.filter(|_| silent) {
        report.warn(&severity.place, "the rule has a severity and no message to go with it").hint("add `msg:'…'`");
    }
    several(actions, report);
}

/// Only the last of several disruptive actions counts.
fn several(actions: &[Spanned<Action>], report: &mut Report) {
    let disruptive = |action: &&Spanned<Action>| {
        matches!(
            action.value,
            Action::Allow(_) | Action::Block | Action::Deny | Action::Drop | Action::Pass | Action::Redirect(_)
        )
    };
    let mut found = actions.iter().filter(disruptive);
    if let (Some(first), Some(_)) = (found.next(), found.next()) {
        report
            .warn(&first.place, "the rule says twice what a match does, and only the last one counts")
            .hint("keep one of `allow`, `block`, `deny`, `drop`, `pass`, `redirect`");
    }
}

/// A `SecAction` has no value to transform or capture.
pub(super) fn action(actions: &[Spanned<Action>], report: &mut Report) {
    for action in actions {
        let name = match action.value {
            Action::Capture => "capture",
            Action::MultiMatch => "multiMatch",
            Action::Transform(Some(_)) => "t:",
            _ => continue,
        };
        report
            .warn(&action.place, format!("`{name}` does nothing in a `SecAction`, which looks at no value"))
            .hint("take it away, or write a `SecRule`");
    }
}

/// Transformations that undo or repeat each other.
pub(super) fn transforms(subject: &Subject<'_>, report: &mut Report) {
    let mut decoded = false;
    for (transform, place) in &subject.transforms {
        match transform {
            Transform::UrlDecode | Transform::UrlDecodeUni if decoded => report
                .warn(place, "the value is decoded twice, and no application does that")
                .hint("keep one of `t:urlDecode` and `t:urlDecodeUni`"),
            Transform::UrlDecode | Transform::UrlDecodeUni => decoded = true,
            // What another decoder finds may well be encoded in its turn.
            Transform::Base64Decode
            | Transform::Base64DecodeExt
            | Transform::CssDecode
            | Transform::EscapeSeqDecode
            | Transform::HexDecode
            | Transform::HtmlEntityDecode
            | Transform::JsDecode
            | Transform::SqlHexDecode => decoded = false,
            _ => {}
        }
    }
    let mut before: Option<&Place> = None;
    for action in &subject.rule.actions {
        match action.value {
            Action::Transform(Some(_)) => before = before.or(Some(&action.place)),
            Action::Transform(None) => {
                if let Some(place) = before.take() {
                    report
                        .warn(place, "`t:none` further on takes this transformation away again")
                        .hint("write `t:none` first");
                }
            }
            _ => {}
        }
    }
}

/// Rules that an unconditional skip keeps from ever running.
pub(super) fn skipped(directives: &[Directive], report: &mut Report) {
    let mut skips: BTreeMap<u8, Skip<'_>> = BTreeMap::new();
    for directive in directives {
        match &directive.kind {
            DirectiveKind::Marker(name) => {
                let ended = |skip: &Skip<'_>| skip.marker == name;
                skips.retain(|phase, skip| {
                    if ended(skip) {
                        skip.tell(*phase, report);
                    }
                    !ended(skip)
                });
            }
            DirectiveKind::Rule(Rule { actions, .. }) | DirectiveKind::Action(actions) => {
                let phase = phase_of(actions);
                match skips.get_mut(&phase) {
                    Some(skip) => {
                        skip.dead += 1;
                        skip.first = skip.first.or(Some(&directive.place));
                    }
                    None => {
                        skips.extend(unconditional(directive).map(|skip| (phase, skip)));
                    }
                }
            }
            _ => {}
        }
    }
    for (phase, skip) in skips {
        skip.tell(phase, report);
    }
}

/// A skip that always happens, and what it has skipped so far.
struct Skip<'d> {
    place: &'d Place,
    marker: &'d str,
    dead: usize,
    first: Option<&'d Place>,
}

impl Skip<'_> {
    fn tell(&self, phase: u8, report: &mut Report) {
        let Some(first) = self.first else { return };
        let what = if self.dead == 1 { "rule" } else { "rules" };
        report
            .warn(self.place, format!("this always skips {} {what} of phase {phase}, from {first} on", self.dead))
            .hint("give the skip a condition, or take those rules away");
    }
}

/// The skip of a directive that skips whatever the request is.
fn unconditional(directive: &Directive) -> Option<Skip<'_>> {
    let actions = match &directive.kind {
        DirectiveKind::Action(actions) => actions,
        DirectiveKind::Rule(rule) => {
            let operator = &rule.operator.value;
            let always = operator.name == "unconditionalMatch" && !operator.negated && rule.links.is_empty();
            let present = rule.targets.iter().any(|target| {
                target.value.count || matches!(target.value.variable, Variable::RemoteAddr | Variable::UniqueId)
            });
            if !always || !present {
                return None;
            }
            &rule.actions
        }
        _ => return None,
    };
    actions.iter().find_map(|action| match &action.value {
        Action::SkipAfter(marker) => Some(Skip { place: &action.place, marker, dead: 0, first: None }),
        _ => None,
    })
}

/// Counters in a collection that no rule opens: they are gone with the request.
pub(super) fn uninitialised(directives: &[Directive], report: &mut Report) {
    let mut opened = Vec::new();
    let mut written: BTreeMap<Variable, &Place> = BTreeMap::new();
    for directive in directives {
        for action in super::phase::all_actions(directive) {
            match &action.value {
                Action::InitCol { collection, .. } => opened.push(*collection),
                Action::SetSid(_) => opened.push(Variable::Session),
                Action::SetUid(_) => opened.push(Variable::User),
                Action::SetVar { collection, .. } if *collection != Variable::Tx => {
                    written.entry(*collection).or_insert(&action.place);
                }
                _ => {}
            }
        }
    }
    for (collection, place) in written.into_iter().filter(|(collection, _)| !opened.contains(collection)) {
        let name = collection.name();
        let hint = match collection {
            Variable::Session => "add a rule with `setsid:…`".to_owned(),
            Variable::User => "add a rule with `setuid:…`".to_owned(),
            _ => {
                format!("add `SecAction \"id:…,phase:1,nolog,pass,initcol:{}=%{{REMOTE_ADDR}}\"`", name.to_lowercase())
            }
        };
        report
            .warn(
                place,
                format!("no rule opens the collection `{name}`, so what is kept in it is gone with the request"),
            )
            .hint(hint);
    }
}
