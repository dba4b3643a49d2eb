//! Collects what is wrong with the files.

use crate::problem::{Place, Problem, Severity};

/// All problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
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

    /// All of them.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
