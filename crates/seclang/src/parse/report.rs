//! Collects what is wrong with the files.

use std::collections::HashMap;
use std::sync::Arc;

use crate::problem::{Place, Problem, Severity};

/// All problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    /// The order in which files were opened.
    ranks: HashMap<Arc<str>, usize>,
    errors: usize,
}

/// The problem just reported.
#[derive(Debug)]
pub(crate) struct Reported<'a>(&'a mut Problem);

impl Reported<'_> {
    /// Says what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) {
        self.0.hint = Some(hint.into());
    }

    /// Says what to do about it, if anything comes to mind.
    pub(crate) fn maybe(self, hint: Option<String>) {
        self.0.hint = hint;
    }
}

impl Report {
    /// The rules do not load.
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) -> Reported<'_> {
        self.errors += 1;
        self.add(place, Severity::Error, message.into())
    }

    /// The rules load; the author should know.
    pub(crate) fn warn(&mut self, place: &Place, message: impl Into<String>) -> Reported<'_> {
        self.add(place, Severity::Warning, message.into())
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> Reported<'_> {
        self.problems.push(Problem { place: place.clone(), severity, message, hint: None });
        Reported(self.problems.last_mut().expect("it was just pushed"))
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// A file is opened: its problems come behind those of the files before it.
    pub(crate) fn opened(&mut self, file: &Arc<str>) {
        let rank = self.ranks.len();
        self.ranks.entry(Arc::clone(file)).or_insert(rank);
    }

    /// All of them, in the order of the files.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let Self { mut problems, ranks, .. } = self;
        let rank = |place: &Place| ranks.get(&place.file).copied().unwrap_or_default();
        problems.sort_by_key(|problem| (rank(&problem.place), problem.place.line, problem.place.column));
        problems
    }
}
