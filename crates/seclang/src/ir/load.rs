//! Loads rule files: parse, apply updates in file order, compile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::seen::Keys;
use crate::ir::bits::Bits;
use crate::ir::compile::compile;
use crate::ir::link::Workshop;
use crate::ir::names::Names;
use crate::ir::plan::Plan;
use crate::ir::rule::Opening;
use crate::ir::settings::Settings;
use crate::ir::trie::Trie;
use crate::ir::update::{Draft, Item, action_rule, remove, update_actions, update_targets};
use crate::ir::{Library, Options, RuleSet, prefilter, shelf};
use crate::parse;
use crate::parse::ast::{Action, Directive, DirectiveKind, Rule, Spanned, Variable, Which};
use crate::problem::{Place, Problem, Severity};
use crate::source::Source;

type Loaded = Result<(Arc<RuleSet>, Vec<Problem>), Vec<Problem>>;

/// See [`RuleSet::load`].
pub(crate) fn load(source: &dyn Source, files: &[String], options: &Options, library: &mut Library) -> Loaded {
    let parse::Parsed { directives, problems } = parse::parse(source, files);
    let mut gathering = Gathering { problems, ..Gathering::default() };
    for directive in directives {
        gathering.take(directive);
    }
    let mut shop = Workshop {
        source,
        library,
        names: Names::default(),
        trie: Trie::default(),
        used: Bits::none(Variable::ALL.len()),
        used_late: Bits::none(Variable::ALL.len()),
        late: false,
        problems: gathering.problems,
        opened: None,
    };
    let mut compiled = compile(&gathering.items, &mut shop, options.profile);
    if !options.store {
        shop.warn_of_no_store();
    }
    let Workshop { names, trie, used, used_late, mut problems, .. } = shop;
    problems.sort_by(|one, other| one.place.cmp(&other.place));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    prefilter::add_number_searches(&mut compiled.phases, &trie);
    let [one, two, three, four, five] = &compiled.phases;
    let plans = [one, two, three, four, five].map(|rules| Plan::new(rules));
    let rules = RuleSet {
        name_filter: prefilter::of_names(&compiled.phases, compiled.infos.len()),
        text_filter: prefilter::of_texts(&compiled.phases, compiled.infos.len()),
        plans,
        overture: compiled.phases.first().and_then(|rules| Opening::first(rules)),
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        keys: Keys::default(),
        phases: compiled.phases,
        names,
        trie,
        settings: gathering.settings,
        options: options.clone(),
        used,
        keeps_body: Variable::ALL.iter().any(|it| used_late.contains(*it as usize) && shelf::is_of_body(*it)),
        infos: compiled.infos,
    };
    Ok((Arc::new(rules), problems))
}

/// What the directives amount to, up to here.
#[derive(Default)]
struct Gathering {
    items: Vec<Item>,
    settings: Settings,
    /// `SecDefaultAction` of each phase.
    defaults: [Option<Arc<[Spanned<Action>]>>; 5],
    problems: Vec<Problem>,
}

impl Gathering {
    fn take(&mut self, directive: Directive) {
        let Directive { place, kind } = directive;
        match kind {
            DirectiveKind::Rule(rule) => self.rule(rule),
            DirectiveKind::Action(actions) => self.rule(action_rule(&place, actions)),
            DirectiveKind::Marker(name) => self.items.push(Item::Marker(name)),
            DirectiveKind::DefaultAction(actions) => self.default_action(actions),
            DirectiveKind::RemoveById(ranges) => self.remove(&Which::Ids(ranges), &place),
            DirectiveKind::RemoveByMsg(text) => self.remove(&Which::Msg(text), &place),
            DirectiveKind::RemoveByTag(text) => self.remove(&Which::Tag(text), &place),
            DirectiveKind::UpdateTarget { which, targets, replaced } => {
                let change = (&*targets, replaced.as_deref());
                update_targets(&mut self.items, &which, change, (&place, &mut self.problems));
            }
            DirectiveKind::UpdateAction { id, link, actions } => {
                update_actions(&mut self.items, (id, link), &actions, (&place, &mut self.problems));
            }
            DirectiveKind::Setting(setting) => self.settings.take(&setting),
        }
    }

    fn rule(&mut self, rule: Rule) {
        let id = rule.actions.iter().find_map(|action| match action.value {
            Action::Id(id) => Some(id),
            _ => None,
        });
        // The parser has reported a missing or a double id.
        let Some(id) = id else { return };
        let phase = phase_of(&rule.actions).unwrap_or(2).clamp(1, 5);
        let defaults = self.defaults.get(usize::from(phase) - 1).cloned().flatten().unwrap_or_default();
        self.items.push(Item::Rule(Box::new(Draft { rule, defaults, id, phase })));
    }

    fn default_action(&mut self, actions: Vec<Spanned<Action>>) {
        let phase = phase_of(&actions).unwrap_or(2).clamp(1, 5);
        if let Some(slot) = self.defaults.get_mut(usize::from(phase) - 1) {
            *slot = Some(actions.into());
        }
    }

    fn remove(&mut self, which: &Which, place: &Place) {
        remove(&mut self.items, which, place, &mut self.problems);
    }
}

fn phase_of(actions: &[Spanned<Action>]) -> Option<u8> {
    actions.iter().rev().find_map(|action| match action.value {
        Action::Phase(phase) => Some(phase),
        _ => None,
    })
}
