//! Tests of the reader as a whole.

mod bounds;
mod broken;
mod corpus;
mod forms;
mod lint;
mod reference;

use super::parse;
use crate::problem::Problem;
use crate::source::Memory;

/// What is wrong with a file of that text.
fn problems(text: &str) -> Vec<Problem> {
    problems_of(text.as_bytes())
}

fn problems_of(text: &[u8]) -> Vec<Problem> {
    parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]).problems
}
