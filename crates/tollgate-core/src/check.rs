//! Collecting every mistake of a configuration, each with the path of the value it is about.

use std::fmt;

/// One step from the root of a document to a value.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// Member of a mapping.
    Key(String),
    /// Item of a sequence.
    Item(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Item(item) => write!(f, "{item}"),
        }
    }
}

/// A mistake, or a warning, about the value at `path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// From the root to the value. A list, never dotted text: model names contain dots.
    pub path: Vec<Step>,
    /// What is wrong: lower case, no full stop, input in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in another file than the configuration it stands, such as a rule file that the value names.
    pub place: Option<FilePlace>,
}

/// A place in a file that the configuration names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FilePlace {
    /// The file.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted from 1.
    pub column: u32,
}

/// Collects problems under the path that is being checked.
#[derive(Debug, Default)]
pub struct Checker {
    path: Vec<Step>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Checker {
    /// Checks what stands under `step`.
    pub fn within<T>(&mut self, step: impl Into<Step>, check: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.into());
        let answer = check(self);
        self.path.pop();
        answer
    }

    /// Reports a problem with the member `at` unless `holds`; returns `holds`.
    pub fn require(&mut self, holds: bool, at: impl Into<Step>, message: impl Into<String>) -> bool {
        if !holds {
            self.problem(at, message);
        }
        holds
    }

    /// Reports a problem with the member `at`.
    pub fn problem(&mut self, at: impl Into<Step>, message: impl Into<String>) {
        let problem = self.place(Some(at.into()), message.into(), None);
        self.problems.push(problem);
    }

    /// Reports a problem with the member `at`, and what to do about it.
    pub fn problem_hint(&mut self, at: impl Into<Step>, message: impl Into<String>, hint: impl Into<String>) {
        let problem = self.place(Some(at.into()), message.into(), Some(hint.into()));
        self.problems.push(problem);
    }

    /// Reports a problem with the value that is being checked.
    pub fn problem_here(&mut self, message: impl Into<String>) {
        let problem = self.place(None, message.into(), None);
        self.problems.push(problem);
    }

    /// Warns about the member `at`; the configuration still loads.
    pub fn warn(&mut self, at: impl Into<Step>, message: impl Into<String>) {
        let warning = self.place(Some(at.into()), message.into(), None);
        self.warnings.push(warning);
    }

    /// Warns about the value that is being checked.
    pub fn warn_here(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        let warning = self.place(None, message.into(), Some(hint.into()));
        self.warnings.push(warning);
    }

    /// Reports what is wrong in a file that the value being checked names; `fatal` or only worth a word.
    pub fn elsewhere(&mut self, place: FilePlace, fatal: bool, message: impl Into<String>, hint: Option<String>) {
        let problem = Problem { place: Some(place), ..self.place(None, message.into(), hint) };
        if fatal { self.problems.push(problem) } else { self.warnings.push(problem) }
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems and the warnings.
    #[must_use]
    pub fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.warnings)
    }

    fn place(&self, at: Option<Step>, message: String, hint: Option<String>) -> Problem {
        let mut path = self.path.clone();
        path.extend(at);
        Problem { path, message, hint, place: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_its_whole_path() {
        let mut check = Checker::default();
        check.within("models", |check| {
            check.within("llama-3.1", |check| check.require(false, "upstream", "`x` is not an upstream"));
        });
        let (problems, _) = check.finish();
        let path: Vec<_> = problems[0].path.iter().map(ToString::to_string).collect();
        assert_eq!(path, ["models", "llama-3.1", "upstream"]);
    }
}
