//! Checks what only the whole set of files can tell: ids, phases, markers, defaults. Whether an
//! update finds its rule is seen where it is carried out.

use std::collections::{BTreeMap, HashMap};

use super::ast::{Action, Directive, DirectiveKind, Rule, Spanned};
use super::report::Report;
use crate::problem::Place;

/// Reports what does not fit together.
pub(crate) fn check(directives: &[Directive], report: &mut Report) {
    let mut ids = BTreeMap::new();
    for directive in directives {
        match &directive.kind {
            DirectiveKind::Rule(rule) => head(&rule.actions, &directive.place, &mut ids, report),
            DirectiveKind::Action(actions) => head(actions, &directive.place, &mut ids, report),
            _ => {}
        }
    }
    markers(directives, report);
    defaults(directives, report);
}

/// A rule's id, and actions that may stand only once.
fn head<'d>(actions: &'d [Spanned<Action>], place: &Place, ids: &mut BTreeMap<u64, &'d Place>, report: &mut Report) {
    let mut own = None;
    let mut phase: Option<&Place> = None;
    for action in actions {
        match action.value {
            Action::Id(0) if own.is_some() => {}
            Action::Id(id) => match own {
                Some(_) => report
                    .error(&action.place, "the rule has a second id")
                    .hint("a rule has one id; a comma may be missing between two rules"),
                None => own = Some((id, &action.place)),
            },
            Action::Phase(_) => match phase {
                Some(_) => report.error(&action.place, "the rule has a second phase").hint("take one away"),
                None => phase = Some(&action.place),
            },
            _ => {}
        }
    }
    match own {
        None => report
            .error(place, "the rule has no id")
            .hint("add `id:…`; local rules use 1 to 99,999; if it is a link, the rule above lacks `chain`"),
        Some((0, _)) => {}
        Some((id, at)) => match ids.get(&id) {
            Some(first) => report
                .error(at, format!("id {id} is taken by the rule at {first}"))
                .hint("give one of them another id; local rules use 1 to 99,999"),
            None => {
                ids.insert(id, at);
            }
        },
    }
}

/// Every `skipAfter` names a marker further down.
fn markers(directives: &[Directive], report: &mut Report) {
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, directive) in directives.iter().enumerate() {
        if let DirectiveKind::Marker(name) = &directive.kind {
            last.insert(name, index);
        }
    }
    for (index, directive) in directives.iter().enumerate() {
        let (DirectiveKind::Rule(Rule { actions, .. }) | DirectiveKind::Action(actions)) = &directive.kind else {
            continue;
        };
        for action in actions {
            let Action::SkipAfter(name) = &action.value else { continue };
            match last.get(name.as_str()) {
                Some(&at) if at > index => {}
                Some(_) => report
                    .error(&action.place, format!("the marker `{name}` stands above, and skipping goes downwards"))
                    .hint(format!("put `SecMarker {name}` below this rule")),
                None => report.error(&action.place, format!("no `SecMarker {name}` follows")).hint(
                    match super::names::nearest(name, last.keys().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("put `SecMarker {name}` where the skipping is to end"),
                    },
                ),
            }
        }
    }
}

/// `SecDefaultAction` names a phase and what to do, and no rule's own matters.
fn defaults(directives: &[Directive], report: &mut Report) {
    let mut phases: BTreeMap<u8, &Place> = BTreeMap::new();
    for directive in directives {
        let DirectiveKind::DefaultAction(actions) = &directive.kind else { continue };
        let mut phase = None;
        let mut disruptive = false;
        for action in actions {
            let name = match &action.value {
                Action::Phase(number) => {
                    phase = Some((*number, &action.place));
                    continue;
                }
                Action::Allow(_) | Action::Deny | Action::Drop | Action::Pass | Action::Redirect(_) => {
                    disruptive = true;
                    continue;
                }
                Action::Block => "block",
                Action::Chain => "chain",
                Action::Id(_) => "id",
                Action::LogData(_) => "logdata",
                Action::Msg(_) => "msg",
                Action::Severity(_) => "severity",
                Action::Skip(_) => "skip",
                Action::SkipAfter(_) => "skipAfter",
                _ => continue,
            };
            report.error(&action.place, format!("`{name}` cannot be a default")).hint("it belongs to a single rule");
        }
        match phase {
            None => report.error(&directive.place, "`SecDefaultAction` names no phase").hint("add `phase:2`"),
            Some((number, at)) => {
                if let Some(first) = phases.insert(number, &directive.place) {
                    report
                        .error(at, format!("phase {number} has its defaults from {first} already"))
                        .hint("keep one of the two");
                }
            }
        }
        if !disruptive {
            report
                .error(&directive.place, "`SecDefaultAction` does not say what `block` does")
                .hint("add `pass`, or `deny,status:403`");
        }
    }
}
