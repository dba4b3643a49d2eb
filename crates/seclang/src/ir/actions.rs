//! Sorts the actions of a link: what ends a rule, what a match does, how a value is transformed.

use std::sync::Arc;

use regex_automata::meta::Regex;

use crate::ir::compile::{Map, rules_where};
use crate::ir::link::Workshop;
use crate::ir::pattern;
use crate::ir::rule::{Act, Disruptive, VarChange, VarName};
use crate::ir::text::{Text, has_macro};
use crate::ir::update::Draft;
use crate::parse::ast::{Action, Change, Ctl, Rule, Spanned, Target, Variable};
use crate::problem::Place;
use crate::transforms::Transform;

/// The actions of one link, the defaults of its phase included.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) steps: Vec<Transform>,
    pub(crate) multi: bool,
    pub(crate) capture: bool,
    pub(crate) acts: Vec<Deed>,
    ends: Vec<Spanned<Action>>,
}

/// A deed whose rules may be still to come.
#[derive(Debug)]
pub(crate) struct Deed {
    action: Spanned<Action>,
}

impl Sorted {
    /// Sorts. A link takes only the transformations of `SecDefaultAction`.
    pub(crate) fn new(rule: &Rule, defaults: &[Spanned<Action>], link: bool, shop: &mut Workshop<'_>) -> Self {
        let mut sorted = Self::default();
        for action in defaults {
            if !link || matches!(action.value, Action::Transform(_)) {
                sorted.take(action);
            }
        }
        for action in &rule.actions {
            if link && is_heads(&action.value) {
                shop.warn(&action.place, "this stands in a link of a chain and works as if it stood in the head");
            }
            sorted.take(action);
        }
        sorted
    }

    fn take(&mut self, action: &Spanned<Action>) {
        match &action.value {
            Action::Transform(None) => self.steps.clear(),
            Action::Transform(Some(step)) => self.steps.push(*step),
            Action::MultiMatch => self.multi = true,
            Action::Capture => self.capture = true,
            Action::Ctl(_)
            | Action::ExpireVar { .. }
            | Action::InitCol { .. }
            | Action::SetEnv(_)
            | Action::SetSid(_)
            | Action::SetUid(_)
            | Action::SetVar { .. } => self.acts.push(Deed { action: action.clone() }),
            _ => self.ends.push(action.clone()),
        }
    }
}

const fn is_heads(action: &Action) -> bool {
    matches!(
        action,
        Action::Allow(_) | Action::Block | Action::Deny | Action::Drop | Action::Redirect(_) | Action::Skip(_)
    )
}

/// What a whole rule does, collected over its links.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) severity: Option<u8>,
    pub(crate) msg: Text,
    pub(crate) logdata: Text,
    pub(crate) log: Option<bool>,
    pub(crate) disruptive: Option<Disruptive>,
    pub(crate) skip: Pending,
}

/// A skip whose aim is not known yet.
#[derive(Debug, Default)]
pub(crate) enum Pending {
    After(String, Place),
    #[default]
    No,
    Rules(usize),
}

impl Ending {
    /// Takes the actions of one more link; later ones win.
    pub(crate) fn merge(&mut self, sorted: &Sorted, draft: &Draft, head: bool, shop: &mut Workshop<'_>) {
        let mut status = None;
        for action in &sorted.ends {
            match &action.value {
                Action::Allow(scope) => self.disruptive = Some(Disruptive::Allow(*scope)),
                Action::Block => self.disruptive = default_disruptive(draft, shop),
                Action::Deny => self.disruptive = Some(Disruptive::Deny { status: 403 }),
                Action::Drop => self.disruptive = Some(Disruptive::Drop),
                Action::Pass => self.disruptive = Some(Disruptive::Pass),
                Action::Redirect(to) => {
                    self.disruptive = Some(Disruptive::Redirect { to: shop.text(to, &action.place) });
                }
                Action::Status(code) => status = Some(*code),
                Action::Log(on) if head => self.log = Some(*on),
                Action::Log(true) => self.log = Some(true),
                Action::LogData(text) => self.logdata = shop.text(text, &action.place),
                Action::Msg(text) => self.msg = shop.text(text, &action.place),
                Action::Severity(level) => self.severity = Some(*level),
                Action::Skip(count) => self.skip = Pending::Rules(usize::try_from(*count).unwrap_or(usize::MAX)),
                Action::SkipAfter(name) => self.skip = Pending::After(name.clone(), action.place.clone()),
                _ => {}
            }
        }
        if let (Some(Disruptive::Deny { status: code }), Some(status)) = (&mut self.disruptive, status) {
            *code = status;
        }
    }
}

/// What `block` stands for: the disruptive action of the phase's `SecDefaultAction`.
fn default_disruptive(draft: &Draft, shop: &mut Workshop<'_>) -> Option<Disruptive> {
    let mut found = None;
    let mut code = 403;
    for action in draft.defaults.iter() {
        match &action.value {
            Action::Allow(scope) => found = Some(Disruptive::Allow(*scope)),
            Action::Deny => found = Some(Disruptive::Deny { status: 403 }),
            Action::Drop => found = Some(Disruptive::Drop),
            Action::Pass => found = Some(Disruptive::Pass),
            Action::Redirect(to) => found = Some(Disruptive::Redirect { to: shop.text(to, &action.place) }),
            Action::Status(status) => code = *status,
            _ => {}
        }
    }
    if let Some(Disruptive::Deny { status }) = &mut found {
        *status = code;
    }
    found
}

impl Deed {
    /// The deed compiled; `None` when it does nothing here or has been reported.
    pub(crate) fn resolve(&self, map: &Map<'_>, shop: &mut Workshop<'_>) -> Option<Act> {
        let place = &self.action.place;
        Some(match &self.action.value {
            Action::Ctl(ctl) => return control(ctl, map, (place, shop)),
            Action::ExpireVar { collection, name, seconds } => Act::ExpireVar {
                collection: *collection,
                name: shop.text(name, place),
                seconds: shop.text(seconds, place),
            },
            Action::InitCol { collection, key } => {
                shop.opens("initcol", place);
                Act::InitCol { collection: *collection, key: shop.text(key, place) }
            }
            Action::SetEnv(text) => {
                let (name, value) = text.split_once('=').unwrap_or((text, "1"));
                Act::SetEnv { name: shop.text(name, place), value: shop.text(value, place) }
            }
            Action::SetSid(text) => {
                shop.opens("setsid", place);
                Act::SetSid(shop.text(text, place))
            }
            Action::SetUid(text) => {
                shop.opens("setuid", place);
                Act::SetUid(shop.text(text, place))
            }
            Action::SetVar { collection, name, change } => Act::SetVar {
                collection: *collection,
                name: if *collection == Variable::Tx && !has_macro(name) {
                    VarName::Slot(shop.names.intern(name.as_bytes()))
                } else {
                    VarName::Computed(shop.text(name, place))
                },
                change: match change {
                    Change::Add(text) => VarChange::Add(shop.text(text, place)),
                    Change::Assign(text) => VarChange::Assign(shop.text(text, place)),
                    Change::Subtract(text) => VarChange::Subtract(shop.text(text, place)),
                    Change::Unset => VarChange::Unset,
                },
            },
            _ => return None,
        })
    }
}

fn control(ctl: &Ctl, map: &Map<'_>, (place, shop): (&Place, &mut Workshop<'_>)) -> Option<Act> {
    let by_id = |low: u64, high: u64| rules_where(map, |draft| (low..=high).contains(&draft.id));
    Some(match ctl {
        Ctl::AuditEngine(_) | Ctl::Ignored(_) | Ctl::ParseXmlIntoArgs(_) => return None,
        Ctl::ForceRequestBodyVariable(on) => Act::ForceRequestBody(*on),
        Ctl::RequestBodyAccess(on) => Act::RequestBodyAccess(*on),
        Ctl::RequestBodyProcessor(name) => Act::Processor(name.to_ascii_uppercase().into_boxed_str()),
        Ctl::ResponseBodyAccess(on) => Act::ReplyBodyAccess(*on),
        Ctl::RuleEngine(mode) => Act::RuleEngine(*mode),
        Ctl::RuleRemoveById(low, high) => Act::RemoveRules(by_id(*low, *high)),
        Ctl::RuleRemoveByMsg(text) => Act::RemoveRules(by_msg(text, map, (place, shop))?),
        Ctl::RuleRemoveByTag(text) => Act::RemoveRules(by_tag(text, map, (place, shop))?),
        Ctl::RuleRemoveTargetById(low, high, target) => targets(by_id(*low, *high), target, place, shop),
        Ctl::RuleRemoveTargetByMsg(text, target) => {
            let rules = by_msg(text, map, (place, shop))?;
            targets(rules, target, place, shop)
        }
        Ctl::RuleRemoveTargetByTag(text, target) => {
            let rules = by_tag(text, map, (place, shop))?;
            targets(rules, target, place, shop)
        }
    })
}

type Rules = Arc<crate::ir::bits::Bits>;

fn targets(rules: Rules, target: &Target, place: &Place, shop: &mut Workshop<'_>) -> Act {
    let spanned = Spanned { value: target.clone(), place: place.clone() };
    Act::RemoveTargets(rules, shop.except(&spanned).into_iter().collect())
}

fn by_msg(text: &str, map: &Map<'_>, (place, shop): (&Place, &mut Workshop<'_>)) -> Option<Rules> {
    let regex = selector(text, place, shop)?;
    Some(rules_where(map, |draft| {
        draft.rule.actions.iter().any(|it| matches!(&it.value, Action::Msg(msg) if regex.is_match(msg)))
    }))
}

fn by_tag(text: &str, map: &Map<'_>, (place, shop): (&Place, &mut Workshop<'_>)) -> Option<Rules> {
    let regex = selector(text, place, shop)?;
    Some(rules_where(map, |draft| {
        draft.rule.actions.iter().any(|it| matches!(&it.value, Action::Tag(tag) if regex.is_match(tag)))
    }))
}

fn selector(text: &str, place: &Place, shop: &mut Workshop<'_>) -> Option<Regex> {
    match pattern::sensitive(text) {
        Ok(regex) => Some(regex),
        Err(message) => {
            shop.error(place, message);
            None
        }
    }
}
