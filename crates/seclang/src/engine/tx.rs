//! The TX collection: variables whose names the rules know have a slot each, all others live in a map.

use std::collections::HashMap;

use crate::ir::names::{Names, Slot};

/// TX variables of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    slots: Vec<Cell>,
    others: Vec<(Box<[u8]>, Cell)>,
    /// Lower-case name → place among the others.
    index: HashMap<Box<[u8]>, usize>,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    state: Presence,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Presence {
    #[default]
    Absent,
    /// Set before phase 1; no rule changes it.
    Pinned,
    Set,
}

impl Cell {
    fn get(&self) -> Option<&[u8]> {
        (self.state != Presence::Absent).then_some(&*self.value)
    }

    fn set(&mut self, value: &[u8]) {
        if self.state != Presence::Pinned {
            self.state = Presence::Set;
            self.value.clear();
            self.value.extend_from_slice(value);
        }
    }

    fn unset(&mut self) {
        if self.state == Presence::Set {
            self.state = Presence::Absent;
        }
    }
}

impl Tx {
    /// Forgets everything, and makes room for the names of a rule set.
    pub(crate) fn reset(&mut self, names: &Names) {
        for cell in &mut self.slots {
            cell.state = Presence::Absent;
        }
        self.slots.resize_with(names.len(), Cell::default);
        self.others.clear();
        self.index.clear();
    }

    /// Becomes the same as another, keeping its own memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.slots.resize_with(other.slots.len(), Cell::default);
        for (cell, other) in self.slots.iter_mut().zip(&other.slots) {
            cell.state = other.state;
            if other.state != Presence::Absent {
                cell.value.clone_from(&other.value);
            }
        }
        if !(self.others.is_empty() && other.others.is_empty()) {
            self.others.clone_from(&other.others);
            self.index.clone_from(&other.index);
        }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&[u8]> {
        self.slots.get(slot.index()).and_then(Cell::get)
    }

    pub(crate) fn set(&mut self, slot: Slot, value: &[u8]) {
        if let Some(cell) = self.slots.get_mut(slot.index()) {
            cell.set(value);
        }
    }

    pub(crate) fn unset(&mut self, slot: Slot) {
        if let Some(cell) = self.slots.get_mut(slot.index()) {
            cell.unset();
        }
    }

    /// A variable by any name.
    pub(crate) fn named(&self, names: &Names, name: &[u8]) -> Option<&[u8]> {
        let lower = name.to_ascii_lowercase();
        match names.find(&lower) {
            Some(slot) => self.get(slot),
            None => self.index.get(&*lower).and_then(|at| self.others.get(*at)).and_then(|(_, cell)| cell.get()),
        }
    }

    pub(crate) fn set_named(&mut self, names: &Names, name: &[u8], value: &[u8]) {
        self.cell(names, name).set(value);
    }

    pub(crate) fn unset_named(&mut self, names: &Names, name: &[u8]) {
        self.cell(names, name).unset();
    }

    /// Sets a variable for good.
    pub(crate) fn pin(&mut self, names: &Names, name: &[u8], value: &[u8]) {
        let cell = self.cell(names, name);
        cell.state = Presence::Set;
        cell.set(value);
        cell.state = Presence::Pinned;
    }

    fn cell(&mut self, names: &Names, name: &[u8]) -> &mut Cell {
        let lower = name.to_ascii_lowercase();
        if let Some(slot) = names.find(&lower) {
            if slot.index() >= self.slots.len() {
                self.slots.resize_with(names.len(), Cell::default);
            }
            return self.slots.get_mut(slot.index()).expect("there is a slot for every known name");
        }
        let next = self.others.len();
        let at = *self.index.entry(lower.into_boxed_slice()).or_insert(next);
        if at == next {
            self.others.push((name.into(), Cell::default()));
        }
        &mut self.others.get_mut(at).expect("the index points into the list").1
    }

    /// The variables whose names are not the rules' own, as first written. Their number only grows.
    pub(crate) fn other(&self, at: usize) -> Option<(&[u8], Option<&[u8]>)> {
        self.others.get(at).map(|(name, cell)| (&**name, cell.get()))
    }
}
