//! Reads SecLang text into an AST with a place for every part. It knows the grammar and every word of the language,
//! not what the words do.

pub mod ast;
