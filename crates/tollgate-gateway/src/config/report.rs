//! Problems with a place: what `check` prints and what a failed reload answers. Knows nothing of how they were found.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use tollgate_core::check::{FilePlace, Step};

use super::place::Place;

/// How many problems one report holds. A file of garbage does not deserve a report larger than itself.
const MOST: usize = 500;
/// How many are kept while they are collected, before those of the first lines are chosen. Each holds a path.
const MOST_KEPT: usize = 1_000;

/// Everything that is wrong with a configuration, in the order of the files and their lines.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The problems, ordered by place.
    pub problems: Vec<Located>,
    /// How many more there are beyond those listed.
    pub omitted: usize,
}

impl Report {
    /// A report of these problems, in the order of their places.
    #[must_use]
    pub fn new(mut problems: Vec<Located>) -> Self {
        problems.sort_by(|one, other| {
            let key = |problem: &Located| (problem.rank, problem.line, problem.column);
            let files = if one.rank == u32::MAX { one.file.cmp(&other.file) } else { std::cmp::Ordering::Equal };
            one.rank.cmp(&other.rank).then(files).then_with(|| key(one).cmp(&key(other)))
        });
        // Two layers may check the same name; the one with a hint is kept.
        problems.dedup_by(|next, kept| {
            let place = |problem: &Located| (problem.rank, problem.line, problem.column);
            let same = place(next) == place(kept) && next.path == kept.path && next.message == kept.message;
            if same && kept.hint.is_none() {
                kept.hint = next.hint.take();
            }
            same
        });
        let omitted = problems.len().saturating_sub(MOST);
        problems.truncate(MOST);
        Self { problems, omitted }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Report {}

/// A mistake or a warning with the place where it stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Located {
    /// The file as it was named: the main file as given, an included one relative to the same directory.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// From the root to the value: names and item numbers.
    #[serde(serialize_with = "steps")]
    pub path: Vec<Step>,
    /// What is wrong: lower case, no full stop, input in backticks.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Order of the file among those that were read.
    #[serde(skip)]
    rank: u32,
}

impl Located {
    /// The same problem, in a file that the configuration names. Such files come after all of the configuration's own.
    pub(super) fn moved(mut self, place: &FilePlace) -> Self {
        self.file = PathBuf::from(&place.file);
        (self.line, self.column, self.rank) = (place.line, place.column, u32::MAX);
        self
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A problem while it is being collected: the file is still a number.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) place: Place,
    pub(super) path: Vec<Step>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(place: Place, path: &[Step], message: impl Into<String>) -> Self {
        Self { place, path: path.to_vec(), message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(super) fn locate(self, files: &[PathBuf]) -> Located {
        let Place { file, line, column } = self.place;
        Located {
            file: name(files, file).to_owned(),
            line,
            column,
            path: self.path,
            message: self.message,
            hint: self.hint,
            rank: file,
        }
    }
}

/// Problems while they are being collected; bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    omitted: usize,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        if self.kept.len() < MOST_KEPT { self.kept.push(finding) } else { self.omitted += 1 }
    }

    pub(super) fn append(&mut self, more: Self) {
        self.omitted += more.omitted;
        more.kept.into_iter().for_each(|finding| self.push(finding));
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len() + self.omitted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn locate(self, files: &[PathBuf]) -> Report {
        let mut report = Report::new(self.kept.into_iter().map(|finding| finding.locate(files)).collect());
        report.omitted += self.omitted;
        report
    }
}

/// The name of a file that was read.
pub(super) fn name(files: &[PathBuf], file: u32) -> &Path {
    let index = usize::try_from(file).unwrap_or(usize::MAX);
    files.get(index).map_or_else(|| Path::new("?"), PathBuf::as_path)
}

fn steps<S: Serializer>(path: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(path.iter().map(|step| match step {
        Step::Item(item) => serde_json::Value::from(*item),
        Step::Key(key) => serde_json::Value::from(key.as_str()),
    }))
}
