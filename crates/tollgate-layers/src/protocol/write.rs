//! Writing JSON.

use std::fmt::Write;

/// Appends `text` as a JSON string.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Line and paragraph separators end a line in old JavaScript; `<` begins a tag in a page.
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' | '<' => {
                write!(out, "\\u{:04x}", u32::from(letter)).expect("a string takes everything");
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Appends a value that prints as JSON: an integer, a boolean, or a float in `{:?}`, which is the shortest that reads
/// back as the same and uses an exponent where it helps.
pub(crate) fn value(out: &mut String, value: impl std::fmt::Debug) {
    write!(out, "{value:?}").expect("a string takes everything");
}

/// Appends the items of a list, separated by commas, in brackets.
pub(crate) fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut String, T)) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}
