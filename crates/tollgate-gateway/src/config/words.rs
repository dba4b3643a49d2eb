//! How messages say what was expected and what was found. Decides nothing.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, ScanError};
use serde_json::Value;

use super::format;
use super::scalar::{Scalar, Typed};
use super::tree::{Kind, Node};
use super::union::{Branch, Type, external, tag};
use super::units::DurationText;

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
    let written = quoted(&scalar.written);
    match &scalar.value {
        _ if secret => kind.replace("the", "a"),
        Typed::Null if scalar.filled => format!("nothing in {written}"),
        Typed::Null => kind.to_owned(),
        _ if scalar.filled => format!("{kind} that {written} stands for"),
        _ => format!("{kind} {written}"),
    }
}

/// What the branches accept: "an integer from 1 to 65535 or one of `a`, `b`".
pub(super) fn expected(branches: &[Branch<'_>]) -> String {
    let constants: Vec<&str> = branches.iter().flat_map(Branch::constants).collect();
    let mut nouns: Vec<String> = Vec::new();
    let variants: Vec<Branch<'_>> = branches.iter().copied().filter(|branch| branch.kind == Type::Object).collect();
    let single = external(&variants).filter(|single| single.len() > 1 || (single.len() == 1 && !constants.is_empty()));
    for branch in branches {
        let noun = match (branch.kind, &single) {
            (Type::Null, _) => continue,
            (Type::String, _) if branch.is_constant() => continue,
            (Type::Object, Some(single)) => {
                let names: Vec<String> = single.iter().map(|(name, _)| quoted(name)).collect();
                format!("a mapping with {}", names.join(" or "))
            }
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
        Type::Integer | Type::Number if branch.bounds().only().is_some() => {
            format!("the number{}", branch.bounds().only().map(|only| format!(" `{only}`")).unwrap_or_default())
        }
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
fn range(branch: &Branch<'_>) -> String {
    let bounds = branch.bounds();
    let least = |least: f64| if bounds.above { format!("above {least}") } else { format!("at least {least}") };
    let most = |most: f64| if bounds.below { format!("below {most}") } else { format!("at most {most}") };
    match (bounds.least, bounds.most) {
        (Some(from), Some(to)) if !bounds.above && !bounds.below => format!(" from {from} to {to}"),
        (Some(from), Some(to)) => format!(" {} and {}", least(from), most(to)),
        (Some(from), None) => format!(" of {}", least(from)),
        (None, Some(to)) => format!(" of {}", most(to)),
        (None, None) => String::new(),
    }
}

/// What a person who wrote this value probably meant, given what would have been accepted.
pub(super) fn slip(node: &Node, branches: &[Branch<'_>]) -> Option<String> {
    let accepts = |kind: Type| branches.iter().any(|branch| branch.kind == kind);
    let scalar = match &node.kind {
        Kind::Scalar(scalar) if !scalar.filled => scalar,
        Kind::List(_) if accepts(Type::Object) => return Some("write named entries: `name: {…}`".to_owned()),
        _ => return None,
    };
    let numeric = accepts(Type::Integer) || accepts(Type::Number);
    match &scalar.value {
        Typed::Float(_) | Typed::Integer(_) if branches.iter().any(is_duration) => {
            Some(format!("add a unit, as in `{}s`", scalar.written))
        }
        Typed::Null => Some("give it a value, or remove the key".to_owned()),
        Typed::Text(text) if accepts(Type::Boolean) => boolean(text, scalar.quoted),
        Typed::Text(text) if numeric => number(text, scalar.quoted),
        Typed::Text(text) if accepts(Type::Object) => {
            let variants: Vec<Branch<'_>> = branches.iter().copied().filter(|b| b.kind == Type::Object).collect();
            let (key, names) = tag(&variants)?;
            names.iter().any(|(name, _)| name == text).then(|| format!("write `{{ {key}: {text} }}`"))
        }
        Typed::Bool(_) | Typed::Float(_) | Typed::Integer(_) if accepts(Type::String) => {
            let open = branches.iter().any(|branch| {
                branch.kind == Type::String && !branch.is_constant() && branch.schema.get("format").is_none()
            });
            open.then(|| "put it in quotes".to_owned())
        }
        _ if accepts(Type::Array) && !branches.iter().any(Branch::is_secret) => {
            Some("write it as a list: `[…]`".to_owned())
        }
        _ => None,
    }
}

fn is_duration(branch: &Branch<'_>) -> bool {
    branch.schema.get("format").and_then(Value::as_str) == Some(DurationText::FORMAT)
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

/// A sentence from elsewhere without its capital; a name in capitals stays.
pub(super) fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
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
        ErrorKind::InvalidQuotedScalarIndent => {
            ("a quoted string goes on here without indentation", Some("is a closing quote missing above?"))
        }
        ErrorKind::MismatchedFlowCollectionEnd { .. } => ("the brackets do not match", None),
        ErrorKind::UnknownQuotedScalarEscape => {
            ("a quoted string holds an unknown escape", Some("write `\\\\` for a backslash, or use single quotes"))
        }
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
