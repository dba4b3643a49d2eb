//! Reads one directive: its name, and which parts its arguments are.

use super::action::actions;
use super::ast::{Action, Directive, DirectiveKind, OperatorText, Rule, Setting, Spanned, Target, Variable, Which};
use super::ctl::range;
use super::lexer::{Line, Word, words};
use super::names::{self, DIRECTIVES, Support, nearest};
use super::operator::operator;
use super::report::Report;
use super::setting::setting;
use super::target::{shortened, targets};
use super::text::View;
use super::unicode::{self, unicode_map};
use crate::problem::Place;
use crate::source::Source;

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Step {
    /// Put this in the list.
    Directive(Directive),
    /// Read other files.
    Include { pattern: String, place: Place, optional: bool },
}

/// What the line asks for; `None` when it is wrong or does nothing.
pub(crate) fn step(line: &Line, source: &dyn Source, report: &mut Report) -> Option<Step> {
    let words = words(&line.text, report)?;
    let [name, arguments @ ..] = words.as_slice() else { return None };
    let place = name.view().place();
    let known = known(name.view(), report)?;
    let kind = match known {
        "Include" | "IncludeOptional" => {
            let [path] = exactly::<1>(known, &place, arguments, report)?;
            let (pattern, place) = (path.view().as_str().to_owned(), path.view().place());
            return Some(Step::Include { pattern, place, optional: known == "IncludeOptional" });
        }
        "SecAction" => {
            let [list] = exactly::<1>(known, &place, arguments, report)?;
            action(actions(list.view(), report), line, &place)
        }
        "SecDefaultAction" => {
            let [list] = exactly::<1>(known, &place, arguments, report)?;
            DirectiveKind::DefaultAction(actions(list.view(), report))
        }
        "SecMarker" => {
            let [name] = exactly::<1>(known, &place, arguments, report)?;
            DirectiveKind::Marker(name.view().as_str().to_owned())
        }
        "SecRule" => DirectiveKind::Rule(rule(&place, arguments, line, report)?),
        "SecRuleRemoveById" => DirectiveKind::RemoveById(ids(known, &place, arguments, report)?),
        "SecRuleRemoveByMsg" => {
            let [pattern] = exactly::<1>(known, &place, arguments, report)?;
            DirectiveKind::RemoveByMsg(pattern.view().as_str().to_owned())
        }
        "SecRuleRemoveByTag" => {
            let [pattern] = exactly::<1>(known, &place, arguments, report)?;
            DirectiveKind::RemoveByTag(pattern.view().as_str().to_owned())
        }
        "SecRuleUpdateActionById" => update_action(&place, arguments, report)?,
        "SecRuleUpdateTargetById" | "SecRuleUpdateTargetByMsg" | "SecRuleUpdateTargetByTag" => {
            update_target(known, &place, arguments, report)?
        }
        "SecUnicodeMapFile" => {
            let map = map(&place, arguments, source, report)?;
            DirectiveKind::Setting(Setting::UnicodeMap(map))
        }
        _ => DirectiveKind::Setting(setting(known, &place, arguments, report)?),
    };
    Some(Step::Directive(Directive { place, kind }))
}

/// The directive's name as the reference spells it, if it does something.
fn known(name: View<'_>, report: &mut Report) -> Option<&'static str> {
    let text = name.as_str();
    match names::find(DIRECTIVES, text) {
        Some((known, Support::Done)) => return Some(known),
        Some((known, Support::Ignored(instead))) => {
            report.ignored(&name.place(), format!("`{known}` does nothing"), instead);
        }
        Some((known, Support::Refused(why))) => {
            report.error(&name.place(), format!("`{known}` is not supported")).hint(why);
        }
        None if text.starts_with('<') => {
            report
                .error(&name.place(), format!("`{}` is a section of a web server's configuration", shortened(text)))
                .hint("take the section's first and last line away");
        }
        None => {
            let near = nearest(text, DIRECTIVES.iter().map(|(known, _)| *known));
            report
                .error(&name.place(), format!("unknown directive `{}`", shortened(text)))
                .maybe(near.map(|near| format!("did you mean `{near}`?")));
        }
    }
    None
}

/// The arguments, if there are as many as there should be.
fn exactly<'w, const N: usize>(
    name: &str,
    place: &Place,
    words: &'w [Word],
    report: &mut Report,
) -> Option<&'w [Word; N]> {
    if let Some((found, rest)) = words.split_first_chunk::<N>() {
        no_more(rest, report);
        return rest.is_empty().then_some(found);
    }
    let what = if N == 1 { "an argument".to_owned() } else { format!("{N} arguments") };
    report.error(place, format!("`{name}` needs {what}")).hint("an argument that holds spaces stands in double quotes");
    None
}

/// Nothing may follow.
pub(crate) fn no_more(rest: &[Word], report: &mut Report) {
    let Some(word) = rest.first() else { return };
    let text = word.view().as_str();
    report
        .error(&word.view().place(), format!("`{}` is one argument too many", shortened(text)))
        .hint("an argument that holds spaces stands in double quotes");
}

fn rule(place: &Place, words: &[Word], line: &Line, report: &mut Report) -> Option<Rule> {
    let [variables, test, rest @ ..] = words else {
        report
            .error(place, "`SecRule` needs variables and an operator")
            .hint("write `SecRule ARGS \"@rx pattern\" \"id:1,phase:2,deny\"`");
        return None;
    };
    let targets = targets(variables.view(), report);
    if !targets.is_empty() && targets.iter().all(|target| target.value.excluded) {
        report
            .error(&variables.view().place(), "every variable is left out, so the rule looks at nothing")
            .hint("name what to look at, as `ARGS|!ARGS:name`");
    }
    let operator = operator(test.view(), report).unwrap_or_else(|| {
        let name = "noMatch".to_owned();
        let argument_place = test.view().place();
        let value = OperatorText { negated: false, name, argument: String::new(), argument_place };
        Spanned { value, place: test.view().place() }
    });
    let actions = match rest {
        [] => Vec::new(),
        [list, more @ ..] => {
            no_more(more, report);
            actions(list.view(), report)
        }
    };
    Some(Rule { targets, operator, actions, links: Vec::new(), place: place.clone(), text: line.raw.clone() })
}

/// A `SecAction` that begins a chain is a rule that always matches.
fn action(actions: Vec<Spanned<Action>>, line: &Line, place: &Place) -> DirectiveKind {
    if !actions.iter().any(|action| action.value == Action::Chain) {
        return DirectiveKind::Action(actions);
    }
    DirectiveKind::Rule(always(actions, line.raw.clone(), place))
}

/// A rule that always matches.
pub(crate) fn always(actions: Vec<Spanned<Action>>, text: String, place: &Place) -> Rule {
    let target = Target { variable: Variable::UniqueId, count: false, excluded: false, selector: None };
    let operator = OperatorText {
        negated: false,
        name: "unconditionalMatch".to_owned(),
        argument: String::new(),
        argument_place: place.clone(),
    };
    Rule {
        targets: vec![Spanned { value: target, place: place.clone() }],
        operator: Spanned { value: operator, place: place.clone() },
        actions,
        links: Vec::new(),
        place: place.clone(),
        text,
    }
}

/// `1 2-9 "10,11"`
fn ids(name: &str, place: &Place, words: &[Word], report: &mut Report) -> Option<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for word in words {
        let mut rest = word.view().trim();
        while !rest.as_str().is_empty() {
            let end = rest.as_str().find([',', ' ', '\t']).unwrap_or(rest.as_str().len());
            let (one, behind) = rest.split_at(end);
            found.push(range(one, report)?);
            rest =
                behind.split_at(behind.as_str().len() - behind.as_str().trim_start_matches([',', ' ', '\t']).len()).1;
        }
    }
    if found.is_empty() {
        report.error(place, format!("`{name}` needs an id")).hint("write ids or ranges, as `942100 942200-942299`");
        return None;
    }
    Some(found)
}

/// `942100` or `942100:2`, the second being a link of the chain.
fn id_and_link(text: View<'_>, report: &mut Report) -> Option<(u64, u32)> {
    let (id, link) = match text.split_once(':') {
        Some((id, link)) => (id, super::action::number("link", link, 0..=u32::MAX, report)?),
        None => (text, 0),
    };
    Some((super::action::number("id", id, 1..=u64::MAX, report)?, link))
}

fn update_action(place: &Place, words: &[Word], report: &mut Report) -> Option<DirectiveKind> {
    let [rule, list] = exactly::<2>("SecRuleUpdateActionById", place, words, report)?;
    let (id, link) = id_and_link(rule.view(), report)?;
    let actions = actions(list.view(), report);
    for action in &actions {
        if matches!(action.value, Action::Id(_) | Action::Phase(_) | Action::Chain) {
            report
                .error(&action.place, "the id, phase and chain of a rule cannot be changed")
                .hint("remove the rule and write your own");
        }
    }
    Some(DirectiveKind::UpdateAction { id, link, actions })
}

fn update_target(name: &'static str, place: &Place, words: &[Word], report: &mut Report) -> Option<DirectiveKind> {
    let [which, variables, rest @ ..] = words else {
        report
            .error(place, format!("`{name}` needs a rule and variables"))
            .hint("write `SecRuleUpdateTargetById 942100 \"!ARGS:name\"`");
        return None;
    };
    let replaced = match rest {
        [] => None,
        [old, more @ ..] => {
            no_more(more, report);
            Some(targets(old.view(), report))
        }
    };
    let text = which.view();
    let which = match name {
        "SecRuleUpdateTargetById" if text.as_str().contains(':') => {
            let (id, link) = id_and_link(text, report)?;
            Which::Link { id, link }
        }
        "SecRuleUpdateTargetById" => Which::Ids(ids(name, place, std::slice::from_ref(which), report)?),
        "SecRuleUpdateTargetByMsg" => Which::Msg(text.as_str().to_owned()),
        _ => Which::Tag(text.as_str().to_owned()),
    };
    Some(DirectiveKind::UpdateTarget { which, targets: targets(variables.view(), report), replaced })
}

fn map(place: &Place, words: &[Word], source: &dyn Source, report: &mut Report) -> Option<Vec<(u32, u8)>> {
    let [file, page] = exactly::<2>("SecUnicodeMapFile", place, words, report)?;
    let page_number = super::action::number("the code page", page.view(), 0..=u32::MAX, report)?;
    let at = file.view().place();
    let path = crate::source::beside(&at.file, file.view().as_str());
    let bytes = match source.read(&path) {
        Ok(bytes) => bytes,
        Err(why) => {
            report.error(&at, format!("`{path}` cannot be read: {why}")).hint(
                "copy the file next to this one, or take the directive away: `%uHHHH` is then read by its low byte",
            );
            return None;
        }
    };
    match unicode_map(&bytes, page_number) {
        Ok(map) => Some(map),
        Err(unicode::Unusable::NoSuchPage) => {
            report
                .error(&page.view().place(), format!("`{path}` has no code page {page_number}"))
                .hint("the common one is 20127 (ASCII)");
            None
        }
        Err(unicode::Unusable::Malformed(line)) => {
            report
                .error(&at, format!("line {line} of `{path}` is no code page"))
                .hint("pairs of hexadecimal numbers are expected, as `00a0:20`");
            None
        }
    }
}
