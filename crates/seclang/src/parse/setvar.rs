//! Reads what `setvar` and `expirevar` say: `tx.name=+%{tx.other}`, `!ip.blocked`, `ip.blocked=60`.

use super::ast::{Action, Change, Variable};
use super::report::Report;
use super::target::{shortened, variable};
use super::text::View;

/// `setvar:…`
pub(crate) fn setvar(value: View<'_>, report: &mut Report) -> Option<Action> {
    let (unset, rest) = match value.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, value),
    };
    let (name, assigned) = divided(rest);
    let (collection, name) = member(name, report)?;
    if !matches!(
        collection,
        Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::Tx | Variable::User
    ) {
        report
            .error(&rest.place(), format!("`{}` cannot be set", collection.name()))
            .hint("`tx` can, and `ip`, `global`, `resource`, `session` and `user`");
        return None;
    }
    let change = match assigned {
        Some(assigned) if unset => {
            report.error(&assigned.place(), "what is deleted takes no value").hint("take the `!` or the value away");
            return None;
        }
        None if unset => Change::Unset,
        None => Change::Assign("1".to_owned()),
        Some(assigned) => match assigned.as_str().as_bytes().first() {
            Some(b'+') => Change::Add(assigned.split_at(1).1.as_str().to_owned()),
            Some(b'-') => Change::Subtract(assigned.split_at(1).1.as_str().to_owned()),
            _ => Change::Assign(assigned.as_str().to_owned()),
        },
    };
    Some(Action::SetVar { collection, name, change })
}

/// `expirevar:…`
pub(crate) fn expirevar(value: View<'_>, report: &mut Report) -> Option<Action> {
    let (name, Some(seconds)) = divided(value) else {
        report.error(&value.place(), "`expirevar` needs a variable and seconds").hint("write `expirevar:ip.name=60`");
        return None;
    };
    let (variable, name) = member(name, report)?;
    let collection = persistent(variable, value, report)?;
    Some(Action::ExpireVar { collection, name, seconds: seconds.as_str().to_owned() })
}

/// The collection, if it is one that outlives a transaction.
pub(crate) fn persistent(collection: Variable, at: View<'_>, report: &mut Report) -> Option<Variable> {
    match collection {
        Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::User => Some(collection),
        other => {
            report
                .error(&at.place(), format!("`{}` does not outlive a request", other.name()))
                .hint("`ip`, `global`, `resource`, `session` and `user` do");
            None
        }
    }
}

/// Before and behind the first `=` that is not part of a macro.
fn divided(text: View<'_>) -> (View<'_>, Option<View<'_>>) {
    let mut inside = false;
    let mut before = 0;
    let at = text.as_str().bytes().position(|byte| {
        match byte {
            b'{' if before == b'%' => inside = true,
            b'}' => inside = false,
            _ => {}
        }
        before = byte;
        byte == b'=' && !inside
    });
    match at {
        Some(at) => {
            let (name, rest) = text.split_at(at);
            (name.trim(), Some(rest.split_at(1).1.trim_start()))
        }
        None => (text.trim(), None),
    }
}

/// `collection.name`
fn member(text: View<'_>, report: &mut Report) -> Option<(Variable, String)> {
    match text.split_once('.') {
        Some((collection, name)) if !name.as_str().is_empty() => {
            Some((variable(collection, report)?, name.as_str().to_owned()))
        }
        _ => {
            report
                .error(&text.place(), format!("`{}` names no member of a collection", shortened(text.as_str())))
                .hint("write `tx.name`: a collection, a dot and a name");
            None
        }
    }
}
