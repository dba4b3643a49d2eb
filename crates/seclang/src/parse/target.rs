//! Reads a rule's variables: `ARGS|!ARGS:/^token$/|&REQUEST_HEADERS:Host|XML:/*`.

use super::ast::{Selector, Spanned, Target, Variable};
use super::names::{self, EMPTY_VARIABLES, Support, nearest};
use super::report::Report;
use super::text::View;

/// The targets of a list, as far as they can be read.
pub(crate) fn targets(list: View<'_>, report: &mut Report) -> Vec<Spanned<Target>> {
    let mut found = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start();
        let (target, behind) = one(rest, report);
        found.extend(target);
        let Some(next) = behind.strip_prefix('|').or_else(|| behind.strip_prefix(',')) else { return found };
        rest = next;
    }
}

/// A single target, as `ctl:ruleRemoveTargetById` takes it.
pub(crate) fn target(text: View<'_>, report: &mut Report) -> Option<Spanned<Target>> {
    let (target, behind) = one(text, report);
    if !behind.as_str().is_empty() {
        report.error(&behind.place(), "only one variable can stand here").hint("repeat the action for each variable");
    }
    target
}

/// The first target and what stands behind it, which is empty or begins with a separator.
fn one<'t>(text: View<'t>, report: &mut Report) -> (Option<Spanned<Target>>, View<'t>) {
    let place = text.place();
    let mut rest = text;
    let (mut count, mut excluded) = (false, false);
    loop {
        rest = match rest.as_str().as_bytes().first() {
            Some(b'!') if !excluded && !count => {
                excluded = true;
                rest.split_at(1).1
            }
            Some(b'&') if !excluded && !count => {
                count = true;
                rest.split_at(1).1
            }
            _ => break,
        };
    }
    let end = rest.as_str().find(['|', ',', ':', ' ', '\t']).unwrap_or(rest.as_str().len());
    let (name, behind) = rest.split_at(end);
    let variable = variable(name, report);
    let (selector, behind) = match behind.strip_prefix(':') {
        Some(text) => match variable {
            Some(Variable::Xml) => xpath(text, report),
            _ => selector(text, report),
        },
        None => (None, behind),
    };
    let separated = behind.trim_start();
    if !separated.as_str().is_empty() && !separated.as_str().starts_with(['|', ',']) {
        report
            .error(&separated.place(), format!("`{}` stands behind a variable", shortened(separated.as_str())))
            .hint("variables are separated by `|`; a list with spaces stands in double quotes");
    }
    let separated = separated.split_at(separated.as_str().find(['|', ',']).unwrap_or(separated.as_str().len())).1;
    let Some(variable) = variable else { return (None, separated) };
    if selector.is_some() && !variable.has_members() {
        report
            .error(&name.place(), format!("`{}` is a single value and has no members", variable.name()))
            .hint("take away the colon and what follows it");
    }
    if variable == Variable::Xml && selector.is_none() && !excluded {
        report.error(&name.place(), "`XML` needs a path").hint(XML);
    }
    (Some(Spanned { value: Target { variable, count, excluded, selector }, place }), separated)
}

/// The variable of that name.
pub(crate) fn variable(name: View<'_>, report: &mut Report) -> Option<Variable> {
    let text = name.as_str();
    match names::find(EMPTY_VARIABLES, text) {
        Some((known, Support::Refused(why))) => {
            report.error(&name.place(), format!("variable `{known}` is not supported")).hint(why);
            return None;
        }
        Some((known, Support::Ignored(why))) => {
            report.ignored(&name.place(), format!("variable `{known}` is always empty"), why);
        }
        _ => {}
    }
    let found = named(text);
    if found.is_none() && text.is_empty() {
        report.error(&name.place(), "a variable is missing").hint("write its name, or take the sign before it away");
    } else if found.is_none() {
        let near = nearest(text, Variable::ALL.iter().map(|variable| variable.name()));
        let hint = match text.split_once('.') {
            Some((before, member)) if named(before).is_some() => {
                Some(format!("write `{before}:{}`: a colon stands before a member's name", shortened(member)))
            }
            _ => near.map(|near| format!("did you mean `{near}`?")),
        };
        report.error(&name.place(), format!("unknown variable `{}`", shortened(text))).maybe(hint);
    }
    found
}

fn named(name: &str) -> Option<Variable> {
    Variable::ALL.iter().copied().find(|variable| variable.name().eq_ignore_ascii_case(name))
}

const XML: &str = "write `XML:/*` for all text of the document or `XML://@*` for its attribute values";

fn xpath<'t>(text: View<'t>, report: &mut Report) -> (Option<Selector>, View<'t>) {
    let end = text.as_str().find(['|', ',']).unwrap_or(text.as_str().len());
    let (path, behind) = text.split_at(end);
    let path = path.trim().unquoted();
    if !matches!(path.as_str(), "/*" | "//@*") {
        report.error(&path.place(), format!("the path `{}` is not supported", shortened(path.as_str()))).hint(XML);
    }
    (Some(Selector::Name(path.as_str().to_owned())), behind)
}

fn selector<'t>(text: View<'t>, report: &mut Report) -> (Option<Selector>, View<'t>) {
    let (inner, behind) = match text.strip_prefix('\'') {
        Some(quoted) => {
            let Some(end) = unescaped(quoted.as_str(), '\'') else {
                report.error(&text.place(), "the quote `'` that opens here is not closed").hint("close it");
                return (None, text.slice(0..0));
            };
            let (inner, behind) = quoted.split_at(end);
            (inner, behind.split_at(1).1)
        }
        None if text.as_str().starts_with('/') => {
            let open = text.split_at(1).1;
            let end = unescaped(open.as_str(), '/').map_or(text.as_str().len(), |end| end + 2);
            text.split_at(end)
        }
        None => text.split_at(text.as_str().find(['|', ',', ' ', '\t']).unwrap_or(text.as_str().len())),
    };
    if inner.as_str().is_empty() {
        report.error(&inner.place(), "the name of a member is missing").hint("write it, or take away the colon");
        return (None, behind);
    }
    let inner = inner.replaced("\\'", "'");
    let inner = inner.view();
    let Some(pattern) = inner.strip_prefix('/') else {
        return (Some(Selector::Name(inner.as_str().to_owned())), behind);
    };
    match unescaped(pattern.as_str(), '/') {
        Some(end) if end + 1 == pattern.as_str().len() => {
            let pattern = pattern.split_at(end).0.as_str().replace("\\/", "/");
            (Some(Selector::Pattern(pattern)), behind)
        }
        Some(end) => {
            report
                .error(&pattern.place_at(end), "the pattern ends here, but text follows")
                .hint("write a `/` within a pattern as `\\/`");
            (None, behind)
        }
        None => {
            report
                .error(&inner.place(), "the pattern that begins here has no closing `/`")
                .hint("close it; a pattern that holds `|` or `,` stands in single quotes: `ARGS:'/^(a|b)$/'`");
            (None, behind)
        }
    }
}

/// Where the first `end` without a backslash stands.
fn unescaped(text: &str, end: char) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let found = !escaped && char::from(byte) == end;
        escaped = !escaped && byte == b'\\';
        found
    })
}

/// As much of a word as a message can hold.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
