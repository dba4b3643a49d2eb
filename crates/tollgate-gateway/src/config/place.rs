//! Where each key and value stands, so that a problem with a path becomes `file:line:column`.
//!
//! A path that was not written (a missing key) is placed at its nearest written parent. Keeps places and names only:
//! no value of the configuration outlives the load in here.

use std::collections::HashMap;
use std::path::PathBuf;

use tollgate_core::check::{Problem, Step};

use super::report::{Finding, Located, Report};
use super::tree::{Kind, Node};

/// A position in one of the files that were read.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// Number of the file, in the order of reading.
    pub(super) file: u32,
    /// Line, counted from 1.
    pub(super) line: u32,
    /// Column in characters, counted from 1.
    pub(super) column: u32,
}

impl Place {
    pub(super) const fn start(file: u32) -> Self {
        Self { file, line: 1, column: 1 }
    }
}

/// The places of a loaded configuration.
#[derive(Debug)]
pub struct Places {
    files: Vec<PathBuf>,
    root: Spot,
}

impl Places {
    pub(super) fn new(files: Vec<PathBuf>, root: &Node) -> Self {
        Self { files, root: Spot::new(root, None) }
    }

    /// The problem with the place of the value that it is about; of the nearest written parent where that value was
    /// left out.
    #[must_use]
    pub fn locate(&self, problem: &Problem) -> Located {
        let mut finding = Finding::new(self.place(&problem.path), &problem.path, problem.message.clone());
        finding.hint.clone_from(&problem.hint);
        let located = finding.locate(&self.files);
        match &problem.place {
            Some(place) => located.moved(place),
            None => located,
        }
    }

    /// The problems as a report, each with its place.
    #[must_use]
    pub fn report(&self, problems: &[Problem]) -> Report {
        Report::new(problems.iter().map(|problem| self.locate(problem)).collect())
    }

    /// The files that were read: the main file, then the included ones in the order of their merging.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn place(&self, path: &[Step]) -> Place {
        let mut spot = &self.root;
        for step in path {
            match spot.inside(step) {
                Some(inside) => spot = inside,
                None => return spot.key.unwrap_or(spot.value),
            }
        }
        spot.value
    }
}

#[derive(Debug)]
struct Spot {
    key: Option<Place>,
    value: Place,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    List(Vec<Spot>),
    Map(HashMap<String, Spot>),
    Nothing,
}

impl Spot {
    fn new(node: &Node, key: Option<Place>) -> Self {
        let inside = match &node.kind {
            Kind::List(items) => Inside::List(items.iter().map(|item| Self::new(item, None)).collect()),
            Kind::Map(entries) => {
                Inside::Map(entries.iter().map(|e| (e.key.clone(), Self::new(&e.value, Some(e.place)))).collect())
            }
            Kind::Scalar(_) | Kind::Unusable => Inside::Nothing,
        };
        Self { key, value: node.place, inside }
    }

    fn inside(&self, step: &Step) -> Option<&Self> {
        match (&self.inside, step) {
            (Inside::List(items), Step::Item(item)) => items.get(*item),
            (Inside::Map(entries), Step::Key(key)) => entries.get(key),
            _ => None,
        }
    }
}
