//! Reads files and the files that they include, within bounds.

use std::sync::Arc;

use super::ast::{Action, Directive, DirectiveKind, Spanned};
use super::chain::Chains;
use super::directive::{Step, always, step};
use super::lexer::{self, Line};
use super::report::Report;
use crate::problem::Place;
use crate::source::{Source, beside};

/// How deep includes nest.
const DEEPEST: usize = 8;
/// How much text is read in all: includes within includes multiply.
const MOST_BYTES: usize = 64 << 20;
/// How many files are read in all.
const MOST_FILES: usize = 4096;

/// The directives of the files, in order.
pub(crate) fn read(source: &dyn Source, files: &[String], report: &mut Report) -> Vec<Directive> {
    let mut reader = Reader { source, report, found: Vec::new(), open: Vec::new(), bytes: 0, files: 0, full: false };
    for file in files {
        let place = Place { file: Arc::from(file.as_str()), line: 1, column: 1 };
        reader.pattern(file, &place, false);
    }
    reader.found
}

struct Reader<'a> {
    source: &'a dyn Source,
    report: &'a mut Report,
    found: Vec<Directive>,
    /// The files being read, outermost first.
    open: Vec<Arc<str>>,
    bytes: usize,
    files: usize,
    full: bool,
}

impl Reader<'_> {
    fn pattern(&mut self, pattern: &str, place: &Place, optional: bool) {
        match self.source.glob(pattern) {
            Ok(paths) if paths.is_empty() && !optional => {
                self.report
                    .error(place, format!("no file matches `{pattern}`"))
                    .hint("correct the path, or write `IncludeOptional` if there need not be one");
            }
            Ok(paths) => {
                for path in paths {
                    self.file(&Arc::from(path), place, optional);
                }
            }
            Err(why) => {
                self.report
                    .error(place, format!("`{pattern}` cannot be resolved: {why}"))
                    .hint("a path is relative to the file that names it");
            }
        }
    }

    fn file(&mut self, path: &Arc<str>, place: &Place, optional: bool) {
        if self.open.contains(path) {
            self.report
                .error(place, format!("`{path}` includes itself, directly or through others"))
                .hint("take one of the includes away");
            return;
        }
        if self.open.len() > DEEPEST {
            self.report
                .error(place, format!("includes nest deeper than {DEEPEST} levels"))
                .hint("include the innermost files from a file further out");
            return;
        }
        self.report.opened(path);
        let bytes = match self.source.read(path) {
            Ok(bytes) => bytes,
            Err(why) if optional => {
                self.report
                    .warn(place, format!("`{path}` was not read: {why}"))
                    .hint("nothing to do if the file need not be there");
                return;
            }
            Err(why) => {
                self.report
                    .error(place, format!("`{path}` cannot be read: {why}"))
                    .hint("a path is relative to the file that names it");
                return;
            }
        };
        if !self.affords(bytes.len(), place) {
            return;
        }
        self.open.push(Arc::clone(path));
        self.lines(path, &bytes);
        self.open.pop();
    }

    /// Whether that much more may be read; said once when not.
    fn affords(&mut self, bytes: usize, place: &Place) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.files += 1;
        let fits = self.bytes <= MOST_BYTES && self.files <= MOST_FILES;
        if !fits && !self.full {
            self.full = true;
            self.report
                .error(place, format!("the rules are more than {MOST_FILES} files or {} MiB", MOST_BYTES >> 20))
                .hint("look for a file that is included again and again");
        }
        fits
    }

    fn lines(&mut self, path: &Arc<str>, bytes: &[u8]) {
        let mut chains = Chains::default();
        for line in lexer::lines(path, bytes, self.report) {
            if self.report.is_full() {
                return;
            }
            let errors = self.report.errors();
            let step = step(&line, self.source, self.report);
            let broken = self.report.errors() > errors;
            match step {
                Some(Step::Directive(directive)) => {
                    let directive = if broken { mended(directive, &line) } else { directive };
                    self.found.extend(chains.add(directive, line.raw, self.report).into_iter().flatten());
                }
                Some(Step::Include { pattern, place, optional }) => {
                    self.found.extend(chains.close(self.report));
                    if !self.full {
                        self.pattern(&beside(path, &pattern), &place, optional);
                    }
                }
                None if broken => {
                    let rule = placeholder(&line).map(|directive| mended(directive, &line));
                    let complete = rule.map(|rule| chains.add(rule, line.raw, self.report));
                    self.found.extend(complete.into_iter().flatten().flatten());
                }
                None => {}
            }
        }
        self.found.extend(chains.close(self.report));
    }
}

/// Stands for a rule that could not be read, so that the rules around it are read as they would be with it.
fn placeholder(line: &Line) -> Option<Directive> {
    let view = line.text.view();
    let name = view.as_str().split_ascii_whitespace().next()?;
    let rule = name.eq_ignore_ascii_case("SecRule") || name.eq_ignore_ascii_case("SecAction");
    rule.then(|| {
        let place = view.place();
        Directive { kind: DirectiveKind::Rule(always(Vec::new(), String::new(), &place)), place }
    })
}

/// Gives a rule that was read in part the id and the chain that it may have: what follows from one mistake is not
/// worth reporting. The id 0 is nobody's.
fn mended(mut directive: Directive, line: &Line) -> Directive {
    let actions = match &mut directive.kind {
        DirectiveKind::Rule(rule) => &mut rule.actions,
        DirectiveKind::Action(actions) => actions,
        _ => return directive,
    };
    let mut mend = |value| actions.push(Spanned { value, place: directive.place.clone() });
    mend(Action::Id(0));
    let words = line.raw.split(|char: char| char.is_ascii_whitespace() || matches!(char, ',' | '"'));
    if words.clone().any(|word| word.eq_ignore_ascii_case("chain")) {
        mend(Action::Chain);
    }
    directive
}
