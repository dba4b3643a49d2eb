//! `REFERENCE.md` and the reader say the same, and no name that is called done is passed over.

use super::super::ast::Variable;
use super::super::names::{ACTIONS, CTLS, DIRECTIVES, EMPTY_VARIABLES, Name, OPERATORS, Support, TRANSFORMS};
use super::super::parse;
use super::problems;
use crate::operators::{Env, Files, Operator, Patterns};
use crate::source::Memory;
use crate::transforms::Transform;

/// Any file, with an address in it.
struct Any;

impl Files for Any {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(b"127.0.0.1".to_vec())
    }
}

/// The rows of a section: name, word, note.
fn rows(title: &str) -> Vec<(String, String, String)> {
    let page = include_str!("../../../REFERENCE.md");
    let section = page.split("\n## ").find(|section| section.starts_with(&format!("{title}\n"))).unwrap();
    let cells = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.splitn(3, " | ").map(str::to_owned);
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let word = cells.next()?;
        Some((name, word, cells.next()?.trim_end_matches('|').trim().to_owned()))
    };
    section.lines().filter_map(cells).collect()
}

fn expected(names: &[Name]) -> Vec<(String, String, String)> {
    let row = |&(name, support): &Name| match support {
        Support::Done => (name.to_owned(), "done".to_owned(), String::new()),
        Support::Ignored(why) => (name.to_owned(), "warns".to_owned(), why.to_owned()),
        Support::Refused(why) => (name.to_owned(), "refused".to_owned(), why.to_owned()),
    };
    names.iter().map(row).collect()
}

#[test]
fn the_reference_lists_every_name_with_what_becomes_of_it() {
    let variables = Variable::ALL.iter().map(|variable| (variable.name(), Support::Done));
    let known = variables.filter(|(name, _)| EMPTY_VARIABLES.iter().all(|(empty, _)| empty != name));
    let mut variables: Vec<Name> = known.chain(EMPTY_VARIABLES.iter().copied()).collect();
    variables.sort_by_key(|(name, _)| *name);
    for (title, names) in [
        ("Directives", DIRECTIVES),
        ("Variables", variables.as_slice()),
        ("Operators", OPERATORS),
        ("Transformations", TRANSFORMS),
        ("Actions", ACTIONS),
        ("Options of `ctl`", CTLS),
    ] {
        let mut listed = rows(title);
        // What is done may have any note.
        listed.iter_mut().filter(|(_, word, _)| word == "done").for_each(|(_, _, note)| note.clear());
        assert_eq!(listed, expected(names), "{title}");
    }
}

#[test]
fn names_are_listed_once_and_in_order() {
    for names in [DIRECTIVES, EMPTY_VARIABLES, OPERATORS, TRANSFORMS, ACTIONS, CTLS] {
        let lower: Vec<String> = names.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        assert!(lower.windows(2).all(|pair| pair[0] < pair[1]), "{lower:?}");
    }
}

#[test]
fn nothing_that_is_called_done_is_passed_over() {
    let read = |text: String| {
        let parsed = parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]);
        parsed.directives.len() + parsed.problems.len()
    };
    let done = |names: &'static [Name]| names.iter().filter(|(_, support)| *support == Support::Done);
    for (name, _) in done(DIRECTIVES) {
        let nothing = problems(name).is_empty();
        assert!(!nothing || *name == "SecResponseBodyMimeTypesClear", "{name}");
        assert!(read(format!("{name} \u{1} \u{1} \u{1} \u{1}")) > 0, "{name}");
    }
    for (name, _) in done(ACTIONS) {
        let alone = format!("SecRule ARGS x \"{name}\"");
        let with = format!("SecRule ARGS x \"{name}:1\"");
        let taken = |text: &str| {
            let parsed = parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]);
            let rule = match &parsed.directives.first().unwrap().kind {
                super::super::ast::DirectiveKind::Rule(rule) => rule.actions.len(),
                _ => 0,
            };
            rule > 0 && parsed.problems.iter().all(|problem| !problem.message.contains(name))
        };
        let told = problems(&alone).iter().chain(&problems(&with)).any(|problem| problem.message.contains(name));
        assert!(taken(&alone) || taken(&with) || told, "{name}");
    }
    for (name, _) in done(CTLS) {
        let text = format!("SecRule ARGS x \"id:1,ctl:{name}=\u{1}\"");
        let parsed = parse(&Memory::default().with("r.conf", text), &["r.conf".to_owned()]);
        let super::super::ast::DirectiveKind::Rule(rule) = &parsed.directives[0].kind else { panic!("{name}") };
        let taken = rule.actions.iter().any(|action| matches!(action.value, super::super::ast::Action::Ctl(_)));
        assert!(taken || !parsed.problems.is_empty(), "{name}");
    }
    let mut patterns = Patterns::default();
    for (name, support) in OPERATORS {
        let mut env = Env { files: &mut Any, patterns: &mut patterns };
        let compiled = Operator::compile(name, "1", false, &mut env);
        let unknown = compiled.is_err_and(|why| why.message.contains(name) && !why.message.contains("argument"));
        assert_eq!(unknown, *support != Support::Done, "{name}");
    }
    for (name, _) in done(TRANSFORMS).filter(|(name, _)| *name != "none") {
        assert!(Transform::from_name(name).is_some(), "{name}");
    }
    for transform in Transform::ALL {
        assert!(TRANSFORMS.iter().any(|(name, _)| *name == transform.name()), "{transform:?}");
    }
}
