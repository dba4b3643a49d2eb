//! Text of a rule that may hold macros, `%{tx.score}`, as a list of segments.

use crate::ir::names::{Names, Slot};
use crate::parse::ast::Variable;

/// Text with macros, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    segments: Box<[Segment]>,
}

/// A part of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Segment {
    /// Itself.
    Literal(Box<[u8]>),
    /// A TX variable.
    Tx(Slot),
    /// Any other variable, and the name behind its dot.
    Variable(Variable, Option<Box<[u8]>>),
}

impl Text {
    /// Compiles it; the error is the name of a macro that no variable has.
    pub(crate) fn compile(text: &str, names: &mut Names) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((before, macro_name, after)) = next_macro(rest) {
            let (word, key) = split_key(macro_name);
            let variable = variable(word).ok_or_else(|| macro_name.to_owned())?;
            if !before.is_empty() {
                segments.push(Segment::Literal(before.as_bytes().into()));
            }
            segments.push(match (variable, key) {
                (Variable::Tx, Some(key)) => Segment::Tx(names.intern(key.as_bytes())),
                (variable, key) => Segment::Variable(variable, key.map(|key| key.as_bytes().into())),
            });
            rest = after;
        }
        if !rest.is_empty() || segments.is_empty() {
            segments.push(Segment::Literal(rest.as_bytes().into()));
        }
        Ok(Self { segments: segments.into_boxed_slice() })
    }

    /// Text that is itself, whatever it holds.
    pub(crate) fn literal(text: &[u8]) -> Self {
        Self { segments: Box::new([Segment::Literal(text.into())]) }
    }

    /// The text, when it holds no macro.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        match &*self.segments {
            [] => Some(&[]),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it depends on nothing but TX variables and the rule.
    pub(crate) fn is_own(&self) -> bool {
        self.segments.iter().all(|segment| match segment {
            Segment::Literal(_) | Segment::Tx(_) => true,
            Segment::Variable(variable, _) => *variable == Variable::Rule,
        })
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it names the variable.
    pub(crate) fn names(&self, sought: Variable) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Variable(variable, _) if *variable == sought))
    }
}

/// Whether the text holds a macro of a variable that exists.
pub(crate) fn has_macro(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, name, after)) = next_macro(rest) {
        if variable(split_key(name).0).is_some() {
            return true;
        }
        rest = after;
    }
    false
}

fn next_macro(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("%{")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn split_key(name: &str) -> (&str, Option<&str>) {
    match name.split_once(['.', ':']) {
        Some((word, key)) => (word, Some(key)),
        None => (name, None),
    }
}

fn variable(word: &str) -> Option<Variable> {
    Variable::ALL.iter().copied().find(|variable| variable.name().eq_ignore_ascii_case(word))
}
