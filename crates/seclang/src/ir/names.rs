//! Names of TX variables that are known when the rules are loaded, each with a slot of its own.

use std::collections::HashMap;

/// Where a transaction keeps a TX variable whose name stands in the rules.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Slot(usize);

impl Slot {
    /// Its place in a list of all slots.
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// Every such name. The first ten are the captures, `0` to `9`.
#[derive(Debug)]
pub(crate) struct Names {
    slots: HashMap<Box<[u8]>, Slot>,
    spellings: Vec<Box<[u8]>>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self { slots: HashMap::new(), spellings: Vec::new() };
        for digit in b'0'..=b'9' {
            names.intern(&[digit]);
        }
        names
    }
}

impl Names {
    /// The slot of a name, made when it is new. Names compare without regard to ASCII case.
    pub(crate) fn intern(&mut self, name: &[u8]) -> Slot {
        let key = name.to_ascii_lowercase().into_boxed_slice();
        let next = Slot(self.spellings.len());
        let slot = *self.slots.entry(key).or_insert(next);
        if slot == next {
            self.spellings.push(name.into());
        }
        slot
    }

    /// The slot of a name in lower case, when the rules know it.
    pub(crate) fn find(&self, lower: &[u8]) -> Option<Slot> {
        self.slots.get(lower).copied()
    }

    /// The slot of a capture.
    pub(crate) const fn capture(group: usize) -> Slot {
        Slot(group)
    }

    /// All names as first written, in the order of their slots.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = (Slot, &[u8])> {
        self.spellings.iter().enumerate().map(|(at, name)| (Slot(at), &**name))
    }

    /// A name as first written.
    pub(crate) fn spelling(&self, slot: Slot) -> &[u8] {
        self.spellings.get(slot.0).map_or(&[], |name| &**name)
    }

    pub(crate) fn len(&self) -> usize {
        self.spellings.len()
    }
}
