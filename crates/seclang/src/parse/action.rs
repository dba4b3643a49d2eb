//! Reads a list of actions: `id:1,phase:2,t:none,msg:'a, b',setvar:'tx.n=+1',deny`.

use super::ast::{Action, AllowScope, Spanned};
use super::names::{self, ACTIONS, Support, TRANSFORMS, nearest};
use super::report::Report;
use super::target::{shortened, variable};
use super::text::View;
use super::{ctl, setvar};
use crate::transforms::Transform;

/// The actions of a list, as far as they can be read.
pub(crate) fn actions(list: View<'_>, report: &mut Report) -> Vec<Spanned<Action>> {
    let mut found = Vec::new();
    let mut rest = list.trim();
    while !rest.as_str().is_empty() {
        let Some(end) = end(rest, report) else { return found };
        let (item, behind) = rest.split_at(end);
        let item = item.trim();
        if item.as_str().is_empty() {
            report.error(&item.place(), "an action is missing between two commas").hint("take one comma away");
        } else if let Some(value) = one(item, report) {
            found.push(Spanned { value, place: item.place() });
        }
        rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
    }
    found
}

/// Where the first comma outside of quotes stands, or the text ends.
fn end(list: View<'_>, report: &mut Report) -> Option<usize> {
    let mut open = None;
    let mut escaped = false;
    let mut value = false;
    let mut separator = None;
    for (at, byte) in list.as_str().bytes().enumerate() {
        match byte {
            b'\'' if open.is_some() && !escaped => open = None,
            b'\'' if open.is_none() && value => open = Some(at),
            b',' if open.is_none() => {
                separator = Some(at);
                break;
            }
            _ => {}
        }
        // A quote opens a value only at its beginning; elsewhere it is an apostrophe.
        value = matches!(byte, b':' | b'=' | b'!') || (value && byte == b' ');
        escaped = !escaped && byte == b'\\';
    }
    if let Some(at) = open.filter(|at| !list.split_at(*at).1.as_str().contains(',')) {
        report
            .warn(&list.place_at(at), "the quote `'` that opens here is not closed, and the text is taken to the end")
            .hint("close it");
    } else if let Some(at) = open {
        report
            .error(&list.place_at(at), "the quote `'` that opens here is not closed")
            .hint("close it; an apostrophe within the text is written `\\'`");
        return None;
    }
    Some(separator.unwrap_or(list.as_str().len()))
}

/// An action's name and value.
fn one(item: View<'_>, report: &mut Report) -> Option<Action> {
    let (name, raw) = match item.split_once(':') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (item, None),
    };
    let text = name.as_str();
    let known = match names::find(ACTIONS, text) {
        Some((known, Support::Done)) => known,
        Some((known, Support::Ignored(instead))) => {
            report.ignored(&name.place(), format!("action `{known}` does nothing"), instead);
            return Some(Action::Ignored(known.to_owned()));
        }
        Some((known, Support::Refused(why))) => {
            report.error(&name.place(), format!("action `{known}` is not supported")).hint(why);
            return None;
        }
        None => {
            let near = nearest(text, ACTIONS.iter().map(|(known, _)| *known));
            let hint = near.map_or_else(
                || "a value that holds a comma stands in single quotes".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            report.error(&name.place(), format!("unknown action `{}`", shortened(text))).hint(hint);
            return None;
        }
    };
    let unescaped = raw.map(|raw| unquoted(raw, report).replaced("\\'", "'"));
    let value = unescaped.as_ref().map(super::text::Text::view);
    if let Some(action) = flag(known) {
        if let Some(value) = value {
            report.error(&value.place(), format!("`{known}` takes no value")).hint(format!("write `{known}` alone"));
        }
        return Some(action);
    }
    match value {
        Some(value) if !value.as_str().is_empty() || may_be_empty(known) => valued(known, value, report),
        None if known == "allow" => Some(Action::Allow(AllowScope::All)),
        _ => {
            report.error(&name.place(), format!("`{known}` needs a value")).hint(format!("write `{known}:…`"));
            None
        }
    }
}

/// The value without its quotes.
fn unquoted<'t>(value: View<'t>, report: &mut Report) -> View<'t> {
    let Some(inside) = value.strip_prefix('\'') else { return value };
    let mut escaped = false;
    let close = inside.as_str().bytes().position(|byte| {
        let closes = !escaped && byte == b'\'';
        escaped = !escaped && byte == b'\\';
        closes
    });
    let (inside, behind) = inside.split_at(close.unwrap_or(inside.as_str().len()));
    if behind.as_str().len() > 1 {
        report
            .error(&behind.place_at(1), "text stands behind the closing quote")
            .hint("separate actions by commas; an apostrophe within the text is written `\\'`");
    }
    inside
}

/// Actions without a value.
fn flag(name: &str) -> Option<Action> {
    Some(match name {
        "auditlog" => Action::AuditLog(true),
        "block" => Action::Block,
        "capture" => Action::Capture,
        "chain" => Action::Chain,
        "deny" => Action::Deny,
        "drop" => Action::Drop,
        "log" => Action::Log(true),
        "multiMatch" => Action::MultiMatch,
        "noauditlog" => Action::AuditLog(false),
        "nolog" => Action::Log(false),
        "pass" => Action::Pass,
        _ => return None,
    })
}

fn may_be_empty(name: &str) -> bool {
    matches!(name, "logdata" | "msg" | "rev" | "ver")
}

fn valued(name: &'static str, value: View<'_>, report: &mut Report) -> Option<Action> {
    let text = || value.as_str().to_owned();
    Some(match name {
        "accuracy" => Action::Accuracy(number(name, value, 1..=9, report)?),
        "allow" => Action::Allow(allow(value, report)?),
        "ctl" => Action::Ctl(ctl::ctl(value, report)?),
        "expirevar" => setvar::expirevar(value, report)?,
        "id" => Action::Id(number(name, value, 1..=u64::MAX, report)?),
        "initcol" => initcol(value, report)?,
        "logdata" => Action::LogData(text()),
        "maturity" => Action::Maturity(number(name, value, 1..=9, report)?),
        "msg" => Action::Msg(text()),
        "phase" => Action::Phase(phase(value, report)?),
        "redirect" => Action::Redirect(text()),
        "rev" => Action::Rev(text()),
        "setenv" => Action::SetEnv(text()),
        "setsid" => Action::SetSid(text()),
        "setuid" => Action::SetUid(text()),
        "setvar" => setvar::setvar(value, report)?,
        "severity" => Action::Severity(severity(value, report)?),
        "skip" => Action::Skip(number(name, value, 1..=u32::MAX, report)?),
        "skipAfter" => Action::SkipAfter(text()),
        "status" => status(value, report)?,
        "t" => Action::Transform(transform(value, report)?),
        "tag" => Action::Tag(text()),
        "ver" => Action::Ver(text()),
        _ => return None,
    })
}

/// A number within its bounds.
pub(crate) fn number<N>(
    name: &str,
    value: View<'_>,
    bounds: std::ops::RangeInclusive<N>,
    report: &mut Report,
) -> Option<N>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let digits = value.as_str().bytes().all(|byte| byte.is_ascii_digit());
    let number = value.as_str().parse().ok().filter(|number| digits && bounds.contains(number));
    if number.is_none() {
        report
            .error(&value.place(), format!("`{}` is no value for `{name}`", shortened(value.as_str())))
            .hint(format!("write a number from {} to {}", bounds.start(), bounds.end()));
    }
    number
}

/// The recommended configuration of some years said `status:44`, and copies of it are everywhere.
fn status(value: View<'_>, report: &mut Report) -> Option<Action> {
    let code: u16 = number("status", value, 0..=u16::MAX, report)?;
    if (100..=599).contains(&code) {
        return Some(Action::Status(code));
    }
    report
        .warn(&value.place(), format!("there is no status {code}, and a refusal is answered by 403"))
        .hint("write `status:403`, or another one from 400 to 599");
    Some(Action::Ignored("status".to_owned()))
}

fn allow(value: View<'_>, report: &mut Report) -> Option<AllowScope> {
    match value.as_str().to_ascii_lowercase().as_str() {
        "phase" => Some(AllowScope::Phase),
        "request" => Some(AllowScope::Request),
        _ => {
            report
                .error(&value.place(), format!("`allow` knows no `{}`", shortened(value.as_str())))
                .hint("write `allow`, `allow:phase` or `allow:request`");
            None
        }
    }
}

fn initcol(value: View<'_>, report: &mut Report) -> Option<Action> {
    let Some((name, key)) = value.split_once('=') else {
        report
            .error(&value.place(), "`initcol` needs a collection and its key")
            .hint("write `initcol:ip=%{REMOTE_ADDR}`");
        return None;
    };
    let collection = setvar::persistent(variable(name.trim(), report)?, name, report)?;
    Some(Action::InitCol { collection, key: key.trim().as_str().to_owned() })
}

fn phase(value: View<'_>, report: &mut Report) -> Option<u8> {
    match value.as_str().to_ascii_lowercase().as_str() {
        "1" => Some(1),
        "2" | "request" => Some(2),
        "3" => Some(3),
        "4" | "response" => Some(4),
        "5" | "logging" => Some(5),
        other => {
            report
                .error(&value.place(), format!("there is no phase `{}`", shortened(other)))
                .hint("write 1 to 5, `request` (2), `response` (4) or `logging` (5)");
            None
        }
    }
}

const SEVERITIES: [&str; 8] = ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

fn severity(value: View<'_>, report: &mut Report) -> Option<u8> {
    let text = value.as_str();
    let found =
        (0_u8..).zip(SEVERITIES).find(|(number, name)| name.eq_ignore_ascii_case(text) || number.to_string() == text);
    if found.is_none() {
        let near = nearest(text, SEVERITIES.into_iter());
        let hint = near.map_or_else(
            || "write 0 (EMERGENCY) to 7 (DEBUG), or the name".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        report.error(&value.place(), format!("unknown severity `{}`", shortened(text))).hint(hint);
    }
    found.map(|(number, _)| number)
}

/// `Some(None)` is `t:none`.
fn transform(value: View<'_>, report: &mut Report) -> Option<Option<Transform>> {
    let text = value.as_str();
    if text.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    let found = Transform::from_name(text);
    if found.is_none() {
        let near = nearest(text, TRANSFORMS.iter().map(|(known, _)| *known));
        report
            .error(&value.place(), format!("unknown transformation `{}`", shortened(text)))
            .maybe(near.map(|near| format!("did you mean `{near}`?")));
    }
    found.map(Some)
}
