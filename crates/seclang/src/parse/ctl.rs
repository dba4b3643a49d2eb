//! Reads the options of the action `ctl`: `ctl:ruleRemoveTargetById=942100;ARGS:q`.

use super::ast::{Ctl, Target};
use super::names::{self, CTLS, Support, nearest};
use super::report::Report;
use super::setting::{engine_mode, switch, xml_into_args};
use super::target::{shortened, target};
use super::text::View;

/// What stands behind `ctl:`.
pub(crate) fn ctl(text: View<'_>, report: &mut Report) -> Option<Ctl> {
    let Some((name, value)) = text.split_once('=') else {
        report.error(&text.place(), "`ctl` needs an option and its value").hint("write `ctl:ruleEngine=Off`");
        return None;
    };
    let (name, value) = (name.trim(), value.trim().unquoted());
    let known = match names::find(CTLS, name.as_str()) {
        Some((known, Support::Done)) => known,
        Some((known, Support::Ignored(instead))) => {
            report.ignored(&name.place(), format!("`ctl:{known}` does nothing"), instead);
            return Some(Ctl::Ignored(text.as_str().to_owned()));
        }
        Some((known, Support::Refused(why))) => {
            report.error(&name.place(), format!("`ctl:{known}` is not supported")).hint(why);
            return None;
        }
        None => {
            let near = nearest(name.as_str(), CTLS.iter().map(|(known, _)| *known));
            report
                .error(&name.place(), format!("unknown option `{}` of `ctl`", shortened(name.as_str())))
                .maybe(near.map(|near| format!("did you mean `{near}`?")));
            return None;
        }
    };
    if value.as_str().is_empty() {
        report.error(&value.place(), format!("`ctl:{known}` needs a value")).hint("write it behind the `=`");
        return None;
    }
    option(known, value, report)
}

fn option(name: &'static str, value: View<'_>, report: &mut Report) -> Option<Ctl> {
    let text = || value.as_str().to_owned();
    Some(match name {
        "auditEngine" => Ctl::AuditEngine(text()),
        "forceRequestBodyVariable" => Ctl::ForceRequestBodyVariable(switch(value, report)?),
        "parseXmlIntoArgs" => xml_into_args(value, report).then_some(Ctl::ParseXmlIntoArgs(false))?,
        "requestBodyAccess" => Ctl::RequestBodyAccess(switch(value, report)?),
        "requestBodyProcessor" => Ctl::RequestBodyProcessor(processor(value, report)?),
        "responseBodyAccess" => Ctl::ResponseBodyAccess(switch(value, report)?),
        "ruleEngine" => Ctl::RuleEngine(engine_mode(value, report)?),
        "ruleRemoveById" => {
            let (from, to) = range(value, report)?;
            Ctl::RuleRemoveById(from, to)
        }
        "ruleRemoveByMsg" => Ctl::RuleRemoveByMsg(text()),
        "ruleRemoveByTag" => Ctl::RuleRemoveByTag(text()),
        "ruleRemoveTargetById" => {
            let (which, target) = targeted(name, value, report)?;
            let (from, to) = range(which, report)?;
            Ctl::RuleRemoveTargetById(from, to, target)
        }
        "ruleRemoveTargetByMsg" => {
            let (which, target) = targeted(name, value, report)?;
            Ctl::RuleRemoveTargetByMsg(which.as_str().to_owned(), target)
        }
        "ruleRemoveTargetByTag" => {
            let (which, target) = targeted(name, value, report)?;
            Ctl::RuleRemoveTargetByTag(which.as_str().to_owned(), target)
        }
        _ => return None,
    })
}

fn processor(value: View<'_>, report: &mut Report) -> Option<String> {
    const KNOWN: [&str; 4] = ["JSON", "MULTIPART", "URLENCODED", "XML"];
    let known = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(value.as_str()));
    if known.is_none() {
        report
            .error(&value.place(), format!("unknown body processor `{}`", shortened(value.as_str())))
            .hint("JSON, MULTIPART, URLENCODED and XML are known");
    }
    known.map(str::to_owned)
}

fn targeted<'t>(name: &str, value: View<'t>, report: &mut Report) -> Option<(View<'t>, Target)> {
    let Some((which, variable)) = value.split_once(';') else {
        report
            .error(&value.place(), format!("`ctl:{name}` needs a rule and a variable"))
            .hint(format!("write `ctl:{name}=…;ARGS:name`"));
        return None;
    };
    let target = target(variable.trim(), report)?;
    if target.value.excluded || target.value.count {
        report
            .error(&target.place, "the variable to leave out stands alone here")
            .hint("take the `!` or `&` away: `ctl` leaves the variable out by itself");
    }
    Some((which.trim(), target.value))
}

/// `5` or `5-9`
pub(crate) fn range(text: View<'_>, report: &mut Report) -> Option<(u64, u64)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |view: View<'_>| {
        let text = view.trim().as_str();
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        (Some(_), Some(_)) => {
            report.error(&text.place(), "the range ends before it begins").hint("write the lower id first");
            None
        }
        _ => {
            report
                .error(&text.place(), format!("`{}` is no rule id", shortened(text.as_str())))
                .hint("write an id, as `942100`, or a range, as `942100-942199`");
            None
        }
    }
}
