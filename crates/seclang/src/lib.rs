//! A SecLang engine: the ModSecurity rule language, parsed, compiled and run in linear time.
//!
//! A leaf: no sockets, no files, no clock, no runtime, no HTTP types. Files come through [`Source`], facts about the
//! request through [`Facts`] and [`Transaction`], and whatever was found leaves as a [`Verdict`] and a [`Tally`].
//! Values are bytes, never `str`: what an attacker sends is not text until something proves it.

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
