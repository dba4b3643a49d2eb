//! Values that come again: headers, paths, names of fields, words of a system prompt. Which rules certainly do not match
//! one was found out when it first came, and holds for every later transaction. Of a value only a keyed digest is kept,
//! never its text.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::bodies::Kind;
use crate::engine::inputs::{Form, Inputs, Value};

/// Longest value, with its name, that is remembered.
const LONGEST: usize = 4096;
/// Values that share a place. The oldest that was of no use lately makes room.
const WAYS: usize = 4;
/// Places.
const PLACES: usize = 512;

/// What a rule set tells values apart by: SipHash with a key of its own, so that nobody outside can find two values of one
/// digest but by 2⁶⁴ tries.
#[derive(Debug, Default)]
pub(crate) struct Keys(RandomState);

/// Tells a value, with its name, its variable and its kind, from every other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Digest(u64);

/// What a thread remembers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    entries: Vec<Entry>,
    /// How many values have been remembered so far.
    stamp: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    digest: Digest,
    stamp: u64,
    used: bool,
    /// For each phase the rules that could match.
    rows: [Option<Box<[u64]>>; 5],
}

/// Where a value is remembered, until another takes its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    at: usize,
    stamp: u64,
}

impl Keys {
    /// The digest of a value, where it is one to be remembered: of the names of an array it is that of their shape.
    pub(crate) fn digest(&self, inputs: &Inputs, value: &Value) -> Option<Digest> {
        let name = inputs.bytes(value.name);
        let (form, depth, text) = match value.form {
            Form::Plain | Form::Uncounted => (0_u64, 0, inputs.bytes(value.text)),
            Form::Run { names: true, run, .. } => (1, inputs.run(run)?.depth, &[][..]),
            Form::Run { names: false, .. } => return None,
        };
        if name.len() + text.len() > LONGEST {
            return None;
        }
        let shape =
            [value.shelf.index(), depth, name.len()].map(|part| u64::try_from(part).unwrap_or(u64::MAX) & 0xffff);
        let [shelf, depth, named] = shape;
        let kind = u64::from(value.kind == Kind::Prompt) << 1 | form;
        let mut hasher = self.0.build_hasher();
        // The length of the name says where the text begins.
        hasher.write_u64(kind << 48 | shelf << 32 | depth << 16 | named);
        hasher.write(name);
        hasher.write(text);
        Some(Digest(hasher.finish()))
    }
}

impl Seen {
    /// The rules of a phase that could match a value which came before.
    pub(crate) fn recall(&mut self, digest: Digest, phase: usize) -> Option<(Place, &[u64])> {
        let (at, entry) = self.find(digest)?;
        entry.used = true;
        let stamp = entry.stamp;
        let row = entry.rows.get(phase)?.as_deref()?;
        Some((Place { at, stamp }, row))
    }

    /// Remembers the rules of a phase that could match a value.
    pub(crate) fn keep(&mut self, digest: Digest, phase: usize, row: &[u64]) -> Option<Place> {
        let at = match self.find(digest) {
            Some((at, _)) => at,
            None => self.make_room(digest)?,
        };
        let entry = self.entries.get_mut(at)?;
        *entry.rows.get_mut(phase)? = Some(row.into());
        Some(Place { at, stamp: entry.stamp })
    }

    /// Notes that a rule of a phase does not match the value at a place.
    pub(crate) fn learn(&mut self, place: Place, phase: usize, rule: usize) {
        let entry = self.entries.get_mut(place.at).filter(|entry| entry.stamp == place.stamp);
        let row = entry.and_then(|entry| entry.rows.get_mut(phase)).and_then(Option::as_mut);
        if let Some(word) = row.and_then(|row| row.get_mut(rule / 64)) {
            *word &= !(1 << (rule % 64));
        }
    }

    fn find(&mut self, digest: Digest) -> Option<(usize, &mut Entry)> {
        let ways = ways(digest);
        let found = self.entries.get_mut(ways.clone())?.iter_mut().zip(ways).find(|(entry, _)| entry.digest == digest);
        found.map(|(entry, at)| (at, entry))
    }

    /// A place for a value that is not remembered.
    fn make_room(&mut self, digest: Digest) -> Option<usize> {
        if self.entries.is_empty() {
            let empty = Entry { digest: Digest(0), stamp: 0, used: false, rows: [const { None }; 5] };
            self.entries.resize(PLACES * WAYS, empty);
        }
        self.stamp += 1;
        let entries = self.entries.get_mut(ways(digest))?;
        if entries.iter().all(|entry| entry.used) {
            entries.iter_mut().for_each(|entry| entry.used = false);
        }
        let oldest = entries.iter_mut().enumerate().min_by_key(|(_, entry)| (entry.used, entry.stamp));
        let (way, entry) = oldest?;
        *entry = Entry { digest, stamp: self.stamp, used: false, rows: [const { None }; 5] };
        Some(ways(digest).start + way)
    }
}

/// Where a value may be remembered.
fn ways(digest: Digest) -> std::ops::Range<usize> {
    let start = usize::try_from(digest.0 % PLACES as u64).unwrap_or(0) * WAYS;
    start..start + WAYS
}

#[cfg(test)]
mod tests {
    use super::{Digest, Keys, PLACES, Seen, WAYS};
    use crate::bodies::Kind;
    use crate::engine::inputs::{Form, Inputs, Span};
    use crate::ir::shelf::Shelf;
    use crate::parse::ast::Variable;

    #[test]
    fn what_was_learned_of_a_value_is_remembered() {
        let mut seen = Seen::default();
        let digest = Digest(7);
        assert!(seen.recall(digest, 1).is_none());
        let place = seen.keep(digest, 1, &[0b111, 0b1]).expect("room");
        seen.learn(place, 1, 1);
        seen.learn(place, 1, 64);
        assert_eq!(seen.recall(digest, 1).expect("kept").1, [0b101, 0]);
        assert!(seen.recall(digest, 0).is_none(), "nothing is known of another phase");
        assert!(seen.recall(Digest(7 + 512), 1).is_none(), "nor of another value");
    }

    #[test]
    fn nothing_is_learned_for_a_value_that_took_the_place_of_another() {
        let mut seen = Seen::default();
        let places = u64::try_from(PLACES).expect("small");
        let first = seen.keep(Digest(1), 0, &[0b1]).expect("room");
        for other in 0..u64::try_from(4 * WAYS).expect("small") {
            seen.keep(Digest(1 + places * (other + 1)), 0, &[0b1]);
        }
        assert!(seen.recall(Digest(1), 0).is_none());
        seen.learn(first, 0, 0);
        let others = (0..16).filter_map(|other| Some(seen.recall(Digest(1 + places * (other + 1)), 0)?.1[0]));
        let others: Vec<u64> = others.collect();
        assert_eq!(others, [1; WAYS], "the others are as they were");
    }

    #[test]
    fn name_text_variable_and_kind_tell_values_apart() {
        let keys = Keys::default();
        let mut inputs = Inputs::default();
        let mut put = |variable, name: &[u8], text: &[u8], kind| {
            let (name, text) = (inputs.write(name), inputs.write(text));
            inputs.put_as(Shelf::of(variable), (name, text), Form::Plain, kind)
        };
        let values = [
            put(Variable::ArgsGet, b"ab", b"c", Kind::Text),
            put(Variable::ArgsGet, b"a", b"bc", Kind::Text),
            put(Variable::ArgsPost, b"ab", b"c", Kind::Text),
            put(Variable::ArgsGet, b"ab", b"c", Kind::Prompt),
        ];
        let digests = values.map(|id| keys.digest(&inputs, inputs.value(id).expect("put")));
        for (at, digest) in digests.iter().enumerate() {
            assert!(digest.is_some());
            assert!(digests.iter().skip(at + 1).all(|other| other != digest));
        }
        let long = inputs.write(&[b'x'; 5000]);
        let id = inputs.put(Shelf::of(Variable::ArgsGet), Span::EMPTY, long);
        assert_eq!(keys.digest(&inputs, inputs.value(id).expect("put")), None, "long values are not kept");
    }
}
