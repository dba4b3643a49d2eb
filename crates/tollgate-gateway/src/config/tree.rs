//! The parsed document: every key and value with its place. Holds no file names and makes no judgement.

use serde_json::{Map, Value};

use super::place::Place;
use super::scalar::Scalar;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where a reader looks for it: the value itself; for a block mapping or block list under a key, and for a value
    /// that was left out, the key.
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// Whether a member of this mapping was refused without a name: what seems to be missing may have been it.
    pub(super) partial: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    List(Vec<Node>),
    Map(Vec<Entry>),
    Scalar(Scalar),
    /// Already reported (an alias, a tag, an unset variable): whatever it should have been, it is not judged again.
    Unusable,
}

/// A member of a mapping. Its names are unique: `parse` drops repetitions after reporting them.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn null(place: Place) -> Self {
        Self::new(place, Kind::Scalar(Scalar::null()))
    }

    pub(super) const fn new(place: Place, kind: Kind) -> Self {
        Self { place, kind, partial: false }
    }

    /// The document as JSON, for serde.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>())
            }
            Kind::Scalar(scalar) => scalar.to_json(),
            Kind::Unusable => Value::Null,
        }
    }
}
