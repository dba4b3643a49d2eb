//! Fills `${NAME}` and `${NAME:-default}` into the text of a scalar. Reads no environment itself: the caller passes one.
//!
//! Errors name variables and never anything else of the text, because the text may be a secret in the wrong place.

/// What came of a scalar's text.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Filled {
    /// There is no `${` in it.
    Same,
    /// The text with every reference replaced.
    New(String),
    /// What is wrong, with the number of the `${` it is about (counted in the text, from 0, escaped ones included).
    Wrong(Vec<(usize, Wrong)>),
}

/// A mistake in a reference.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
}

/// The text with its references replaced by what `env` knows.
pub(super) fn fill(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Filled {
    if !text.contains("${") {
        return Filled::Same;
    }
    let (mut out, mut wrong, mut opened) = (String::new(), Vec::new(), 0);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (rest.get(..at).unwrap_or(""), rest.get(at + 2..).unwrap_or(""));
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
        } else {
            out.push_str(before);
            let left = match reference(after, env) {
                Ok((value, left)) => {
                    out.push_str(&value);
                    left
                }
                Err((mistake, left)) => {
                    wrong.push((opened, mistake));
                    left
                }
            };
            let taken = after.get(..after.len() - left.len()).unwrap_or("");
            opened += taken.matches("${").count();
            rest = left;
        }
        opened += 1;
    }
    out.push_str(rest);
    if wrong.is_empty() { Filled::New(out) } else { Filled::Wrong(wrong) }
}

/// The value of the reference whose `${` was just passed, and the text behind its `}`.
fn reference<'t>(text: &'t str, env: &dyn Fn(&str) -> Option<String>) -> Result<(String, &'t str), (Wrong, &'t str)> {
    let Some((inside, rest)) = text.split_once('}') else {
        return Err((wrong("`${` is never closed", "close it with `}`, or write `$${` for a literal `${`"), ""));
    };
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, operator) = inside.split_at(end);
    let shell_like = operator.is_empty() || operator.starts_with(|c: char| c.is_ascii_punctuation());
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !shell_like {
        let mistake = wrong(
            "`${` is not followed by the name of a variable",
            "write `${NAME}`, `${NAME:-default}`, or `$${` for a literal `${`",
        );
        return Err((mistake, rest));
    }
    match operator.strip_prefix(":-") {
        Some(default) if default.contains("${") => {
            let mistake = wrong(format!("the default of `{name}` holds another `${{`"), "a default is plain text");
            Err((mistake, rest))
        }
        Some(default) => {
            let value = env(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned());
            Ok((value, rest))
        }
        None if !operator.is_empty() => {
            let mistake = wrong(
                format!("`${{{name}` is followed by something other than `}}` or `:-`"),
                format!("only `${{{name}}}` and `${{{name}:-default}}` are understood"),
            );
            Err((mistake, rest))
        }
        None => env(name).map(|value| (value, rest)).ok_or_else(|| {
            let mistake = wrong(
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-default}}`"),
            );
            (mistake, rest)
        }),
    }
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "LOOP" => Some("${A}".to_owned()),
            _ => None,
        }
    }

    fn good(text: &str) -> String {
        match fill(text, &env) {
            Filled::New(text) => text,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn references_are_filled_in() {
        for (text, expected) in [
            ("${A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            ("${NONE:-}", ""),
            ("${NONE:-a:b-$c}", "a:b-$c"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${A:-d}", "1"),
        ] {
            assert_eq!(good(text), expected, "{text}");
        }
    }

    #[test]
    fn a_doubled_dollar_before_a_brace_is_literal() {
        assert_eq!(good("$${A}"), "${A}");
        assert_eq!(good("$$${A} ${A}"), "$${A} 1");
        assert_eq!(fill("^a$", &env), Filled::Same);
        assert_eq!(fill("$A $$ {A}", &env), Filled::Same);
    }

    #[test]
    fn what_was_filled_in_is_not_read_again() {
        assert_eq!(good("${LOOP}"), "${A}");
    }

    #[test]
    fn every_other_form_is_refused_without_showing_the_text() {
        for text in [
            "${NONE}",
            "${",
            "${A",
            "${}",
            "${1A}",
            "${A:?hidden}",
            "${A:hidden}",
            "${A-hidden}",
            "${A:+hidden}",
            "${A#hidden}",
            "${!A}",
            "${ A }",
            "${A:-${A}}",
            "${hid den}",
            "${É}",
        ] {
            let Filled::Wrong(wrong) = fill(text, &env) else { panic!("{text} was accepted") };
            assert!(wrong.iter().all(|(_, w)| !w.message.contains("hid") && !w.hint.contains("hid den")), "{wrong:?}");
        }
    }

    #[test]
    fn several_mistakes_are_numbered_by_their_opening() {
        let Filled::Wrong(wrong) = fill("$${x} ${A} ${NONE} ${A:?}", &env) else { panic!("accepted") };
        assert_eq!(wrong.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 3]);
    }
}
