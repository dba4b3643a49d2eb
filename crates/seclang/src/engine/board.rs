//! For one phase: which rules concern which value. Filled before the rules run; a rule that concerns no value is never
//! visited.

use crate::bodies::Kind;
use crate::engine::derived::Derived;
use crate::engine::inputs::{Form, Id, Inputs, Value};
use crate::engine::names::Walkers;
use crate::engine::proofs::Proofs;
use crate::engine::runs::{self, Run};
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
    alive: Vec<u64>,
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
        (proofs, walkers, caches): (&mut Proofs, &mut Walkers, &mut Caches),
    ) {
        self.rows.clear();
        self.places.clear();
        self.alive.clear();
        let Some(plan) = rules.plans.get(phase) else { return };
        self.words = plan.always.words().len();
        self.alive.extend_from_slice(plan.always.words());
        proofs.begin(rules);
        for (id, value) in inputs.numbered() {
            let start = self.rows.len();
            self.rows.resize(start + self.words, 0);
            let Some(targets) = plan.targets(value.shelf) else {
                self.places.push(NO_PLACE);
                continue;
            };
            let mask = match value.form {
                Form::Run { names, run, .. } => runs::mask(inputs, value, (names, run)),
                Form::Plain | Form::Uncounted => derived.mask(inputs, id),
            };
            let place = proofs.place(rules, mask);
            self.places.push(place);
            let Some(proof) = proofs.get(place).and_then(|proof| proof.rules.get(phase)) else { continue };
            let Some(row) = self.rows.get_mut(start..) else { continue };
            concern(row, (targets, plan), proof.words(), (inputs, value));
            if let Form::Run { names, run, .. } = value.form {
                let Some(summary) = inputs.run(run) else { continue };
                let run = Run {
                    rules,
                    phase,
                    prefix: inputs.bytes(value.name),
                    text: inputs.bytes(value.text),
                    summary,
                    mask,
                };
                if names { run.narrow_names(row, (walkers, caches)) } else { run.narrow_elements(row) }
            }
            if value.text.len() >= LONG && matches!(value.form, Form::Plain) {
                search(row, (rules, phase), inputs.bytes(value.text), proofs.get(place));
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

    /// Rules that are to be visited.
    pub(crate) fn alive(&self) -> &[u64] {
        &self.alive
    }
}

fn concern(row: &mut [u64], (targets, plan): (&Targets, &Plan), can: &[u64], (inputs, value): (&Inputs, &Value)) {
    row.copy_from_slice(targets.any.words());
    match value.form {
        // Any element may have the name.
        Form::Run { .. } => targets.named.iter().for_each(|(_, rules)| add(row, rules.words())),
        Form::Plain | Form::Uncounted => {
            let name = inputs.bytes(value.name);
            for (wanted, rules) in &targets.named {
                if wanted.eq_ignore_ascii_case(name) {
                    add(row, rules.words());
                }
            }
        }
    }
    for (word, can) in row.iter_mut().zip(can) {
        *word &= can;
    }
    if value.kind == Kind::Prompt {
        for (word, excusing) in row.iter_mut().zip(plan.excusing.words()) {
            *word &= !excusing;
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

fn add(row: &mut [u64], more: &[u64]) {
    for (word, more) in row.iter_mut().zip(more) {
        *word |= more;
    }
}
