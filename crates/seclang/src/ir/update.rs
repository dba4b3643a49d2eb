//! Rules between AST and compiled form: here the directives that change or remove earlier rules do their work.

use std::sync::Arc;

use regex_automata::meta::Regex;

use crate::ir::pattern;
use crate::parse::ast::{Action, OperatorText, Rule, Spanned, Target, Which};
use crate::problem::{Place, Problem, Severity};

/// A rule that is still to be compiled.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) rule: Rule,
    pub(crate) defaults: Arc<[Spanned<Action>]>,
    pub(crate) id: u64,
    pub(crate) phase: u8,
}

/// Rules and markers in file order.
#[derive(Debug)]
pub(crate) enum Item {
    Marker(String),
    Rule(Box<Draft>),
}

/// A `SecAction` as a rule without variables.
pub(crate) fn action_rule(place: &Place, actions: Vec<Spanned<Action>>) -> Rule {
    let operator = OperatorText {
        negated: false,
        name: "unconditionalMatch".to_owned(),
        argument: String::new(),
        argument_place: place.clone(),
    };
    Rule {
        targets: Vec::new(),
        operator: Spanned { value: operator, place: place.clone() },
        actions,
        links: Vec::new(),
        place: place.clone(),
        text: String::from("SecAction"),
    }
}

/// Takes out the rules that a selector names; says when there is none.
pub(crate) fn remove(items: &mut Vec<Item>, which: &Which, place: &Place, problems: &mut Vec<Problem>) {
    let Some(selector) = Selector::new(which, place, problems) else { return };
    let before = items.len();
    items.retain(|item| match item {
        Item::Marker(_) => true,
        Item::Rule(draft) => !selector.takes(draft),
    });
    if items.len() == before {
        problems.push(nothing(place));
    }
}

/// Changes the variables of the rules that a selector names.
pub(crate) fn update_targets(
    items: &mut [Item],
    which: &Which,
    change: (&[Spanned<Target>], Option<&[Spanned<Target>]>),
    (place, problems): (&Place, &mut Vec<Problem>),
) {
    let Some(selector) = Selector::new(which, place, problems) else { return };
    let at = if let Which::Link { link, .. } = which { usize::try_from(*link).unwrap_or(usize::MAX) } else { 0 };
    let (added, replaced) = change;
    let mut found = false;
    for item in items {
        let Item::Rule(draft) = item else { continue };
        if !selector.takes(draft) {
            continue;
        }
        let Some(rule) = link_of(&mut draft.rule, at) else { continue };
        found = true;
        if let Some(replaced) = replaced {
            rule.targets.retain(|target| !replaced.iter().any(|old| old.value == target.value));
        }
        rule.targets.extend_from_slice(added);
    }
    if !found {
        problems.push(nothing(place));
    }
}

/// Appends actions to a link of a rule: the later ones win when it is compiled.
pub(crate) fn update_actions(
    items: &mut [Item],
    (id, link): (u64, u32),
    actions: &[Spanned<Action>],
    (place, problems): (&Place, &mut Vec<Problem>),
) {
    let draft = items.iter_mut().find_map(|item| match item {
        Item::Rule(draft) if draft.id == id => Some(draft),
        _ => None,
    });
    let Some(draft) = draft else {
        problems.push(nothing(place));
        return;
    };
    let at = usize::try_from(link).unwrap_or(usize::MAX);
    match link_of(&mut draft.rule, at) {
        Some(rule) => rule.actions.extend(actions.iter().filter(|action| is_update(&action.value)).cloned()),
        None => problems.push(Problem {
            place: place.clone(),
            severity: Severity::Error,
            message: format!("rule `{id}` has no link `{link}`"),
            hint: Some("the links of a chain count from 0, its head".to_owned()),
        }),
    }
}

fn link_of(rule: &mut Rule, at: usize) -> Option<&mut Rule> {
    if at == 0 { Some(rule) } else { rule.links.get_mut(at - 1) }
}

/// What identifies a rule stays.
const fn is_update(action: &Action) -> bool {
    !matches!(action, Action::Chain | Action::Id(_) | Action::Phase(_))
}

fn nothing(place: &Place) -> Problem {
    Problem {
        place: place.clone(),
        severity: Severity::Warning,
        message: "no rule before this line is meant".to_owned(),
        hint: Some("updates and removals work on rules that are already loaded: move this behind them".to_owned()),
    }
}

enum Selector<'a> {
    Id(u64),
    Ids(&'a [(u64, u64)]),
    Msg(Regex),
    Tag(Regex),
}

impl<'a> Selector<'a> {
    fn new(which: &'a Which, place: &Place, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = match which {
            Which::Ids(ranges) => return Some(Self::Ids(ranges)),
            Which::Link { id, .. } => return Some(Self::Id(*id)),
            Which::Msg(text) | Which::Tag(text) => text,
        };
        match pattern::sensitive(text) {
            Ok(regex) if matches!(which, Which::Msg(_)) => Some(Self::Msg(regex)),
            Ok(regex) => Some(Self::Tag(regex)),
            Err(message) => {
                problems.push(Problem { place: place.clone(), severity: Severity::Error, message, hint: None });
                None
            }
        }
    }

    fn takes(&self, draft: &Draft) -> bool {
        let mut actions = draft.rule.actions.iter();
        match self {
            Self::Id(id) => draft.id == *id,
            Self::Ids(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&draft.id)),
            Self::Msg(regex) => actions.any(|it| matches!(&it.value, Action::Msg(msg) if regex.is_match(msg))),
            Self::Tag(regex) => actions.any(|it| matches!(&it.value, Action::Tag(tag) if regex.is_match(tag))),
        }
    }
}
