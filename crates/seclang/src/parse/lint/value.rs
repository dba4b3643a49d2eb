//! Operators that cannot fit the values they are given.

use super::super::ast::{Selector, Spanned, Target, Variable};
use super::super::report::Report;
use super::{Subject, is_text, written};
use crate::transforms::Transform;

pub(super) fn lint(subject: &Subject<'_>, report: &mut Report) {
    match subject.operator() {
        "eq" | "ge" | "gt" | "le" | "lt" => numeric(subject, report),
        "ipMatch" | "ipMatchF" | "ipMatchFromFile" => address(subject, report),
        "within" => within(subject, report),
        "pm" => phrases(subject, report),
        _ => {}
    }
    counted(subject, report);
}

/// A text without leading digits counts as zero, so a comparison with it says nothing about it.
fn numeric(subject: &Subject<'_>, report: &mut Report) {
    let operator = subject.operator();
    let argument = subject.argument().trim();
    if subject.is_literal() && argument.parse::<i64>().is_err() {
        report
            .warn(subject.argument_place(), format!("`@{operator}` compares numbers, and `{argument}` counts as 0"))
            .hint("write a number, or compare texts by `@streq`");
    }
    if subject.transforms.iter().any(|(transform, _)| *transform == Transform::Length) {
        return;
    }
    for target in subject.targets().filter(|target| !target.value.count) {
        let name = written(&target.value);
        let Target { variable, selector, .. } = &target.value;
        if is_text(*variable) || (*variable == Variable::RequestHeaders && is_text_header(selector.as_ref())) {
            report
                .warn(&target.place, format!("`@{operator}` compares numbers, and `{name}` holds text"))
                .hint(format!("use `@streq` or `@rx`, `t:length` for its length, or `&{name}` for how many there are"));
        } else if *variable == Variable::Args && selector.is_none() {
            report
                .warn(&target.place, format!("`@{operator}` is asked of every argument's value, and text counts as 0"))
                .hint("write `&ARGS` for how many there are, or name the argument, as `ARGS:page`");
        }
    }
}

/// Headers that hold no number.
fn is_text_header(selector: Option<&Selector>) -> bool {
    const TEXT: [&str; 10] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "content-type",
        "cookie",
        "host",
        "origin",
        "referer",
        "user-agent",
    ];
    match selector {
        None => true,
        Some(Selector::Name(name)) => TEXT.iter().any(|known| known.eq_ignore_ascii_case(name)),
        Some(Selector::Pattern(_)) => false,
    }
}

fn address(subject: &Subject<'_>, report: &mut Report) {
    let no_address = |target: &&Spanned<Target>| {
        let Target { variable, selector, count, .. } = &target.value;
        *count
            || is_text(*variable)
            || matches!(variable, Variable::RemotePort | Variable::ServerPort)
            || (*variable == Variable::RequestHeaders && selector.is_some() && is_text_header(selector.as_ref()))
    };
    for target in subject.targets().filter(no_address) {
        let name = written(&target.value);
        report
            .warn(&target.place, format!("`{name}` holds no address for `@{}`", subject.operator()))
            .hint("`REMOTE_ADDR` is the client's address");
    }
}

/// `@within` asks whether the value is a part of the argument: easily taken for the reverse.
fn within(subject: &Subject<'_>, report: &mut Report) {
    if !subject.is_literal() || !subject.transforms.is_empty() {
        return;
    }
    let argument = subject.argument();
    let word = !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    for target in subject.targets().filter(|target| !target.value.count) {
        let reversed = match &target.value {
            Target { variable: Variable::RequestUri | Variable::RequestFilename, .. } => !argument.contains('/'),
            Target { variable: Variable::RequestLine, .. } => !argument.contains(' '),
            Target { variable: Variable::RequestHeaders, selector: Some(Selector::Name(name)), .. } => {
                word && ["user-agent", "referer", "cookie"].iter().any(|long| long.eq_ignore_ascii_case(name))
            }
            Target { variable: Variable::RequestBody | Variable::ResponseBody, .. } => word,
            _ => false,
        };
        if reversed {
            let name = written(&target.value);
            report
                .warn(subject.argument_place(), format!("`@within` asks whether `{name}` is a part of `{argument}`"))
                .hint(format!("write `@contains {argument}` to ask whether it holds that text"));
        }
    }
}

/// `@pm a,b` looks for the one phrase `a,b`.
fn phrases(subject: &Subject<'_>, report: &mut Report) {
    let argument = subject.argument();
    let mut words = argument.split_ascii_whitespace();
    let listed = match words.clone().count() {
        0 => false,
        1 => {
            argument.trim().split(',').filter(|part| is_word(part)).count() > 1
                && argument.trim().split(',').all(is_word)
        }
        count => {
            words.clone().take(count - 1).all(|word| word.strip_suffix(',').is_some_and(is_word))
                && words.next_back().is_some_and(is_word)
        }
    };
    if listed {
        report
            .warn(subject.argument_place(), "`@pm` takes spaces between its phrases; these commas are part of them")
            .hint(format!(
                "write `@pm {}`",
                argument.replace(',', " ").split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            ));
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A count is a number: an operator on text says little about it.
fn counted(subject: &Subject<'_>, report: &mut Report) {
    let operator = subject.operator();
    let argument = subject.argument();
    let text = match operator {
        "beginsWith" | "contains" | "containsWord" | "endsWith" | "streq" | "within" => {
            subject.is_literal() && !argument.bytes().any(|byte| byte.is_ascii_digit())
        }
        "rx" => super::pattern::needs_other_than_digits(argument),
        "detectSQLi"
        | "detectXSS"
        | "pmFromFile"
        | "pmf"
        | "validateByteRange"
        | "validateUrlEncoding"
        | "validateUtf8Encoding" => true,
        "pm" => !argument.bytes().any(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    if !text {
        return;
    }
    for target in subject.targets().filter(|target| target.value.count) {
        let name = written(&target.value);
        report
            .warn(&target.place, format!("`{name}` is a number, and `@{operator}` looks at text"))
            .hint(format!("write `@eq 0` or the like, or take the `&` away: `{}`", name.trim_start_matches('&')));
    }
}
