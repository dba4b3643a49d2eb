//! Policies sorted by the questions that they can apply to, when they are loaded, so that a decision reads few of them.
//!
//! A question is who, what and to what. For each tenant and each principal that some policy names there is a table with a
//! partition, a set of policies, for each action and resource; equal sets are kept once.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::PolicySet;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;

use super::reads::Reads;
use super::rule::{Resource, Rule};
use crate::authz::Action;
use crate::authz::action::Foreseen;
use crate::routes::Route;

/// A partition with more policies is worth a word: some 20 µs.
const MANY: usize = 32;
/// No partition has more.
const MOST: usize = 256;
const ACTIONS: usize = Action::ALL.len();

/// Place of a partition; 0 is the empty one.
pub(super) type Place = u32;

/// What a question is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum About {
    Model(ModelId),
    Route(usize),
}

/// Policies that one question reads.
pub(super) struct Partition {
    pub(super) set: PolicySet,
    pub(super) reads: Reads,
    pub(super) size: usize,
}

/// The partitions of one tenant, or of one principal.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By action, then by model and route.
    cells: Vec<Place>,
    /// By action, with one more for those that the head leaves open, then by route.
    heads: Vec<Head>,
    /// By action, then by route: what forbids a route and not the models there.
    bound: Vec<Place>,
    models: usize,
    routes: usize,
}

/// What can be said of a call before its body is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// What may forbid it already.
    pub(super) forbids: Place,
    /// Whether anything might permit it.
    pub(super) could: bool,
}

impl Table {
    pub(super) fn cell(&self, action: Action, about: About) -> Place {
        let place = match about {
            About::Model(model) => model.index(),
            About::Route(route) => self.models + route,
        };
        self.cells.get(action as usize * (self.models + self.routes) + place).copied().unwrap_or(0)
    }

    pub(super) fn head(&self, foreseen: Foreseen, route: usize) -> Head {
        let action = match foreseen {
            Foreseen::Either => ACTIONS,
            Foreseen::Is(action) => action as usize,
        };
        self.heads.get(action * self.routes + route).copied().unwrap_or_default()
    }

    pub(super) fn bound(&self, action: Action, route: usize) -> Place {
        self.bound.get(action as usize * self.routes + route).copied().unwrap_or(0)
    }
}

/// Builds tables.
pub(super) struct Builder<'a> {
    rules: &'a [Rule],
    routes: &'a [Arc<Route>],
    models: usize,
    /// What each rule can apply to.
    reach: Vec<Reach>,
    interned: HashMap<Vec<u32>, Place>,
    partitions: Vec<Partition>,
    /// The largest partition, and the question that it is for.
    largest: (usize, String),
    many: usize,
}

/// A [`Resource`] with names looked up.
enum Reach {
    Everything,
    Models,
    Routes,
    SomeModels(Vec<ModelId>),
    TheRoute(usize),
}

impl<'a> Builder<'a> {
    /// `find` gives the models of a group or of a name.
    pub(super) fn new(
        rules: &'a [Rule],
        routes: &'a [Arc<Route>],
        models: usize,
        find: impl Fn(&Resource) -> Vec<ModelId>,
    ) -> Self {
        let route = |name: &str| routes.iter().position(|route| *route.name == *name).unwrap_or(usize::MAX);
        let reach = rules.iter().map(|rule| match &rule.resource {
            Resource::Anything => Reach::Everything,
            Resource::Models => Reach::Models,
            Resource::Routes => Reach::Routes,
            Resource::Route(name) => Reach::TheRoute(route(name)),
            named => Reach::SomeModels(find(named)),
        });
        let reach = reach.collect();
        let empty = Partition { set: PolicySet::new(), reads: Reads::default(), size: 0 };
        let (interned, partitions) = (HashMap::from([(Vec::new(), 0)]), vec![empty]);
        Self { rules, routes, models, reach, interned, partitions, largest: (0, String::new()), many: 0 }
    }

    /// The table of those to whom `rules` can apply.
    pub(super) fn table(&mut self, whose: &str, rules: &[u32]) -> Table {
        let (models, routes) = (self.models, self.routes.len());
        let mut table = Table { models, routes, ..Table::default() };
        for action in Action::ALL {
            let mine: Vec<u32> = rules.iter().copied().filter(|rule| self.rule(*rule).is_about(action)).collect();
            let all = (0..).map(ModelId).take(models).map(About::Model).chain((0..routes).map(About::Route));
            for about in all {
                let here = self.covering(&mine, about);
                table.cells.push(self.intern(here, (whose, action, about)));
            }
            for route in 0..routes {
                let mut bound = self.covering(&mine, About::Route(route));
                bound.retain(|rule| self.rule(*rule).forbids() && self.rule(*rule).minds_routes());
                table.bound.push(self.intern(bound, (whose, action, About::Route(route))));
            }
        }
        for foreseen in Action::ALL.map(Foreseen::Is).into_iter().chain([Foreseen::Either]) {
            for route in 0..routes {
                let head = self.head(rules, foreseen, (whose, route));
                table.heads.push(head);
            }
        }
        table
    }

    /// Every partition. Reports those that are too large to decide quickly.
    pub(super) fn finish(self, check: &mut Checker) -> Vec<Partition> {
        let (size, whose) = self.largest;
        let hint = "narrow their scopes: `principal in Tenant::…`, `action == …`, `resource in ModelGroup::…`";
        let more =
            if self.many > 1 { format!(", the most of {} questions with many", self.many) } else { String::new() };
        if size > MOST {
            check.problem_hint("policies", format!("{size} policies decide {whose}{more}; at most {MOST} may"), hint);
        } else if size > MANY {
            check.within("policies", |check| check.warn_here(format!("{size} policies decide {whose}{more}"), hint));
        }
        self.partitions
    }

    fn head(&mut self, rules: &[u32], foreseen: Foreseen, (whose, route): (&str, usize)) -> Head {
        let actions: &[Action] = match &foreseen {
            Foreseen::Either => &[Action::Infer, Action::Stream],
            Foreseen::Is(action) => std::slice::from_ref(action),
        };
        let mut forbids = self.covering(rules, About::Route(route));
        forbids.retain(|rule| {
            let rule = self.rule(*rule);
            let early = !rule.reads.any(Reads::LATE) && (actions.len() == 1 || !rule.reads.any(Reads::ACTION));
            rule.forbids() && early && actions.iter().all(|action| rule.is_about(*action))
        });
        let served = self.routes.get(route).map(|route| route.models.as_slice()).unwrap_or_default();
        let could = rules.iter().any(|place| {
            let rule = self.rule(*place);
            !rule.forbids()
                && actions.iter().any(|action| rule.is_about(*action))
                && served.iter().any(|model| self.covers(*place, About::Model(*model)))
        });
        let first = actions.first().copied().unwrap_or(Action::Infer);
        Head { forbids: self.intern(forbids, (whose, first, About::Route(route))), could }
    }

    fn rule(&self, place: u32) -> &Rule {
        &self.rules[place as usize]
    }

    fn covering(&self, rules: &[u32], about: About) -> Vec<u32> {
        rules.iter().copied().filter(|rule| self.covers(*rule, about)).collect()
    }

    fn covers(&self, rule: u32, about: About) -> bool {
        match (&self.reach[rule as usize], about) {
            (Reach::Everything, _) | (Reach::Models, About::Model(_)) | (Reach::Routes, About::Route(_)) => true,
            (Reach::SomeModels(models), About::Model(model)) => models.contains(&model),
            (Reach::TheRoute(route), About::Route(about)) => *route == about,
            _ => false,
        }
    }

    fn intern(&mut self, rules: Vec<u32>, (whose, action, about): (&str, Action, About)) -> Place {
        if let Some(place) = self.interned.get(&rules) {
            return *place;
        }
        let size = rules.len();
        self.many += usize::from(size > MANY);
        if size > self.largest.0 {
            let route = |route: usize| self.routes.get(route).map_or("", |route| &*route.name);
            let about = match about {
                About::Model(_) => "a model".to_owned(),
                About::Route(place) => format!("route `{}`", route(place)),
            };
            self.largest = (size, format!("`{}` of {about} for {whose}", action.name()));
        }
        let reads = rules.iter().map(|rule| self.rule(*rule).reads).fold(Reads::default(), Reads::and);
        let policies = rules.iter().map(|rule| self.rule(*rule).policy.clone());
        // Ids are places: they differ.
        let set = PolicySet::from_policies(policies).unwrap_or_default();
        let place = u32::try_from(self.partitions.len()).unwrap_or(0);
        self.partitions.push(Partition { set, reads, size });
        self.interned.insert(rules, place);
        place
    }
}
