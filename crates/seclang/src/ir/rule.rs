//! A compiled rule: what it looks at, how, and what it does.

use std::sync::Arc;

use regex_automata::meta::Regex;

use crate::ir::bits::Bits;
use crate::ir::names::Slot;
use crate::ir::number_search::NumberSearch;
use crate::ir::shelf::Shelf;
use crate::ir::text::Text;
use crate::ir::trie::Node;
use crate::operators::Operator;
use crate::parse::ast::{AllowScope, EngineMode, Variable};

/// A rule with its chain.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u64,
    /// Its place among all rules, in file order.
    pub(crate) ordinal: usize,
    pub(crate) severity: Option<u8>,
    pub(crate) msg: Text,
    pub(crate) logdata: Text,
    pub(crate) log: bool,
    pub(crate) disruptive: Disruptive,
    pub(crate) skip: Skip,
    /// What must match, in order; the first is the head's.
    pub(crate) links: Box<[Link]>,
    /// Prompt values are not its business.
    pub(crate) excuses_prompts: bool,
    /// Finds the literals without which the head matches no number, where there are some that a number could hold.
    pub(crate) number_search: Option<NumberSearch>,
    /// A link or a text of it reads MATCHED_VARS.
    pub(crate) keeps_matched: bool,
    pub(crate) opening: Opening,
}

/// What a rule is as one of those with which a rule set begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opening {
    /// It depends on the exchange.
    No,
    /// Its head depends on nothing but TX variables: unless that matches, the rule is the same as none.
    Unless,
    /// It depends on nothing but TX variables, and changes nothing else.
    Whole,
}

impl Opening {
    /// The first rule that is not [`Opening::No`], where none before it changes a TX variable, or what later rules do.
    pub(crate) fn first(rules: &[Rule]) -> Option<usize> {
        let first = rules.iter().position(|rule| rule.opening != Self::No)?;
        let before = rules.iter().take(first).flat_map(|rule| &rule.links);
        let is_silent = |link: &Link| {
            let tells = |act: &Act| match act {
                Act::SetVar { collection, .. } => *collection == Variable::Tx,
                Act::RemoveRules(_) | Act::RemoveTargets(..) | Act::RuleEngine(_) => true,
                _ => false,
            };
            !link.capture && !link.acts.iter().any(tells)
        };
        before.into_iter().all(is_silent).then_some(first)
    }

    pub(crate) fn of(rule: &Rule) -> Self {
        let links_are_own = rule.links.iter().all(Link::is_own);
        let is_quiet = !rule.log || rule.msg.is_own() && rule.logdata.is_own();
        if links_are_own && is_quiet && matches!(rule.disruptive, Disruptive::Pass) {
            return Self::Whole;
        }
        let head = rule.links.first().filter(|head| head.acts.is_empty() && !head.capture && !head.unconditional);
        if head.is_some_and(Link::is_own) { Self::Unless } else { Self::No }
    }
}

/// What a matching rule does to the exchange.
#[derive(Clone, Debug)]
pub(crate) enum Disruptive {
    Allow(AllowScope),
    Deny { status: u16 },
    Drop,
    Pass,
    Redirect { to: Text },
}

/// Where the phase goes on after a match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Skip {
    /// With the next rule.
    No,
    /// With the rule at this place of the phase.
    To(usize),
}

/// One condition and what a match of it does.
#[derive(Debug)]
pub(crate) struct Link {
    /// What it looks at; nothing for a `SecAction`, which always matches, once.
    pub(crate) looks: Box<[Look]>,
    pub(crate) unconditional: bool,
    pub(crate) excepts: Box<[Except]>,
    pub(crate) operator: Operator,
    pub(crate) negated: bool,
    pub(crate) parameter: Text,
    pub(crate) node: Node,
    /// The nodes of `multiMatch`, from the raw value down; empty without it.
    pub(crate) stations: Box<[Node]>,
    pub(crate) capture: bool,
    pub(crate) acts: Box<[Act]>,
    /// The shortest value, after the transformations, that it can match. 0 for a negated one.
    pub(crate) shortest: usize,
}

impl Link {
    /// Whether it depends on nothing but TX variables, and changes nothing else.
    fn is_own(&self) -> bool {
        let looks = self.looks.iter().all(|look| {
            let is_fixed = matches!(look.select, Select::Name(_) | Select::Slot(_));
            look.variable == Variable::Tx && is_fixed
        });
        let acts = self.acts.iter().all(|act| match act {
            Act::SetVar { collection: Variable::Tx, name, change } => {
                let name = match name {
                    VarName::Computed(text) => text.is_own(),
                    VarName::Slot(_) => true,
                };
                name && match change {
                    VarChange::Add(text) | VarChange::Assign(text) | VarChange::Subtract(text) => text.is_own(),
                    VarChange::Unset => true,
                }
            }
            _ => false,
        });
        looks && acts && self.parameter.is_own()
    }

    /// The nodes at which a value is tested.
    pub(crate) fn nodes(&self) -> &[Node] {
        if self.stations.is_empty() { std::slice::from_ref(&self.node) } else { &self.stations }
    }
}

/// One variable of a link.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) variable: Variable,
    pub(crate) shelves: &'static [Shelf],
    /// It is read from the transaction's state.
    pub(crate) state: bool,
    pub(crate) select: Select,
    pub(crate) count: bool,
    /// For TX by pattern or as a whole: the slots whose names are taken.
    pub(crate) slots: Box<[Slot]>,
}

/// A variable that is not looked at.
#[derive(Clone, Debug)]
pub(crate) struct Except {
    pub(crate) shelves: &'static [Shelf],
    pub(crate) select: Select,
}

/// Which values of a variable.
#[derive(Clone, Debug)]
pub(crate) enum Select {
    All,
    /// A name with macros.
    Computed(Text),
    /// A name, in lower case.
    Name(Box<[u8]>),
    Pattern(Regex),
    /// A TX variable whose name the rules know.
    Slot(Slot),
}

impl Select {
    /// Whether it takes a value of this name. Names with macros are expanded by the caller.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Computed(_) | Self::Slot(_) => false,
            Self::Name(wanted) => wanted.eq_ignore_ascii_case(name),
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

/// A thing done on each match.
#[derive(Debug)]
pub(crate) enum Act {
    ExpireVar { collection: Variable, name: Text, seconds: Text },
    ForceRequestBody(bool),
    InitCol { collection: Variable, key: Text },
    Processor(Box<str>),
    RemoveRules(Arc<Bits>),
    RemoveTargets(Arc<Bits>, Arc<[Except]>),
    ReplyBodyAccess(bool),
    RequestBodyAccess(bool),
    RuleEngine(EngineMode),
    SetEnv { name: Text, value: Text },
    SetSid(Text),
    SetUid(Text),
    SetVar { collection: Variable, name: VarName, change: VarChange },
}

/// The name of a variable that is written.
#[derive(Debug)]
pub(crate) enum VarName {
    Computed(Text),
    Slot(Slot),
}

/// How it changes.
#[derive(Debug)]
pub(crate) enum VarChange {
    Add(Text),
    Assign(Text),
    Subtract(Text),
    Unset,
}
