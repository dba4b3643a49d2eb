//! Rule sets and configurations of others, read where they are installed.

use std::path::{Path, PathBuf};

use super::super::ast::{Action, Directive, DirectiveKind};
use super::super::{Parsed, parse};
use crate::problem::{Problem, Severity};
use crate::source::Source;

/// The files of a machine.
struct Disk;

impl Source for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some((folder, end)) = pattern.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut found: Vec<String> = entries
            .flatten()
            .map(|entry| entry.path().to_string_lossy().into_owned())
            .filter(|path| path.ends_with(end))
            .collect();
        found.sort();
        Ok(found)
    }
}

/// The Core Rule Set that `TOLLGATE_CRS_DIR` names, or the one beside the repository.
fn core_rules() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/crs");
    let folder = std::env::var_os("TOLLGATE_CRS_DIR").map_or_else(beside, PathBuf::from);
    folder.join("rules").is_dir().then_some(folder)
}

fn read(files: &[String]) -> Parsed {
    parse(&Disk, files)
}

fn errors(parsed: &Parsed) -> Vec<String> {
    parsed.problems.iter().filter(|problem| problem.severity == Severity::Error).map(Problem::to_string).collect()
}

fn count(directives: &[Directive], which: impl Fn(&DirectiveKind) -> usize) -> usize {
    directives.iter().map(|directive| which(&directive.kind)).sum()
}

#[test]
fn the_core_rule_set_is_read_whole() {
    let Some(folder) = core_rules() else { return };
    let files = [
        folder.join("crs-setup.conf.example").to_string_lossy().into_owned(),
        format!("{}/rules/*.conf", folder.display()),
    ];
    let parsed = read(&files);
    assert_eq!(errors(&parsed), Vec::<String>::new());
    assert_eq!(parsed.problems, Vec::new());

    let rules: Vec<Directive> = read(&files[1..]).directives;
    let ids = |actions: &[super::super::ast::Spanned<Action>]| {
        actions.iter().filter(|action| matches!(action.value, Action::Id(_))).count()
    };
    let counts = [
        count(&rules, |kind| match kind {
            DirectiveKind::Rule(rule) => ids(&rule.actions),
            DirectiveKind::Action(actions) => ids(actions),
            _ => 0,
        }),
        count(&rules, |kind| if let DirectiveKind::Rule(rule) = kind { 1 + rule.links.len() } else { 0 }),
        count(&rules, |kind| usize::from(matches!(kind, DirectiveKind::UpdateTarget { .. }))),
        count(&rules, |kind| usize::from(matches!(kind, DirectiveKind::Marker(_)))),
        count(&rules, |kind| usize::from(matches!(kind, DirectiveKind::Action(_)))),
    ];
    assert_eq!(counts, [629, 695, 55, 30, 7]);
}

#[test]
fn the_core_rule_set_of_debian_is_read_whole() {
    if !Path::new("/usr/share/modsecurity-crs/rules").is_dir() {
        return;
    }
    let parsed = read(&["/usr/share/modsecurity-crs/rules/*.conf".to_owned()]);
    assert_eq!(errors(&parsed), Vec::<String>::new());
    // Geography, block lists (twice said: the operator and its variable) and parts of the audit log.
    assert_eq!(parsed.problems.len(), 4);
    // Four rules of that version decode twice, and two log a capture that they do not make.
    let doubts = super::super::lint(&parsed.directives);
    let kinds = |part: &str| doubts.iter().filter(|doubt| doubt.message.contains(part)).count();
    assert_eq!((kinds("decoded twice"), kinds("captures nothing"), doubts.len()), (4, 2, 6));
}

#[test]
fn the_recommended_configuration_is_read_with_warnings_only() {
    let path = "/etc/nginx/modsecurity.conf";
    if !Path::new(path).is_file() {
        return;
    }
    let parsed = read(&[path.to_owned()]);
    assert_eq!(errors(&parsed), Vec::<String>::new());
}

#[test]
fn the_core_rule_set_gives_no_cause_for_doubt() {
    let Some(folder) = core_rules() else { return };
    let files = [
        folder.join("crs-setup.conf.example").to_string_lossy().into_owned(),
        format!("{}/rules/*.conf", folder.display()),
    ];
    let doubts: Vec<String> = super::super::lint(&read(&files).directives).iter().map(Problem::to_string).collect();
    assert_eq!(doubts, Vec::<String>::new());
}
