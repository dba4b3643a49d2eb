//! Walks the values that a link looks at: of the request and its reply, of arrays of numbers, of the changing state.

use crate::bodies::{self, Kind};
use crate::engine::derived;
use crate::engine::eval::{Bytes, Met, Subject, Turn};
use crate::engine::inputs::{Form, Id, Value, write_number};
use crate::engine::{Scratch, runs};
use crate::ir::names::Slot;
use crate::ir::proof;
use crate::ir::rule::{Link, Look, Rule, Select};
use crate::ir::trie::Node;
use crate::parse::ast::Variable;

/// Values below this length are tried by the links behind a head whatever they are made of.
const SHORT: usize = 256;

impl Turn<'_> {
    /// Values of the request or the reply.
    pub(super) fn shelf_look(&mut self, (rule, place): (&Rule, Option<usize>), link: &Link, look: &Look) -> bool {
        let inputs = self.inputs;
        let computed = self.computed_name(rule, look);
        let mut matched = false;
        for shelf in look.shelves {
            for (id, value) in inputs.shelf(*shelf) {
                let concerned = match place {
                    Some(place) => self.scratch.board.admits(id, place),
                    None => !self.fast || self.could(link, (id, value)),
                };
                let excused = rule.excuses_prompts && value.kind == Kind::Prompt;
                if !concerned || excused {
                    continue;
                }
                if self.fast && self.is_too_short(link, value) {
                    self.learn((link, place), id);
                    continue;
                }
                if let Form::Run { names, .. } = value.form {
                    matched |= self.run_look(rule, link, (look, computed.as_deref()), (value, names));
                    continue;
                }
                let name = inputs.bytes(value.name);
                if takes(look, computed.as_deref(), name) {
                    let subject = Subject { look, name, shelf: Some(*shelf) };
                    match self.test(rule, link, Bytes::Kept(id), subject) {
                        Met::Yes => matched = true,
                        Met::Excused => {}
                        Met::No => self.learn((link, place), id),
                    }
                }
                if self.is_exhausted() {
                    return matched;
                }
            }
        }
        matched
    }

    /// Remembers that the operator of a head says no to a value: it will whenever that comes again.
    fn learn(&mut self, (head, place): (&Link, Option<usize>), id: Id) {
        let Scratch { board, seen, .. } = &mut *self.scratch;
        if let (Some(rule), Some(kept), Some(_)) = (place, board.kept(id), head.parameter.fixed()) {
            seen.learn(kept, usize::from(self.phase) - 1, rule);
        }
    }

    /// Whether a link behind the head could match a value, told from its bytes.
    fn could(&mut self, link: &Link, (id, value): (Id, &Value)) -> bool {
        let mask = match value.form {
            Form::Run { names, run, .. } => runs::mask(self.inputs, value, (names, run)),
            // Trying costs less than proving.
            Form::Plain | Form::Uncounted if value.text.len() < SHORT => return true,
            Form::Plain | Form::Uncounted => self.derived.mask(self.inputs, id),
        };
        proof::could(&self.rules.trie, link, mask)
    }

    /// Whether no transformation makes the value as long as the operator needs.
    fn is_too_short(&self, link: &Link, value: &Value) -> bool {
        let length = match value.form {
            Form::Run { .. } => return false,
            Form::Plain | Form::Uncounted => value.text.len(),
        };
        length < link.shortest * 2
            && link.stations.is_empty()
            && self.rules.trie.longest(link.node, length).is_some_and(|most| most < link.shortest)
    }

    /// Elements of an array of numbers, or their names.
    fn run_look(
        &mut self,
        rule: &Rule,
        link: &Link,
        (look, computed): (&Look, Option<&[u8]>),
        (value, names): (&Value, bool),
    ) -> bool {
        let inputs = self.inputs;
        if let Select::Name(name) = &look.select
            && !runs::could_be_named(inputs, value, name)
        {
            return false;
        }
        let prefix = inputs.bytes(value.name);
        let mut elements = bodies::elements(inputs.bytes(value.text));
        let mut matched = false;
        let mut name = std::mem::take(&mut self.scratch.name);
        while let Some(element) = elements.next() {
            // Most elements match nothing; their names need not be written.
            let nameless = self.fast && !names && computed.is_none() && matches!(look.select, Select::All);
            if nameless && !self.would_match(link, element) {
                continue;
            }
            name.clear();
            elements.write_name(prefix, &mut name);
            if takes(look, computed, &name) {
                let bytes = if names { Bytes::Loose(&name) } else { Bytes::Loose(element) };
                let subject = Subject { look, name: &name, shelf: Some(value.shelf) };
                matched |= self.test(rule, link, bytes, subject) == Met::Yes;
            }
            if self.is_exhausted() {
                break;
            }
        }
        self.scratch.name = name;
        matched
    }

    fn would_match(&mut self, link: &Link, value: &[u8]) -> bool {
        if !link.stations.is_empty() {
            return true;
        }
        let text = derived::apply(self.rules, value, link.node);
        self.state.tally.work = self.state.tally.work.saturating_add(link.operator.work(text.len()));
        let parameter = link.parameter.fixed().unwrap_or(&self.scratch.parameter);
        link.operator.test(&text, parameter, &mut self.scratch.caches, None) != link.negated
    }

    /// How many values there are.
    pub(super) fn count(&mut self, rule: &Rule, link: &Link, look: &Look) -> bool {
        let computed = self.computed_name(rule, look);
        let count = self.count_of(look, computed.as_deref());
        let mut digits = std::mem::take(&mut self.scratch.digits);
        digits.clear();
        write_number(u64::try_from(count).unwrap_or(u64::MAX), &mut digits);
        let name: &[u8] = match &look.select {
            Select::Name(name) => name,
            Select::Slot(slot) => self.rules.names.spelling(*slot),
            _ => &[],
        };
        let met = self.test(rule, link, Bytes::Loose(&digits), Subject { look, name, shelf: None });
        self.scratch.digits = digits;
        met == Met::Yes
    }

    fn count_of(&self, look: &Look, computed: Option<&[u8]>) -> usize {
        if look.variable == Variable::Tx {
            return match &look.select {
                Select::Slot(slot) => usize::from(self.state.tx.get(*slot).is_some()),
                Select::Computed(_) => {
                    usize::from(computed.is_some_and(|name| self.state.tx.named(&self.rules.names, name).is_some()))
                }
                _ => self.tx_names(look).len(),
            };
        }
        if look.state {
            return self.snapshot(look, computed, self.state.kept.len()).len();
        }
        if matches!(look.select, Select::All) {
            return look.shelves.iter().map(|shelf| self.inputs.count(*shelf)).sum();
        }
        let mut count = 0;
        for (_, value) in look.shelves.iter().flat_map(|shelf| self.inputs.shelf(*shelf)) {
            let prefix = self.inputs.bytes(value.name);
            match value.form {
                Form::Plain | Form::Uncounted => count += usize::from(takes(look, computed, prefix)),
                Form::Run { .. } => {
                    let mut elements = bodies::elements(self.inputs.bytes(value.text));
                    let mut name = Vec::new();
                    while elements.next().is_some() {
                        name.clear();
                        elements.write_name(prefix, &mut name);
                        count += usize::from(takes(look, computed, &name));
                    }
                }
            }
        }
        count
    }

    /// Variables that rules change.
    pub(super) fn state_look(&mut self, rule: &Rule, link: &Link, look: &Look, kept: usize) -> bool {
        if let (Variable::Tx, Select::Slot(slot)) = (look.variable, &look.select) {
            return self.slot_look(rule, link, (look, *slot));
        }
        let computed = self.computed_name(rule, look);
        let mut matched = false;
        for (name, value) in self.snapshot(look, computed.as_deref(), kept) {
            let subject = Subject { look, name: &name, shelf: None };
            matched |= self.test(rule, link, Bytes::Loose(&value), subject) == Met::Yes;
        }
        matched
    }

    fn slot_look(&mut self, rule: &Rule, link: &Link, (look, slot): (&Look, Slot)) -> bool {
        let Some(value) = self.state.tx.get(slot) else { return false };
        // Gates by the hundred fail here; only a match needs its value to itself.
        if self.fast && link.nodes() == [Node::RAW] {
            let parameter = link.parameter.fixed().unwrap_or(&self.scratch.parameter);
            if link.operator.test(value, parameter, &mut self.scratch.caches, None) == link.negated {
                self.state.tally.work = self.state.tally.work.saturating_add(link.operator.work(value.len()));
                return false;
            }
        }
        let mut copy = std::mem::take(&mut self.scratch.digits);
        copy.clear();
        copy.extend_from_slice(value);
        let subject = Subject { look, name: self.rules.names.spelling(slot), shelf: None };
        let met = self.test(rule, link, Bytes::Loose(&copy), subject);
        self.scratch.digits = copy;
        met == Met::Yes
    }

    /// Names and values of a changing variable, as they are now.
    fn snapshot(&self, look: &Look, computed: Option<&[u8]>, kept: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = &self.state;
        let pick = |list: &[(Vec<u8>, Vec<u8>)]| -> Vec<(Vec<u8>, Vec<u8>)> {
            list.iter().filter(|(name, _)| takes(look, computed, name)).cloned().collect()
        };
        match look.variable {
            Variable::Env => pick(&state.env),
            Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::User => {
                pick(state.collections.all(look.variable))
            }
            Variable::MatchedVars => pick(state.kept.get(..kept).unwrap_or_default()),
            Variable::MatchedVarsNames => {
                let mut names = pick(state.kept.get(..kept).unwrap_or_default());
                for (name, value) in &mut names {
                    value.clone_from(name);
                }
                names
            }
            Variable::Tx => match (&look.select, computed) {
                (Select::Computed(_), Some(name)) => {
                    let value = state.tx.named(&self.rules.names, name);
                    value.map(|value| (name.to_vec(), value.to_vec())).into_iter().collect()
                }
                _ => self.tx_names(look),
            },
            other => {
                let key = match &look.select {
                    Select::Name(name) => Some(&**name),
                    _ => computed,
                };
                let mut value = Vec::new();
                let found = self.any_rule().is_some_and(|rule| self.view(rule).value(other, key, &mut value));
                if found { vec![(key.unwrap_or_default().to_vec(), value)] } else { Vec::new() }
            }
        }
    }

    /// TX variables that a pattern, or nothing, selects.
    fn tx_names(&self, look: &Look) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tx = &self.state.tx;
        let known = look
            .slots
            .iter()
            .filter_map(|slot| tx.get(*slot).map(|value| (self.rules.names.spelling(*slot).to_vec(), value.to_vec())));
        let others = (0..).map_while(|at| tx.other(at)).filter_map(|(name, value)| {
            value.filter(|_| look.select.takes(name)).map(|value| (name.to_vec(), value.to_vec()))
        });
        known.chain(others).collect()
    }

    fn any_rule(&self) -> Option<&Rule> {
        self.rules.phases.iter().flatten().next()
    }

    pub(super) fn computed_name(&self, rule: &Rule, look: &Look) -> Option<Vec<u8>> {
        let Select::Computed(text) = &look.select else { return None };
        let mut name = Vec::new();
        self.view(rule).expand(text, &mut name);
        Some(name)
    }
}

fn takes(look: &Look, computed: Option<&[u8]>, name: &[u8]) -> bool {
    match computed {
        Some(wanted) => wanted.eq_ignore_ascii_case(name),
        None => look.select.takes(name),
    }
}
