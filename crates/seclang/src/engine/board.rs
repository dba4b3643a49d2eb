//! For one phase: which rules concern which value. Filled before the rules run; a rule that concerns no value is never
//! visited.

use crate::bodies::Kind;
use crate::engine::derived::Derived;
use crate::engine::inputs::{Form, Id, Inputs, Value};
use crate::engine::names::Walkers;
use crate::engine::proofs::Proofs;
use crate::engine::runs::{self, Run};
use crate::engine::seen::{Place, Seen};
use crate::ir::RuleSet;
use crate::ir::bits::{Bits, next_in};
use crate::ir::plan::{Plan, Targets};
use crate::ir::proof::Proof;
use crate::operators::Caches;

/// Rules of a phase × values of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Board {
    words: usize,
    rows: Vec<u64>,
    /// The place of each value's proof.
    places: Vec<usize>,
    /// Where each value is remembered.
    kept: Vec<Option<Place>>,
    alive: Vec<u64>,
}

/// What a thread has for filling it.
pub(crate) struct Tools<'a> {
    pub(crate) seen: &'a mut Seen,
    pub(crate) proofs: &'a mut Proofs,
    pub(crate) walkers: &'a mut Walkers,
    pub(crate) caches: &'a mut Caches,
}

/// Values of this length are searched for literals.
const LONG: usize = 128;
/// As many rules must be told apart for a search to be worth its time.
const WORTH: usize = 4;
/// The place of a value that has no proof.
const NO_PLACE: usize = usize::MAX;

impl Board {
    /// Fills it for a phase.
    pub(crate) fn fill(
        &mut self,
        (rules, phase): (&RuleSet, usize),
        inputs: &Inputs,
        derived: &mut Derived,
        mut tools: Tools<'_>,
    ) {
        self.rows.clear();
        self.places.clear();
        self.kept.clear();
        self.alive.clear();
        let Some(plan) = rules.plans.get(phase) else { return };
        self.words = plan.always.words().len();
        self.alive.extend_from_slice(plan.always.words());
        tools.proofs.begin(rules);
        let sieve = Sieve { rules, phase, plan, inputs };
        for (id, value) in inputs.numbered() {
            let start = self.rows.len();
            self.rows.resize(start + self.words, 0);
            let (Some(targets), Some(row)) = (plan.targets(value.shelf), self.rows.get_mut(start..)) else {
                self.places.push(NO_PLACE);
                self.kept.push(None);
                continue;
            };
            let digest = derived.digest(rules, inputs, (id, value));
            if let Some((kept, known)) = digest.and_then(|digest| tools.seen.recall(digest, phase)) {
                row.copy_from_slice(known);
                self.places.push(NO_PLACE);
                self.kept.push(Some(kept));
            } else {
                self.places.push(sieve.fill(row, (targets, id, value), derived, &mut tools));
                self.kept.push(digest.and_then(|digest| tools.seen.keep(digest, phase, row)));
            }
            for (alive, word) in self.alive.iter_mut().zip(row) {
                *alive |= *word;
            }
        }
    }

    /// Whether the rule could match the value.
    pub(crate) fn admits(&self, id: Id, rule: usize) -> bool {
        let word = self.rows.get(id.index() * self.words + rule / 64);
        word.is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    /// The place of a value's proof.
    pub(crate) fn place(&self, id: Id) -> Option<usize> {
        self.places.get(id.index()).copied().filter(|place| *place != NO_PLACE)
    }

    /// Where a value is remembered.
    pub(crate) fn kept(&self, id: Id) -> Option<Place> {
        self.kept.get(id.index()).copied().flatten()
    }

    /// Rules that are to be visited.
    pub(crate) fn alive(&self) -> &[u64] {
        &self.alive
    }
}

/// Finds the rules that concern a value which did not come before.
#[derive(Clone, Copy)]
struct Sieve<'a> {
    rules: &'a RuleSet,
    phase: usize,
    plan: &'a Plan,
    inputs: &'a Inputs,
}

impl Sieve<'_> {
    /// Fills the row of a value and tells the place of its proof.
    fn fill(
        &self,
        row: &mut [u64],
        (targets, id, value): (&Targets, Id, &Value),
        derived: &mut Derived,
        tools: &mut Tools<'_>,
    ) -> usize {
        let Self { rules, phase, inputs, .. } = *self;
        let Form::Run { names, run, .. } = value.form else {
            let place = tools.proofs.place(rules, derived.mask(inputs, id));
            self.concern(row, targets, (value, tools.proofs.get(place)));
            if value.text.len() >= LONG && value.form == Form::Plain {
                search(row, (rules, phase), inputs.bytes(value.text), tools.proofs.get(place));
            }
            return place;
        };
        let mask = runs::mask(inputs, value, (names, run));
        // Which digits there are in an array is a matter of chance, and not worth a proof each time.
        let place = tools.proofs.place(rules, if names { mask } else { runs::round_up(mask) });
        self.concern(row, targets, (value, tools.proofs.get(place)));
        let Some(summary) = inputs.run(run) else { return place };
        let (prefix, text) = (inputs.bytes(value.name), inputs.bytes(value.text));
        let run = Run { rules, phase, prefix, text, summary, mask };
        if names {
            run.narrow_names(row, (tools.walkers, tools.caches));
        } else {
            run.narrow_elements(row);
        }
        place
    }

    /// The rules that look at a value and could match its bytes.
    fn concern(&self, row: &mut [u64], targets: &Targets, (value, proof): (&Value, Option<&Proof>)) {
        let Some(can) = proof.and_then(|proof| proof.rules.get(self.phase)) else { return };
        row.copy_from_slice(targets.any.words());
        let name = self.inputs.bytes(value.name);
        for (wanted, rules) in &targets.named {
            let is_named = match value.form {
                Form::Run { .. } => runs::could_be_named(self.inputs, value, wanted),
                Form::Plain | Form::Uncounted => wanted.eq_ignore_ascii_case(name),
            };
            if is_named {
                row.iter_mut().zip(rules.words()).for_each(|(word, more)| *word |= more);
            }
        }
        row.iter_mut().zip(can.words()).for_each(|(word, can)| *word &= can);
        if value.kind == Kind::Prompt {
            row.iter_mut().zip(self.plan.excusing.words()).for_each(|(word, excusing)| *word &= !excusing);
        }
    }
}

/// Takes out the rules whose literals are not in a long value.
fn search(row: &mut [u64], (rules, phase): (&RuleSet, usize), text: &[u8], proof: Option<&Proof>) {
    let (Some(list), Some(proof)) = (rules.phases.get(phase), proof) else { return };
    // The search has no regard for case, so it holds behind a change of case as well.
    let told = |at: usize| {
        let rule = list.get(at)?;
        let nodes = rule.links.first()?.nodes();
        let folds = nodes.iter().all(|node| proof.folding.contains(node.index()));
        (folds && rules.text_filter.knows(rule.ordinal)).then_some(rule.ordinal)
    };
    let told: Vec<(usize, usize)> = std::iter::successors(next_in(row, 0), |at| next_in(row, at + 1))
        .filter_map(|at| Some((at, told(at)?)))
        .collect();
    if told.len() < WORTH {
        return;
    }
    let mut found = Bits::none(rules.count());
    rules.text_filter.scan(text, &mut found);
    for (at, ordinal) in told {
        if rules.text_filter.excludes(ordinal, &found)
            && let Some(word) = row.get_mut(at / 64)
        {
            *word &= !(1 << (at % 64));
        }
    }
}
