//! Runs the ModSecurity rule language over requests, in linear time.
#![doc = include_str!("../README.md")]

pub mod bodies;
pub mod charset;
pub mod engine;
pub mod ir;
pub mod operators;
pub mod parse;
pub mod problem;
pub mod source;
pub mod transforms;

pub use crate::engine::{
    Facts, HeadView, Knowledge, Known, Matched, Processor, ReplyView, Scope, Scratch, Store, Tally, Transaction,
    Verdict,
};
pub use crate::ir::{Library, Options, Profile, RuleSet};
pub use crate::problem::{Problem, Severity};
pub use crate::source::{Memory, Source};
