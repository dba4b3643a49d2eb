//! Texts in the other case than the transformed value, and the like.

use super::super::report::Report;
use super::Subject;
use crate::transforms::Transform;

pub(super) fn lint(subject: &Subject<'_>, report: &mut Report) {
    if subject.multi || !subject.is_literal() || subject.targets().any(|target| target.value.count) {
        return;
    }
    let Some(case) = case(subject) else { return };
    let argument = subject.argument();
    let foreign = |byte: u8| match case {
        Case::Lower => byte.is_ascii_uppercase(),
        Case::Upper => byte.is_ascii_lowercase(),
    };
    let never = match subject.operator() {
        "beginsWith" | "contains" | "containsWord" | "endsWith" | "streq" => argument.bytes().any(foreign),
        "within" => {
            argument.bytes().any(foreign) && argument.bytes().all(|byte| foreign(byte) || !byte.is_ascii_alphanumeric())
        }
        "rx" => super::pattern::needs(argument, &|byte| foreign(byte)),
        _ => false,
    };
    if !never {
        return;
    }
    let (transform, written) = match case {
        Case::Lower => ("lowercase", "lower case"),
        Case::Upper => ("uppercase", "upper case"),
    };
    let hint = match subject.operator() {
        "rx" => format!("write the pattern in {written}, put `(?i)` before it, or take `t:{transform}` away"),
        _ => format!("write the text in {written}, or take `t:{transform}` away"),
    };
    report
        .warn(
            subject.argument_place(),
            format!("the value is in {written} and this is not, so the rule {}", subject.outcome()),
        )
        .hint(hint);
}

#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
}

/// The case that every letter of the value has, if one is certain.
fn case(subject: &Subject<'_>) -> Option<Case> {
    subject.transforms.iter().fold(None, |case, (transform, _)| match transform {
        Transform::CmdLine | Transform::Lowercase => Some(Case::Lower),
        Transform::Uppercase => Some(Case::Upper),
        Transform::CompressWhitespace
        | Transform::NormalizePath
        | Transform::NormalizePathWin
        | Transform::RemoveComments
        | Transform::RemoveCommentsChar
        | Transform::RemoveNulls
        | Transform::RemoveWhitespace
        | Transform::ReplaceComments
        | Transform::ReplaceNulls
        | Transform::Trim
        | Transform::TrimLeft
        | Transform::TrimRight => case,
        _ => None,
    })
}
