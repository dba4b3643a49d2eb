//! `include:` at the root of the main file: which files, and how their trees become one.
//!
//! One level deep: an included file includes nothing. Never overrides: what two files both write is an error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_core::check::Step;

use super::load::Sources;
use super::place::Place;
use super::report::{Finding, Findings, name};
use super::scalar::{Scalar, Typed};
use super::tree::{Entry, Kind, Node};
use super::union::{Branch, Type, branches};
use super::words::{found, quoted};

/// The key at the root.
pub(super) const KEY: &str = "include";
/// How many files one configuration may include.
const MOST_FILES: usize = 1_000;

/// A file to include and the item that asks for it.
pub(super) struct Wanted {
    pub(super) file: PathBuf,
    pub(super) at: Place,
    pub(super) path: Vec<Step>,
}

/// What came of the patterns.
#[derive(Default)]
pub(super) struct Expanded {
    pub(super) files: Vec<Wanted>,
    pub(super) findings: Findings,
    pub(super) warnings: Vec<Finding>,
}

/// Takes `include` out of the main document and says which files it names.
pub(super) fn expand(root: &mut Node, main: &Path, sources: &Sources<'_>) -> Expanded {
    let mut out = Expanded::default();
    let Kind::Map(entries) = &mut root.kind else { return out };
    let Some(index) = entries.iter().position(|entry| entry.key == KEY) else { return out };
    let include = entries.remove(index).value;
    let path = vec![Step::Key(KEY.to_owned())];
    let items = match include.kind {
        Kind::List(items) => items,
        Kind::Unusable => return out,
        _ => {
            let message = format!("expected a list of files, found {}", found(&include, false));
            out.findings.push(Finding::new(include.place, &path, message).hint("write `include: [tenants/*.yaml]`"));
            return out;
        }
    };
    for (index, item) in items.iter().enumerate() {
        let mut path = path.clone();
        path.push(Step::Item(index));
        match &item.kind {
            Kind::Scalar(Scalar { value: Typed::Text(pattern), .. }) => {
                one(pattern, main, sources, &mut Asked { at: item.place, path, out: &mut out });
            }
            Kind::Unusable => {}
            _ => {
                let message = format!("expected the name of a file, found {}", found(item, false));
                out.findings.push(Finding::new(item.place, &path, message));
            }
        }
    }
    if out.files.len() > MOST_FILES {
        let message = format!("{} files are included, {MOST_FILES} are the most", out.files.len());
        out.findings.push(Finding::new(include.place, &path, message));
        out.files.clear();
    }
    out
}

/// Where a pattern stands, and what has come of those before it.
struct Asked<'o> {
    at: Place,
    path: Vec<Step>,
    out: &'o mut Expanded,
}

impl Asked<'_> {
    fn refuse(&mut self, message: impl Into<String>, hint: &str) {
        self.out.findings.push(Finding::new(self.at, &self.path, message).hint(hint));
    }

    fn want(&mut self, file: PathBuf) {
        if !self.out.files.iter().any(|wanted| wanted.file == file) {
            self.out.files.push(Wanted { file, at: self.at, path: self.path.clone() });
        }
    }
}

fn one(pattern: &str, main: &Path, sources: &Sources<'_>, asked: &mut Asked<'_>) {
    let base = main.parent().unwrap_or_else(|| Path::new(""));
    let (directory, last) = match pattern.rsplit_once('/') {
        Some(("", last)) => ("/", last),
        Some((directory, last)) => (directory, last),
        None => ("", pattern),
    };
    let strange = |c: char| matches!(c, '?' | '[' | ']' | '{' | '}' | '\\') || c.is_control();
    if last.is_empty() || directory.contains('*') || pattern.contains("**") || pattern.contains(strange) {
        let message = format!("{} is not a pattern that is understood", quoted(pattern));
        return asked.refuse(message, "write a file, or `DIRECTORY/*.yaml`: `*` stands in the file name alone");
    }
    if !last.contains('*') {
        let file = base.join(pattern);
        if file == main {
            return asked.refuse("the file includes itself", "remove it from the list");
        }
        return asked.want(file);
    }
    let directory = base.join(directory);
    let mut names = match (sources.list)(&directory) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("{} cannot be listed: {}", quoted(&directory.display().to_string()), error.kind());
            return asked.refuse(message, "patterns are relative to the file that includes");
        }
    };
    names.retain(|name| matches(last, name) && directory.join(name) != main);
    names.sort_unstable();
    if names.is_empty() {
        let message = format!("no file matches {}", quoted(pattern));
        asked.out.warnings.push(Finding::new(asked.at, &asked.path, message));
    }
    for name in names {
        asked.want(directory.join(name));
    }
}

/// Whether a file name matches a pattern in which `*` stands for any text. A leading dot must be written.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or("");
    }
    rest.is_empty()
}

/// Joins the trees of included files to the main one.
pub(super) struct Merge<'s> {
    schema: &'s Value,
    /// Section of the root -> its number among the main entries.
    sections: HashMap<String, usize>,
    /// Section -> name of an entry -> where it stands. Filled when a section is first shared.
    names: HashMap<String, HashMap<String, Place>>,
}

/// How two files may both write a section.
enum Sharing {
    Appended,
    Merged,
    Not,
}

impl<'s> Merge<'s> {
    pub(super) fn new(schema: &'s Value, root: &Node) -> Self {
        let sections = match &root.kind {
            Kind::Map(entries) => entries.iter().enumerate().map(|(index, e)| (e.key.clone(), index)).collect(),
            _ => HashMap::new(),
        };
        Self { schema, sections, names: HashMap::new() }
    }

    pub(super) fn add(&mut self, root: &mut Node, included: Node, files: &[PathBuf], findings: &mut Findings) {
        let entries = match included.kind {
            Kind::Map(entries) => entries,
            Kind::Unusable | Kind::Scalar(Scalar { value: Typed::Null, .. }) => return,
            _ => {
                let message = format!("expected a mapping, found {}", found(&included, false));
                return findings.push(Finding::new(included.place, &[], message));
            }
        };
        let Kind::Map(main) = &mut root.kind else { return };
        for entry in entries {
            if entry.key == KEY {
                let path = [Step::Key(entry.key)];
                let finding = Finding::new(entry.place, &path, "an included file includes nothing");
                findings.push(finding.hint("list the file in the main file"));
                continue;
            }
            match self.sections.get(&entry.key).and_then(|index| main.get_mut(*index)) {
                None => {
                    self.sections.insert(entry.key.clone(), main.len());
                    main.push(entry);
                }
                Some(have) => self.join(have, entry, files, findings),
            }
        }
    }

    fn join(&mut self, have: &mut Entry, more: Entry, files: &[PathBuf], findings: &mut Findings) {
        if matches!(have.value.kind, Kind::Scalar(Scalar { value: Typed::Null, .. })) {
            *have = more;
            return;
        }
        let sharing = self.sharing(&have.key);
        match (sharing, &mut have.value.kind, more.value.kind) {
            (Sharing::Appended, Kind::List(items), Kind::List(further)) => items.extend(further),
            (Sharing::Merged, Kind::Map(entries), Kind::Map(further)) => {
                let known = || entries.iter().map(|entry| (entry.key.clone(), entry.place)).collect();
                let names = self.names.entry(have.key.clone()).or_insert_with(known);
                for entry in further {
                    match names.get(&entry.key) {
                        Some(first) => {
                            let path = [Step::Key(have.key.clone()), Step::Key(entry.key.clone())];
                            findings.push(twice(&entry.key, entry.place, *first, files, &path));
                        }
                        None => {
                            names.insert(entry.key.clone(), entry.place);
                            entries.push(entry);
                        }
                    }
                }
            }
            (_, Kind::Unusable, _) | (_, _, Kind::Unusable | Kind::Scalar(Scalar { value: Typed::Null, .. })) => {}
            _ => findings.push(twice(&more.key, more.place, have.place, files, &[Step::Key(more.key.clone())])),
        }
    }

    fn sharing(&self, section: &str) -> Sharing {
        let schema = self.schema.get("properties").and_then(|properties| properties.get(section));
        let branches = schema.map(|schema| branches(schema, self.schema)).unwrap_or_default();
        let named = |branch: &Branch<'_>| branch.kind == Type::Object && branch.named().is_some();
        if branches.iter().any(named) {
            Sharing::Merged
        } else if branches.iter().any(|branch| branch.kind == Type::Array) {
            Sharing::Appended
        } else {
            Sharing::Not
        }
    }
}

fn twice(what: &str, at: Place, first: Place, files: &[PathBuf], path: &[Step]) -> Finding {
    let file = name(files, first.file).display();
    let message = format!("{} is written twice: first at {file}:{}:{}", quoted(what), first.line, first.column);
    Finding::new(at, path, message).hint("keep one of them: included files add, they never override")
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_matches_any_text_within_a_name() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", false),
            ("*.yaml", ".hidden.yaml", false),
            (".*.yaml", ".hidden.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "anything", true),
            ("x.yaml", "x.yaml", true),
            ("x.yaml", "xx.yaml", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
