//! Transformed values, kept for the transaction: a value is decoded once for all rules and phases.

use std::borrow::Cow;

use crate::charset::ByteSet;
use crate::engine::inputs::{Id, Inputs, Value};
use crate::engine::seen::Digest;
use crate::ir::RuleSet;
use crate::ir::trie::Node;

/// What has been transformed so far.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    /// For each value, where its block of entries begins; 0 when it has none.
    blocks: Vec<usize>,
    /// Blocks of one entry per node of the trie.
    entries: Vec<Entry>,
    texts: Vec<Vec<u8>>,
    /// The bytes of each value.
    masks: Vec<Option<ByteSet>>,
    /// What each value is remembered by, where it is.
    digests: Vec<Option<Option<Digest>>>,
}

/// What a node makes of a value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Entry {
    /// One of the texts.
    Changed(usize),
    /// The value as it is.
    Raw,
    #[default]
    Unknown,
}

impl Derived {
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.entries.clear();
        self.texts.clear();
        self.masks.clear();
        self.digests.clear();
    }

    /// Bytes of memory that are kept when everything is forgotten.
    pub(crate) const fn room(&self) -> usize {
        self.blocks.capacity() * size_of::<usize>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.texts.capacity() * size_of::<Vec<u8>>()
            + self.masks.capacity() * size_of::<Option<ByteSet>>()
    }

    /// A value behind a chain of transformations.
    pub(crate) fn get<'a>(&'a mut self, rules: &RuleSet, inputs: &'a Inputs, id: Id, node: Node) -> &'a [u8] {
        let raw = inputs.value(id).map_or(&[][..], |value| inputs.bytes(value.text));
        if node == Node::RAW {
            return raw;
        }
        match self.entry(rules, raw, id, node) {
            Entry::Changed(at) => self.texts.get(at).map_or(raw, |text| text),
            Entry::Raw | Entry::Unknown => raw,
        }
    }

    /// The bytes that a value is made of.
    pub(crate) fn mask(&mut self, inputs: &Inputs, id: Id) -> ByteSet {
        if self.masks.len() <= id.index() {
            self.masks.resize(id.index() + 1, None);
        }
        let Some(slot) = self.masks.get_mut(id.index()) else { return ByteSet::ALL };
        *slot
            .get_or_insert_with(|| inputs.value(id).map_or(ByteSet::ALL, |value| ByteSet::of(inputs.bytes(value.text))))
    }

    /// What a value is remembered by: told once for all phases.
    pub(crate) fn digest(&mut self, rules: &RuleSet, inputs: &Inputs, (id, value): (Id, &Value)) -> Option<Digest> {
        if self.digests.len() <= id.index() {
            self.digests.resize(id.index() + 1, None);
        }
        *self.digests.get_mut(id.index())?.get_or_insert_with(|| rules.keys.digest(inputs, value))
    }

    fn entry(&mut self, rules: &RuleSet, raw: &[u8], id: Id, node: Node) -> Entry {
        let Some((parent, step)) = rules.trie.last_step(node) else { return Entry::Raw };
        let at = self.block(id, rules.trie.len()) + node.index();
        let known = self.entries.get(at).copied().unwrap_or_default();
        if known != Entry::Unknown {
            return known;
        }
        let above = self.entry(rules, raw, id, parent);
        let input = match above {
            Entry::Changed(text) => self.texts.get(text).map_or(raw, |text| text),
            Entry::Raw | Entry::Unknown => raw,
        };
        let entry = match step.apply(input, &rules.settings.tables) {
            Cow::Borrowed(same) if same.len() == input.len() => above,
            changed => {
                let changed = changed.into_owned();
                self.texts.push(changed);
                Entry::Changed(self.texts.len() - 1)
            }
        };
        if let Some(slot) = self.entries.get_mut(at) {
            *slot = entry;
        }
        entry
    }

    fn block(&mut self, id: Id, nodes: usize) -> usize {
        if self.blocks.len() <= id.index() {
            self.blocks.resize(id.index() + 1, 0);
        }
        let Some(block) = self.blocks.get_mut(id.index()) else { return 0 };
        if *block == 0 {
            // 0 means that there is none: the first entry of all stays unused.
            *block = self.entries.len().max(1);
            self.entries.resize(*block + nodes, Entry::Unknown);
        }
        *block
    }
}

/// A value that is not kept, behind a chain of transformations.
pub(crate) fn apply<'a>(rules: &RuleSet, value: &'a [u8], node: Node) -> Cow<'a, [u8]> {
    let Some((parent, step)) = rules.trie.last_step(node) else { return Cow::Borrowed(value) };
    match apply(rules, value, parent) {
        Cow::Borrowed(text) => step.apply(text, &rules.settings.tables),
        Cow::Owned(text) => Cow::Owned(match step.apply(&text, &rules.settings.tables) {
            Cow::Borrowed(same) if same.len() == text.len() => text,
            changed => changed.into_owned(),
        }),
    }
}
