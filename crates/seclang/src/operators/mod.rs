//! Operators: whether a value matches, one file each. They compare; what a match leads to is the engine's business.

mod around;
mod caches;
mod injection;
mod ip_match;
mod literals;
mod number;
mod pcre;
mod pm;
mod proof;
mod rx;
mod sieve;
#[cfg(test)]
mod tests;
mod text;
mod validate;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use self::caches::Caches;
pub use self::ip_match::IpList;
pub use self::number::Comparison;
pub(crate) use self::number::parse as integer;
pub use self::pm::Pm;
pub use self::proof::{Literals, Needs};
pub use self::rx::Rx;
pub(crate) use self::rx::parse as parse_pattern;
pub use self::sieve::{Sieve, Sifted};
pub use self::text::Relation;
use crate::charset::ByteSet;

/// A compiled operator, without its negation.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `@detectSQLi`
    DetectSqli,
    /// `@detectXSS`
    DetectXss,
    /// `@ipMatch`, `@ipMatchFromFile`, `@ipMatchF`
    IpMatch(Arc<IpList>),
    /// `@noMatch`
    NoMatch,
    /// `@eq`, `@ge`, `@gt`, `@le`, `@lt`; the number is `None` when it comes with each test.
    Number(Comparison, Option<i64>),
    /// `@pm`, `@pmFromFile`, `@pmf`
    Pm(Arc<Pm>),
    /// `@rx`
    Rx(Arc<Rx>),
    /// `@rxGlobal`
    RxGlobal(Arc<Rx>),
    /// `@beginsWith`, `@contains`, `@containsWord`, `@endsWith`, `@streq`, `@strmatch`, `@within`; the text is `None`
    /// when it comes with each test.
    Text(Relation, Option<Box<[u8]>>),
    /// `@unconditionalMatch`
    UnconditionalMatch,
    /// `@validateByteRange`: the bytes that are allowed.
    ValidateByteRange(ByteSet),
    /// `@validateUrlEncoding`
    ValidateUrlEncoding,
    /// `@validateUtf8Encoding`
    ValidateUtf8Encoding,
}

/// Reads the data files that `@pmFromFile` and `@ipMatchFromFile` name, relative to the rule file.
pub trait Files {
    /// The bytes of a data file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// Compiled patterns and phrase lists by their text, so that rules and rule sets share them.
#[derive(Debug, Default)]
pub struct Patterns {
    rx: HashMap<Box<str>, Arc<Rx>>,
    pm: HashMap<Vec<Vec<u8>>, Arc<Pm>>,
}

/// What compiling an operator may use.
#[expect(missing_debug_implementations, reason = "the reader of files has none")]
pub struct Env<'a> {
    /// Reads data files.
    pub files: &'a mut dyn Files,
    /// What is compiled already.
    pub patterns: &'a mut Patterns,
}

/// Why an operator cannot be compiled; `at` is a byte of the argument.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the argument.
    pub at: usize,
}

/// What a match captured: slots 0 to 9.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures {
    /// Ranges of the tested value.
    pub slots: [Option<Range<usize>>; 10],
    /// Text for slot 0 that is not part of the value (the fingerprint of `@detectSQLi`).
    pub text: Option<Vec<u8>>,
}

impl Operator {
    /// Compiles an operator. `name` as written (any case). When the argument holds macros (`%{…}`), `dynamic` is true
    /// and the expanded text comes with each test as `parameter`; operators that must know their argument at load
    /// (`rx`, `pm`, `ipMatch`, `validateByteRange`, …FromFile) refuse a dynamic one. Patterns that `env` already holds
    /// are not compiled again.
    ///
    /// # Errors
    /// Unknown operator, bad argument, unreadable file.
    pub fn compile(name: &str, argument: &str, dynamic: bool, env: &mut Env<'_>) -> Result<Self, Unusable> {
        let lower = name.to_ascii_lowercase();
        if let Some(relation) = Relation::from_name(&lower) {
            return Ok(Self::Text(relation, (!dynamic).then(|| argument.as_bytes().into())));
        }
        if let Some(comparison) = Comparison::from_name(&lower) {
            return Ok(Self::Number(comparison, (!dynamic).then(|| number::parse(argument.as_bytes()))));
        }
        match lower.as_str() {
            "detectsqli" => return Ok(Self::DetectSqli),
            "detectxss" => return Ok(Self::DetectXss),
            "nomatch" => return Ok(Self::NoMatch),
            "unconditionalmatch" => return Ok(Self::UnconditionalMatch),
            "validateurlencoding" => return Ok(Self::ValidateUrlEncoding),
            "validateutf8encoding" => return Ok(Self::ValidateUtf8Encoding),
            _ => {}
        }
        let fixed = Self::fixed(&lower, argument, dynamic, env);
        fixed.unwrap_or_else(|| Err(unknown(name)))
    }

    /// Tests a value. `parameter` is the argument as expanded for this transaction; operators with a fixed argument do
    /// not look at it. Captures are written only on a match and only when asked for.
    #[must_use]
    pub fn test(&self, value: &[u8], parameter: &[u8], caches: &mut Caches, captures: Option<&mut Captures>) -> bool {
        match self {
            Self::DetectSqli => injection::sqli(value, captures),
            Self::DetectXss => injection::xss(value),
            Self::IpMatch(list) => list.contains(value),
            Self::NoMatch => false,
            Self::Number(comparison, fixed) => {
                comparison.holds(number::parse(value), fixed.unwrap_or_else(|| number::parse(parameter)))
            }
            Self::Pm(phrases) => phrases.test(value, captures),
            Self::Rx(rx) => rx.test(value, caches, captures),
            Self::RxGlobal(rx) => rx.test_global(value, caches, captures),
            Self::Text(relation, fixed) => relation.holds(value, fixed.as_deref().unwrap_or(parameter)),
            Self::UnconditionalMatch => true,
            Self::ValidateByteRange(allowed) => !value.iter().all(|&byte| allowed.contains(byte)),
            Self::ValidateUrlEncoding => !validate::is_url_encoded(value),
            Self::ValidateUtf8Encoding => !validate::is_utf8(value),
        }
    }

    /// Bytes that a test of a value of `length` bytes costs at most, for the work budget.
    #[must_use]
    pub fn work(&self, length: usize) -> u64 {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        match self {
            Self::NoMatch | Self::UnconditionalMatch | Self::Number(..) | Self::IpMatch(_) => 1,
            Self::DetectSqli | Self::DetectXss => length.saturating_mul(injection::PASSES),
            _ => length,
        }
    }

    /// The operators that must know their argument at load; `None` for an unknown name.
    fn fixed(lower: &str, argument: &str, dynamic: bool, env: &mut Env<'_>) -> Option<Result<Self, Unusable>> {
        type Compile = fn(&str, &mut Env<'_>) -> Result<Operator, Unusable>;
        let compile: Compile = match lower {
            "ipmatch" => |argument, _| Ok(Self::IpMatch(Arc::new(IpList::parse(argument)?))),
            "ipmatchf" | "ipmatchfromfile" => |argument, env| {
                let text = read(argument, env.files)?;
                Ok(Self::IpMatch(Arc::new(IpList::parse_lines(&text)?)))
            },
            "pm" => |argument, env| Ok(Self::Pm(env.patterns.pm(pm::phrases(argument))?)),
            "pmf" | "pmfromfile" => |argument, env| {
                let text = read(argument, env.files)?;
                Ok(Self::Pm(env.patterns.pm(pm::lines(&text))?))
            },
            "rx" => |argument, env| Ok(Self::Rx(env.patterns.rx(argument)?)),
            "rxglobal" => |argument, env| Ok(Self::RxGlobal(env.patterns.rx(argument)?)),
            "validatebyterange" => |argument, _| Ok(Self::ValidateByteRange(validate::ranges(argument)?)),
            _ => return None,
        };
        Some(if dynamic { Err(must_be_fixed()) } else { compile(argument, env) })
    }
}

impl Patterns {
    fn rx(&mut self, pattern: &str) -> Result<Arc<Rx>, Unusable> {
        if let Some(known) = self.rx.get(pattern) {
            return Ok(Arc::clone(known));
        }
        let rx = Arc::new(Rx::compile(pattern)?);
        self.rx.insert(pattern.into(), Arc::clone(&rx));
        Ok(rx)
    }

    fn pm(&mut self, phrases: Vec<Vec<u8>>) -> Result<Arc<Pm>, Unusable> {
        if let Some(known) = self.pm.get(&phrases) {
            return Ok(Arc::clone(known));
        }
        let pm = Arc::new(Pm::compile(&phrases)?);
        self.pm.insert(phrases, Arc::clone(&pm));
        Ok(pm)
    }
}

impl Unusable {
    fn new(message: impl Into<String>, at: usize) -> Self {
        Self { message: message.into(), hint: None, at }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Operators of the reference that this engine leaves out, and why.
fn unknown(name: &str) -> Unusable {
    let why = match name.to_ascii_lowercase().as_str() {
        "fuzzyhash" | "geolookup" | "gsblookup" | "inspectfile" | "rbl" | "rsub" => {
            "it needs files, networks or a mutable request"
        }
        "validatedtd" | "validatehash" | "validateschema" => "it needs a document type, a schema or a signed page",
        "verifycc" | "verifycpf" | "verifyssn" | "verifysvnr" => "leave the check of personal numbers to `@rx`",
        _ => return Unusable::new(format!("unknown operator `@{name}`"), 0),
    };
    Unusable::new(format!("operator `@{name}` is not supported"), 0).hint(why)
}

fn must_be_fixed() -> Unusable {
    Unusable::new("a macro in the argument of an operator that is compiled at load", 0)
        .hint("only comparisons of numbers and texts take macros")
}

fn read(path: &str, files: &mut dyn Files) -> Result<Vec<u8>, Unusable> {
    files.read(path.trim()).map_err(|why| Unusable::new(format!("cannot read `{}`: {why}", path.trim()), 0))
}
