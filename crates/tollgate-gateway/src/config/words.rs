//! How messages say what was expected and what was found. Decides nothing.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, ScanError};
use serde_json::Value;

use super::format;
use super::scalar::{Scalar, Typed};
use super::tree::{Kind, Node};
use super::union::{Branch, Type};

/// How much of the input a message repeats.
const LONGEST: usize = 60;

/// Input for a message: in backticks, on one line, no longer than a line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (index, c) in text.chars().enumerate() {
        if index == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// `a`, `b`, `c`.
pub(super) fn listed<'t>(names: impl IntoIterator<Item = &'t str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// What stands there, for `expected …, found …`. `secret` leaves the value itself out.
pub(super) fn found(node: &Node, secret: bool) -> String {
    let scalar = match &node.kind {
        Kind::List(_) => return "a list".to_owned(),
        Kind::Map(_) => return "a mapping".to_owned(),
        Kind::Unusable => return "something else".to_owned(),
        Kind::Scalar(scalar) => scalar,
    };
    let kind = match &scalar.value {
        Typed::Bool(_) => "the boolean",
        Typed::Float(_) | Typed::Integer(_) => "the number",
        Typed::Null => "nothing",
        Typed::Text(_) => "the string",
    };
    match (&scalar.written, &scalar.value) {
        (Some(written), Typed::Null) => format!("nothing in {}", quoted(written)),
        (Some(written), _) => format!("{kind} that {} stands for", quoted(written)),
        (None, Typed::Null) => kind.to_owned(),
        (None, _) if secret => kind.replace("the", "a"),
        (None, _) => format!("{kind} {}", shown(scalar)),
    }
}

/// The value of a scalar for a message: what was written, never what `${…}` stands for.
pub(super) fn shown(scalar: &Scalar) -> String {
    match (&scalar.written, &scalar.value) {
        (Some(written), _) => quoted(written),
        (None, Typed::Bool(value)) => format!("`{value}`"),
        (None, Typed::Float(value)) => format!("`{value}`"),
        (None, Typed::Integer(value)) => format!("`{value}`"),
        (None, Typed::Null) => "`null`".to_owned(),
        (None, Typed::Text(text)) => quoted(text),
    }
}

/// What the branches accept: "an integer from 1 to 65535 or one of `a`, `b`".
pub(super) fn expected(branches: &[Branch<'_>]) -> String {
    let constants: Vec<&str> = branches.iter().flat_map(Branch::constants).collect();
    let mut nouns: Vec<String> = Vec::new();
    for branch in branches {
        let noun = match branch.kind {
            Type::Null => continue,
            Type::String if branch.is_constant() => continue,
            _ => noun(branch),
        };
        if !nouns.contains(&noun) {
            nouns.push(noun);
        }
    }
    match constants.as_slice() {
        [] => {}
        [one] => nouns.insert(0, quoted(one)),
        several => nouns.insert(0, format!("one of {}", listed(several.iter().copied()))),
    }
    if nouns.is_empty() { "nothing".to_owned() } else { nouns.join(" or ") }
}

fn noun(branch: &Branch<'_>) -> String {
    match branch.kind {
        Type::Any => "a value".to_owned(),
        Type::Array => "a list".to_owned(),
        Type::Boolean => "`true` or `false`".to_owned(),
        Type::Integer => format!("an integer{}", range(branch)),
        Type::Null => "nothing".to_owned(),
        Type::Number => format!("a number{}", range(branch)),
        Type::Object => "a mapping".to_owned(),
        Type::String => {
            let known = branch.schema.get("format").and_then(Value::as_str).and_then(format::find);
            known.map_or("a string", |format| format.noun).to_owned()
        }
    }
}

/// ` from 1 to 65535`, with the bounds that the schema states.
pub(super) fn range(branch: &Branch<'_>) -> String {
    let bounds = branch.bounds();
    let number = |value: f64| value.to_string();
    match (bounds.least, bounds.most) {
        (Some(least), Some(most)) => format!(" from {} to {}", number(least), number(most)),
        (Some(least), None) if bounds.above => format!(" above {}", number(least)),
        (Some(least), None) => format!(" of at least {}", number(least)),
        (None, Some(most)) if bounds.below => format!(" below {}", number(most)),
        (None, Some(most)) => format!(" of at most {}", number(most)),
        (None, None) => String::new(),
    }
}

/// What a person who wrote this value probably meant, given what would have been accepted.
pub(super) fn slip(node: &Node, branches: &[Branch<'_>]) -> Option<String> {
    let accepts = |kind: Type| branches.iter().any(|branch| branch.kind == kind);
    let scalar = match &node.kind {
        Kind::Scalar(scalar) if scalar.written.is_none() => scalar,
        Kind::List(_) if accepts(Type::Object) => return Some("write named entries: `name: {…}`".to_owned()),
        _ => return None,
    };
    let numeric = accepts(Type::Integer) || accepts(Type::Number);
    match &scalar.value {
        Typed::Null => Some("give it a value, or remove the key".to_owned()),
        Typed::Text(text) if accepts(Type::Boolean) => boolean(text, scalar.quoted),
        Typed::Text(text) if numeric => number(text, scalar.quoted),
        Typed::Bool(_) | Typed::Float(_) | Typed::Integer(_) if accepts(Type::String) => {
            let open = branches.iter().any(|branch| branch.kind == Type::String && !branch.is_constant());
            (open && !branches.iter().any(Branch::is_secret)).then(|| "put it in quotes".to_owned())
        }
        _ if accepts(Type::Array) && !branches.iter().any(Branch::is_secret) => {
            Some("write it as a list: `[…]`".to_owned())
        }
        _ => None,
    }
}

fn boolean(text: &str, quotes: bool) -> Option<String> {
    let meant = match text.to_ascii_lowercase().as_str() {
        "true" | "false" if quotes => return Some("remove the quotes".to_owned()),
        "yes" | "y" | "on" | "true" | "enabled" => "true",
        "no" | "n" | "off" | "false" | "disabled" => "false",
        _ => return None,
    };
    Some(format!("write `{meant}`: only `true` and `false` are booleans"))
}

fn number(text: &str, quotes: bool) -> Option<String> {
    let trimmed = text.trim();
    match Scalar::plain(trimmed).value {
        Typed::Integer(_) | Typed::Float(_) if quotes => return Some("remove the quotes".to_owned()),
        _ => {}
    }
    let bare: String = trimmed.chars().filter(|c| !matches!(c, '_' | ',' | '\'' | ' ')).collect();
    let bare = if bare.len() > 1 { bare.trim_start_matches('0') } else { &bare };
    let digits = !bare.is_empty() && bare.len() <= 20 && bare.bytes().all(|byte| byte.is_ascii_digit());
    (digits && bare != text).then(|| format!("write `{bare}`: digits only, no leading zero"))
}

/// A syntax error in our words.
pub(super) fn syntax(error: &ScanError) -> (String, Option<&'static str>) {
    let (message, hint) = match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            ("a tab stands where spaces indent", Some("indent with spaces"))
        }
        ErrorKind::TabAtBlockScalarStart | ErrorKind::TabInPlainScalar => {
            ("a tab stands where YAML allows none", Some("use spaces, or quote the string"))
        }
        ErrorKind::DirectiveDisallowed => ("directives are refused", Some("remove the line that starts with `%`")),
        ErrorKind::UnclosedQuotedScalar => ("this quote is never closed", None),
        ErrorKind::MisplacedFlowCollectionEnd => ("this bracket closes nothing", None),
        ErrorKind::InvalidIndentation => ("the indentation fits no line above", Some("align it with its neighbours")),
        ErrorKind::MappingValueNotAllowed => {
            ("a `:` is not allowed here", Some("quote a string that holds `: `, and check the indentation"))
        }
        ErrorKind::SimpleKeyExpected => ("a `:` is missing after this key", Some("write `key: value`")),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping => ("a `[` or `{` is never closed", None),
        ErrorKind::ExpectedFlowMappingSeparator => ("a `,` or `}` is missing here", None),
        ErrorKind::ExpectedFlowSequenceSeparator => ("a `,` or `]` is missing here", None),
        ErrorKind::ExpectedBlockMappingKey => {
            ("a key is expected here", Some("check the indentation: keys of one mapping stand in one column"))
        }
        ErrorKind::RecursionLimitExceeded => ("nested too deep", None),
        other => {
            let words = other.to_string().replace('\'', "`");
            return (format!("not valid YAML: {}", words.trim_end_matches('.')), None);
        }
    };
    (message.to_owned(), hint)
}

/// `` `a`, `b` `` without repetition, in order; for hints that list what is known.
pub(super) fn known<'t>(names: impl IntoIterator<Item = &'t str>) -> Option<String> {
    let sorted: BTreeMap<&str, ()> = names.into_iter().map(|name| (name, ())).collect();
    match sorted.len() {
        0 => None,
        1..=16 => Some(format!("known here: {}", listed(sorted.into_keys()))),
        _ => None,
    }
}
