//! Files of policies: found, read, parsed and validated, every mistake with its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use tollgate_core::check::{Checker, FilePlace};

use super::rule::Rule;
use crate::waf::Source;

/// The most policies of a configuration.
const MOST_POLICIES: usize = 10_000;
/// The most bytes of one file.
const LONGEST: usize = 4 << 20;

/// What policies may name: whether there is a thing of that type and id.
pub(super) type Known<'a> = dyn Fn(&str, &str) -> bool + 'a;

/// Reads policies into rules.
pub(super) struct Loader<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) validator: Validator,
    pub(super) known: &'a Known<'a>,
    /// Where each `@id` was seen first.
    pub(super) ids: HashMap<Box<str>, FilePlace>,
    pub(super) rules: Vec<Rule>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(source: &'a dyn Source, schema: Schema, known: &'a Known<'a>) -> Self {
        Self { source, validator: Validator::new(schema), known, ids: HashMap::new(), rules: Vec::new() }
    }

    /// Reads everything that `patterns` name. `check` stands in the section.
    pub(super) fn load(mut self, patterns: &[String], check: &mut Checker) -> Vec<Rule> {
        let mut files = BTreeMap::new();
        check.within("policies", |check| {
            for (i, pattern) in patterns.iter().enumerate() {
                match self.source.glob(pattern) {
                    Ok(found) if found.is_empty() => check.problem(i, format!("`{pattern}` names no file")),
                    Ok(found) => files.extend(found.into_iter().map(|file| (file, i))),
                    Err(why) => check.problem(i, format!("`{pattern}`: {why}")),
                }
            }
            for (file, i) in files {
                if !file.ends_with(".cedar") {
                    check.problem(i, format!("`{file}` is no file of policies: their names end with `.cedar`"));
                    continue;
                }
                match self.source.read(&file).map(String::from_utf8) {
                    Ok(Ok(text)) if text.len() <= LONGEST => self.file(&file, &text, check),
                    Ok(Ok(_)) => check.problem(i, format!("`{file}` is longer than {LONGEST} bytes")),
                    Ok(Err(_)) => check.problem(i, format!("`{file}` is not UTF-8")),
                    Err(why) => check.problem(i, format!("`{file}`: {why}")),
                }
            }
            if self.rules.len() > MOST_POLICIES {
                check.problem_here(format!("{} policies are more than {MOST_POLICIES}", self.rules.len()));
            }
        });
        self.rules
    }

    fn file(&mut self, file: &str, text: &str, check: &mut Checker) {
        let set = match PolicySet::from_str(text) {
            Ok(set) => set,
            Err(errors) => {
                for error in errors.iter() {
                    tell(check, (file, text), error, true, None);
                }
                return;
            }
        };
        for _ in set.templates() {
            let at = place(file, text, text.find('?').unwrap_or(0));
            check.elsewhere(at, true, "a template", Some("write the policy out".to_owned()));
        }
        let mut policies: Vec<&Policy> = set.policies().collect();
        // They are numbered as they stand in the text: `policy0`, `policy1`.
        policies.sort_by_key(|policy| number(policy.id()));
        let first = self.rules.len();
        for (i, policy) in policies.into_iter().enumerate() {
            let name = self.name(file, text, (i, policy), check);
            let policy = policy.new_id(PolicyId::new((first + i).to_string()));
            self.check_names(file, text, &policy, check);
            self.rules.push(Rule::new(name, policy));
        }
        let fresh = self.rules.iter().skip(first).map(|rule| rule.policy.clone());
        let Ok(renamed) = PolicySet::from_policies(fresh) else { return };
        let result = self.validator.validate(&renamed, ValidationMode::Strict);
        // A policy is judged once for each action, type of caller and type of resource: one mistake is said once.
        let mut said = HashSet::new();
        for error in result.validation_errors().filter(|error| said.insert(offset(*error))) {
            tell(check, (file, text), error, true, Some(error.policy_id()));
        }
        for warning in result.validation_warnings().filter(|warning| said.insert(offset(*warning))) {
            tell(check, (file, text), warning, false, Some(warning.policy_id()));
        }
    }

    fn name(&mut self, file: &str, text: &str, (i, policy): (usize, &Policy), check: &mut Checker) -> Box<str> {
        let Some(id) = policy.annotation("id") else { return format!("{file}#{}", i + 1).into() };
        let at = place(file, text, text.rfind(&format!("\"{id}\"")).unwrap_or(0));
        if id.is_empty() || id.len() > 128 {
            check.elsewhere(at.clone(), true, format!("`{id}` is not an id of 1 to 128 bytes"), None);
        }
        if let Some(first) = self.ids.get(id) {
            let first = format!("the other one is in {}:{}:{}", first.file, first.line, first.column);
            check.elsewhere(at, true, format!("`{id}` is the id of two policies"), Some(first));
        } else {
            self.ids.insert(id.into(), at);
        }
        id.into()
    }

    /// The validator knows types; that a name exists at all is for us to say. A `forbid` that names nothing forbids nothing.
    fn check_names(&self, file: &str, text: &str, policy: &Policy, check: &mut Checker) {
        for uid in policy.entity_literals() {
            let (kind, id) = (uid.type_name().basename(), uid.id().unescaped());
            if !(self.known)(kind, id) {
                let at = place(file, text, text.find(&uid.to_string()).unwrap_or(0));
                check.elsewhere(at, true, format!("`{uid}` is not in this configuration"), None);
            }
        }
    }
}

/// Number of `policyN`.
fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(usize::MAX)
}

fn tell(check: &mut Checker, (file, text): (&str, &str), said: &dyn Diagnostic, fatal: bool, of: Option<&PolicyId>) {
    let message = said.to_string();
    // Its number is ours, and the place says more.
    let prefix = of.map(|id| format!("for policy `{id}`, ")).unwrap_or_default();
    let message = message.strip_prefix(&prefix).unwrap_or(&message).trim_end_matches('.');
    let hint = said.help().map(|help| help.to_string());
    check.elsewhere(place(file, text, offset(said)), fatal, message, hint);
}

/// Where what is said begins.
fn offset(said: &dyn Diagnostic) -> usize {
    said.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

/// The place of a byte of a file.
fn place(file: &str, text: &str, offset: usize) -> FilePlace {
    let before = text.get(..offset).unwrap_or(text);
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
    FilePlace { file: file.to_owned(), line: count(lines), column: count(column) }
}
