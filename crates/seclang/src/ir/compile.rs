//! From drafts to rules: positions, markers and everything that needs to know all rules.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ir::actions::{Ending, Pending, Sorted};
use crate::ir::link::Workshop;
use crate::ir::rule::{Act, Disruptive, Link, Opening, Rule, Skip};
use crate::ir::text::Text;
use crate::ir::update::{Draft, Item};
use crate::ir::{Compiled, Profile, RuleInfo};
use crate::parse::ast::{Action, Variable};
use crate::problem::Place;

/// Tags of rules that take a developer's question for an attack.
const PROMPT_TAGS: [&str; 9] = [
    "attack-injection-generic",
    "attack-injection-java",
    "attack-injection-php",
    "attack-lfi",
    "attack-rce",
    "attack-rfi",
    "attack-sqli",
    "attack-ssrf",
    "attack-xss",
];

/// Compiles the rules that are left.
pub(crate) fn compile(items: &[Item], shop: &mut Workshop<'_>, profile: Profile) -> Compiled {
    let map = Map::new(items);
    let mut compiled = Compiled::default();
    let mut ordinal = 0;
    for item in items {
        let Item::Rule(draft) = item else { continue };
        let rule = one(draft, ordinal, (&map, shop), profile);
        compiled.infos.push(info(draft, &rule));
        if let Some(phase) = compiled.phases.get_mut(usize::from(draft.phase) - 1) {
            phase.push(rule);
        }
        ordinal += 1;
    }
    for rule in compiled.phases.iter_mut().flatten() {
        for look in rule.links.iter_mut().flat_map(|link| &mut link.looks) {
            if look.variable == Variable::Tx {
                look.slots =
                    shop.names.spellings().filter(|(_, name)| look.select.takes(name)).map(|(slot, _)| slot).collect();
            }
        }
    }
    compiled
}

fn one(draft: &Draft, ordinal: usize, (map, shop): (&Map<'_>, &mut Workshop<'_>), profile: Profile) -> Rule {
    shop.late = draft.phase > 2;
    let mut ending = Ending::default();
    let mut links: Vec<Link> = Vec::with_capacity(1 + draft.rule.links.len());
    for (at, rule) in std::iter::once(&draft.rule).chain(&draft.rule.links).enumerate() {
        let sorted = Sorted::new(rule, &draft.defaults, at > 0, shop);
        ending.merge(&sorted, draft, at == 0, shop);
        let acts = sorted.acts.iter().filter_map(|act| act.resolve(map, shop)).collect();
        links.push(shop.link(rule, &sorted, acts));
    }
    let keeps_matched = links.iter().skip(1).any(|link| link.looks.iter().any(|look| reads_matched(look.variable)))
        || [&ending.msg, &ending.logdata].iter().any(|text| text_reads_matched(text))
        || links.iter().any(acts_read_matched);
    let mut rule = Rule {
        id: draft.id,
        ordinal,
        severity: ending.severity,
        msg: ending.msg,
        logdata: ending.logdata,
        log: ending.log.unwrap_or(true),
        disruptive: ending.disruptive.unwrap_or(Disruptive::Pass),
        skip: map.skip(&ending.skip, draft, ordinal, shop),
        links: links.into_boxed_slice(),
        excuses_prompts: profile == Profile::Ml && tags(draft).any(|tag| PROMPT_TAGS.contains(&tag)),
        number_search: None,
        keeps_matched,
        opening: Opening::No,
    };
    rule.opening = Opening::of(&rule);
    rule
}

const fn reads_matched(variable: Variable) -> bool {
    matches!(variable, Variable::MatchedVars | Variable::MatchedVarsNames)
}

fn text_reads_matched(text: &Text) -> bool {
    text.names(Variable::MatchedVars) || text.names(Variable::MatchedVarsNames)
}

fn acts_read_matched(link: &Link) -> bool {
    use crate::ir::rule::VarChange;
    link.acts.iter().any(|act| match act {
        Act::SetVar { change: VarChange::Add(text) | VarChange::Assign(text) | VarChange::Subtract(text), .. } => {
            text_reads_matched(text)
        }
        _ => false,
    })
}

fn tags(draft: &Draft) -> impl Iterator<Item = &str> {
    draft.rule.actions.iter().filter_map(|action| match &action.value {
        Action::Tag(tag) => Some(tag.as_str()),
        _ => None,
    })
}

fn info(draft: &Draft, rule: &Rule) -> RuleInfo {
    let msg = draft.rule.actions.iter().rev().find_map(|action| match &action.value {
        Action::Msg(msg) => Some(msg.clone()),
        _ => None,
    });
    let mut text = draft.rule.text.clone();
    for link in &draft.rule.links {
        text.push('\n');
        text.push_str(&link.text);
    }
    RuleInfo {
        id: draft.id,
        phase: draft.phase,
        msg: msg.unwrap_or_default(),
        tags: tags(draft).map(str::to_owned).collect(),
        severity: rule.severity,
        place: draft.rule.place.clone(),
        text,
        excuses_prompts: rule.excuses_prompts,
    }
}

/// Where rules and markers stand, per phase, and what rules are called.
pub(crate) struct Map<'a> {
    drafts: Vec<&'a Draft>,
    /// Rules of each phase before the marker, in file order of the markers.
    markers: HashMap<&'a str, Vec<(usize, [usize; 5])>>,
    /// Phase positions behind each rule, by id.
    ids: HashMap<u64, (usize, [usize; 5])>,
}

impl<'a> Map<'a> {
    fn new(items: &'a [Item]) -> Self {
        let mut map = Self { drafts: Vec::new(), markers: HashMap::new(), ids: HashMap::new() };
        let mut counts = [0; 5];
        for item in items {
            match item {
                Item::Marker(name) => {
                    map.markers.entry(name).or_default().push((map.drafts.len(), counts));
                }
                Item::Rule(draft) => {
                    if let Some(count) = counts.get_mut(usize::from(draft.phase) - 1) {
                        *count += 1;
                    }
                    map.ids.insert(draft.id, (map.drafts.len(), counts));
                    map.drafts.push(draft);
                }
            }
        }
        map
    }

    pub(crate) fn drafts(&self) -> &[&'a Draft] {
        &self.drafts
    }

    /// Where the phase goes on.
    fn skip(&self, skip: &Pending, draft: &Draft, ordinal: usize, shop: &mut Workshop<'_>) -> Skip {
        let phase = usize::from(draft.phase) - 1;
        let (name, place): (&str, &Place) = match skip {
            Pending::No => return Skip::No,
            Pending::Rules(count) => {
                let here = self.ids.get(&draft.id).and_then(|(_, counts)| counts.get(phase)).copied();
                return here.map_or(Skip::No, |here| Skip::To(here.saturating_add(*count)));
            }
            Pending::After(name, place) => (name, place),
        };
        // A marker stands before the rule of the same ordinal: it comes later when it is behind this rule.
        let marker = self.markers.get(name).into_iter().flatten().find(|(before, _)| *before > ordinal);
        let by_id = || name.parse().ok().and_then(|id: u64| self.ids.get(&id)).filter(|(at, _)| *at > ordinal);
        match marker.or_else(by_id) {
            Some((_, counts)) => counts.get(phase).map_or(Skip::No, |to| Skip::To(*to)),
            None => {
                shop.error(place, format!("no marker `{name}` comes after this rule"))
                    .hint("`skipAfter` jumps forward, to a `SecMarker` or a rule id");
                Skip::No
            }
        }
    }
}

/// A set of rules that a `ctl` names.
pub(crate) fn rules_where(map: &Map<'_>, wanted: impl Fn(&Draft) -> bool) -> Arc<crate::ir::bits::Bits> {
    let mut bits = crate::ir::bits::Bits::none(map.drafts().len());
    for (ordinal, draft) in map.drafts().iter().enumerate() {
        if wanted(draft) {
            bits.insert(ordinal);
        }
    }
    Arc::new(bits)
}
