//! What a regular expression needs of a text before it can match.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::super::ast::{Selector, Variable};
use super::super::report::Report;
use super::Subject;

/// The dot of a host name matches any byte.
pub(super) fn lint(subject: &Subject<'_>, report: &mut Report) {
    let hosts = subject.targets().any(|target| match (&target.value.variable, &target.value.selector) {
        (Variable::ServerName, _) => true,
        (Variable::RequestHeaders, Some(Selector::Name(name))) => {
            ["host", "origin", "referer"].iter().any(|known| known.eq_ignore_ascii_case(name))
        }
        _ => false,
    });
    if subject.operator() != "rx" || !hosts {
        return;
    }
    if let Some(name) = bare_domain(subject.argument()) {
        report
            .warn(subject.argument_place(), format!("the dot in `{name}` stands for any byte"))
            .hint(format!("write `{}`", name.replace('.', "\\.")));
    }
}

/// A domain name whose dot is not escaped.
fn bare_domain(pattern: &str) -> Option<&str> {
    const ENDINGS: [&str; 13] =
        ["ai", "app", "com", "de", "dev", "edu", "gov", "info", "internal", "io", "local", "net", "org"];
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.');
    pattern.split(|char: char| !is_name(char)).find(|name| {
        let labels = name.rsplit_once('.');
        labels.is_some_and(|(before, ending)| {
            before.ends_with(|char: char| char.is_ascii_alphanumeric()) && ENDINGS.contains(&ending)
        })
    })
}

/// Whether no text of digits alone can match.
pub(super) fn needs_other_than_digits(pattern: &str) -> bool {
    needs(pattern, &|byte| !byte.is_ascii_digit())
}

/// Whether every match holds a byte of that kind. No for a pattern that cannot be read.
pub(super) fn needs(pattern: &str, kind: &dyn Fn(u8) -> bool) -> bool {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).nest_limit(100).build().parse(pattern);
    parsed.is_ok_and(|hir| must(&hir, kind))
}

fn must(hir: &Hir, kind: &dyn Fn(u8) -> bool) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().any(|&byte| kind(byte)),
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().all(|range| (range.start()..=range.end()).all(kind)) && class.iter().next().is_some()
        }
        HirKind::Class(Class::Unicode(_)) | HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => repetition.min > 0 && must(&repetition.sub, kind),
        HirKind::Capture(capture) => must(&capture.sub, kind),
        HirKind::Concat(parts) => parts.iter().any(|part| must(part, kind)),
        HirKind::Alternation(parts) => parts.iter().all(|part| must(part, kind)),
    }
}
