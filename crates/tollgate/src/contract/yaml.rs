//! Writes values as YAML that our own loader reads back as they were. Texts come from outside: each is quoted unless it is
//! a plain word, and `${` is escaped, or it would be filled in.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The longest line before a list or a mapping is written in lines of its own.
const WIDTH: usize = 100;

/// Writes `value` behind a key at `indent`: on the same line where it is short.
pub(super) fn behind(out: &mut String, value: &Value, indent: usize) {
    let short = flow(value);
    if indent + short.len() <= WIDTH || !is_nested(value) {
        out.push(' ');
        out.push_str(&short);
        out.push('\n');
        return;
    }
    out.push('\n');
    let pad = " ".repeat(indent + 2);
    match value {
        Value::Object(members) => {
            for (key, member) in ordered(members) {
                let _ = write!(out, "{pad}{}:", text(key));
                behind(out, member, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{pad}-");
                behind(out, item, indent + 2);
            }
        }
        _ => {}
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    }
}

/// Writes a value on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<_> =
                ordered(members).map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::String(value) => text(value),
        // 4096.0 of a document is the 4096 that its author wrote.
        other => {
            let number = other.to_string();
            number.strip_suffix(".0").map(str::to_owned).unwrap_or(number)
        }
    }
}

/// What something is comes first, what it is made of last.
fn ordered(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(key, _)| match key.as_str() {
        "type" => 0,
        "$defs" => 2,
        _ => 1,
    });
    members.into_iter()
}

/// A text: plain where it is a word that means nothing else.
pub(super) fn text(text: &str) -> String {
    const WORDS: [&str; 9] = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte);
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let plain = starts && text.bytes().all(word);
    if plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.replace("${", "$${").chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' | '\u{a1}'..='\u{ff}' | '\u{100}'..='\u{17f}' => out.push(letter),
            other => {
                let _ = if u32::from(other) > 0xFFFF {
                    write!(out, "\\U{:08x}", u32::from(other))
                } else {
                    write!(out, "\\u{:04x}", u32::from(other))
                };
            }
        }
    }
    out.push('"');
    out
}

/// A text that may stand in a comment: on one line, and not endless.
pub(super) fn comment(text: &str) -> String {
    text.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
