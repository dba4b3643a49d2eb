//! Reads SecLang text into an AST with a place for every part. It knows the grammar and every word of the language,
//! not what the words do.

use crate::problem::Problem;
use crate::source::Source;

mod action;
pub mod ast;
mod chain;
mod check;
mod ctl;
mod directive;
mod include;
mod lexer;
mod lint;
pub mod names;
mod operator;
mod report;
mod setting;
mod setvar;
mod target;
mod text;
mod unicode;

pub use ast::Directive;
pub use lint::lint;

/// What the files say.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// All directives in order, includes resolved, chains joined. Of use only when no problem is an error.
    pub directives: Vec<Directive>,
    /// Everything that is wrong, in the order of the files.
    pub problems: Vec<Problem>,
}

/// Reads files in order; each entry is a path or a glob. What is wrong does not end the reading.
#[must_use]
pub fn parse(source: &dyn Source, files: &[String]) -> Parsed {
    let mut report = report::Report::default();
    let directives = include::read(source, files, &mut report);
    check::check(&directives, &mut report);
    Parsed { directives, problems: report.into_problems() }
}

#[cfg(test)]
mod tests;
