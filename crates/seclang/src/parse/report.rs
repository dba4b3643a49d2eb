//! Collects what is wrong with the files.

use std::collections::HashMap;
use std::sync::Arc;

use crate::problem::{Place, Problem, Severity};

/// How many errors and how many warnings are kept: nobody reads more, and each costs memory.
const MOST: usize = 1000;

/// All problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    /// The order in which files were opened.
    ranks: HashMap<Arc<str>, usize>,
    errors: usize,
    warnings: usize,
    /// Where a part of the language that does nothing was first met, among the problems, and how often since.
    ignored: HashMap<String, (usize, usize)>,
    /// Takes the problems that are too many.
    surplus: Vec<Problem>,
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

    /// A part of the language does nothing: said where it is first met, with how often it comes again.
    pub(crate) fn ignored(&mut self, place: &Place, message: String, instead: &str) {
        if let Some((_, again)) = self.ignored.get_mut(&message) {
            *again += 1;
            return;
        }
        self.ignored.insert(message.clone(), (self.problems.len(), 0));
        self.warn(place, message).hint(instead);
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> Reported<'_> {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        let kept = if *count <= MOST {
            &mut self.problems
        } else {
            self.surplus.retain(|surplus| surplus.severity != severity);
            &mut self.surplus
        };
        kept.push(Problem { place: place.clone(), severity, message, hint: None });
        Reported(kept.last_mut().expect("it was just pushed"))
    }

    /// Whether no further error is kept, so that reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.errors > MOST
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
        let Self { mut problems, ranks, ignored, surplus, .. } = self;
        for (_, (index, again)) in ignored.into_iter().filter(|(_, (_, again))| *again > 0) {
            let first = problems.get_mut(index).filter(|first| first.severity == Severity::Warning);
            if let Some(Problem { message, .. }) = first {
                let places = if again == 1 { "place" } else { "places" };
                message.push_str(&format!(", here and in {again} more {places}"));
            }
        }
        let rank = |place: &Place| ranks.get(&place.file).copied().unwrap_or_default();
        problems.sort_by_key(|problem| (rank(&problem.place), problem.place.line, problem.place.column));
        problems.extend(surplus.into_iter().map(|surplus| Problem {
            message: match surplus.severity {
                Severity::Error => "there are more errors than are shown".to_owned(),
                Severity::Warning => "there are more warnings than are shown".to_owned(),
            },
            hint: Some("correct these first".to_owned()),
            ..surplus
        }));
        problems
    }
}
