//! Checks a parsed document against the schema of the type it will fill, and collects every violation.
//!
//! Written for its messages: a general validator says that a value is "not valid under any of the given schemas"; this
//! one says what was expected and what was found, at the place, once. It knows the part of JSON Schema that schemars
//! writes for Rust types. `pattern` is left to the named formats and to serde.

use std::collections::HashSet;

use serde_json::Value;
use tollgate_core::check::Step;

use super::format;
use super::nearest::nearest;
use super::place::Place;
use super::report::{Finding, Findings};
use super::scalar::{Scalar, Typed};
use super::tree::{Entry, Kind, Node};
use super::union::{Branch, Type, branches, external, tag};
use super::words::{expected, found, known, listed, lower, quoted, slip};

/// How many comparisons one check may take. Alternatives are tried one after the other; nested they multiply.
const MOST_STEPS: usize = 4_000_000;

/// Every way in which the document is not what the schema wants. `whole` is false while a part of the document is
/// missing because its file could not be parsed: then what the root lacks may stand there.
pub(super) fn check(document: &Node, schema: &Value, whole: bool) -> Findings {
    let mut shape = Shape { root: schema, path: Vec::new(), findings: Findings::default(), steps: 0, whole };
    shape.value(document, schema);
    if shape.steps > MOST_STEPS {
        shape.finding(document.place, "the configuration takes too long to check", None);
    }
    shape.findings
}

struct Shape<'s> {
    root: &'s Value,
    path: Vec<Step>,
    findings: Findings,
    steps: usize,
    whole: bool,
}

impl<'s> Shape<'s> {
    fn value(&mut self, node: &Node, schema: &'s Value) {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return;
        }
        let all = branches(schema, self.root);
        let fitting: Vec<Branch<'s>> = all.iter().copied().filter(|branch| branch.kind.fits(node)).collect();
        if matches!(node.kind, Kind::Unusable) || all.iter().any(|branch| branch.kind == Type::Any) {
            return;
        }
        if fitting.is_empty() {
            return self.mismatch(node, &all);
        }
        match &node.kind {
            Kind::List(items) => self.best(&fitting, |shape, branch| shape.list(node, items, branch)),
            Kind::Map(entries) => self.mapping(node, entries, &fitting),
            Kind::Scalar(scalar) => self.scalar(node, scalar, &fitting, &all),
            Kind::Unusable => {}
        }
    }

    fn mismatch(&mut self, node: &Node, all: &[Branch<'s>]) {
        let secret = all.iter().any(Branch::is_secret);
        let message = format!("expected {}, found {}", expected(all), found(node, secret));
        self.finding(node.place, message, slip(node, all));
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, fitting: &[Branch<'s>], all: &[Branch<'s>]) {
        match &scalar.value {
            Typed::Bool(_) | Typed::Null => {}
            #[expect(
                clippy::cast_precision_loss,
                reason = "bounds beyond 2^53 are those of the type: serde holds them"
            )]
            Typed::Integer(value) => self.number(node, *value as f64, fitting),
            Typed::Float(value) => self.number(node, *value, fitting),
            Typed::Text(text) => self.text(node, scalar, text, all),
        }
    }

    fn number(&mut self, node: &Node, value: f64, fitting: &[Branch<'s>]) {
        if fitting.iter().any(|branch| branch.bounds().hold(value)) {
            return;
        }
        let message = format!("expected {}, found {}", expected(fitting), found(node, false));
        self.finding(node.place, message, None);
    }

    fn text(&mut self, node: &Node, scalar: &Scalar, text: &str, all: &[Branch<'s>]) {
        let strings: Vec<Branch<'s>> = all.iter().copied().filter(|branch| branch.kind == Type::String).collect();
        let constants: Vec<&str> = strings.iter().flat_map(Branch::constants).collect();
        if constants.contains(&text) {
            return;
        }
        let mut first = None;
        for branch in strings.iter().filter(|branch| !branch.is_constant()) {
            match unfit(branch, scalar, text) {
                None => return,
                Some(why) => first = first.or(Some(why)),
            }
        }
        if let Some((message, hint)) = first {
            return self.finding(node.place, message, hint);
        }
        let written = quoted(&scalar.written);
        let what = if scalar.filled { format!("what {written} stands for") } else { written };
        let takes_more = all.iter().find(|branch| branch.kind == Type::Object && branch.property(text).is_some());
        if takes_more.is_some() && !scalar.filled {
            let message = format!("{what} takes a value of its own, found the name alone");
            return self.finding(node.place, message, Some(format!("write `{{ {text}: … }}`")));
        }
        let others: Vec<Branch<'s>> = all.iter().copied().filter(|branch| branch.kind != Type::String).collect();
        let beside = if others.iter().all(|branch| branch.kind == Type::Null) {
            String::new()
        } else {
            format!(", nor {}", expected(&others))
        };
        let message = match constants.as_slice() {
            [one] => format!("{what} is not {}{beside}", quoted(one)),
            several => format!("{what} is not one of {}{beside}", listed(several.iter().copied())),
        };
        let meant = if scalar.filled { None } else { nearest(text, constants.iter().copied()) };
        let hint = meant.map(did_you_mean).or_else(|| slip(node, all));
        self.finding(node.place, message, hint);
    }

    fn list(&mut self, node: &Node, items: &[Node], branch: Branch<'s>) {
        let (least, most) = (branch.limit("minItems"), branch.limit("maxItems"));
        let wrong = least.is_some_and(|least| items.len() < least) || most.is_some_and(|most| items.len() > most);
        if wrong {
            let message = format!("expected {}, found {}", count(least, most, "item"), items.len());
            self.finding(node.place, message, None);
        }
        let first: &[Value] = branch.schema.get("prefixItems").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let rest = branch.schema.get("items");
        let mut seen = branch.schema.get("uniqueItems").is_some_and(|unique| unique == true).then(HashSet::new);
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Item(index));
            if let Some(schema) = first.get(index).or(rest) {
                self.value(item, schema);
            }
            if let (Some(seen), Kind::Scalar(scalar)) = (&mut seen, &item.kind)
                && !seen.insert(scalar.to_json().to_string())
            {
                self.finding(item.place, format!("{} is listed twice", quoted(&scalar.written)), None);
            }
            self.path.pop();
        }
    }

    fn mapping(&mut self, node: &Node, entries: &[Entry], fitting: &[Branch<'s>]) {
        if let [one] = fitting {
            return self.object(node, entries, *one);
        }
        if let Some((key, variants)) = tag(fitting) {
            return self.tagged(node, entries, key, &variants);
        }
        match external(fitting) {
            Some(variants) => self.external(node, entries, &variants),
            None => self.best(fitting, |shape, branch| shape.object(node, entries, branch)),
        }
    }

    fn tagged(&mut self, node: &Node, entries: &[Entry], key: &'s str, variants: &[(&'s str, Branch<'s>)]) {
        let names = || variants.iter().map(|(name, _)| *name);
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            if node.partial {
                return;
            }
            self.path.push(Step::Key(key.to_owned()));
            let hint = format!("it is one of {}", listed(names()));
            self.finding(node.place, format!("{} is missing", quoted(key)), Some(hint));
            self.path.pop();
            return;
        };
        let written = match &entry.value.kind {
            Kind::Scalar(Scalar { value: Typed::Text(text), .. }) => Some(text.as_str()),
            _ => None,
        };
        let chosen: Vec<Branch<'s>> =
            variants.iter().filter(|(name, _)| Some(*name) == written).map(|(_, branch)| *branch).collect();
        if !chosen.is_empty() {
            return self.best(&chosen, |shape, branch| shape.object(node, entries, branch));
        }
        self.path.push(Step::Key(key.to_owned()));
        let constants: Vec<Branch<'s>> = variants
            .iter()
            .filter_map(|(_, branch)| branch.property(key))
            .map(|schema| Branch { schema, kind: Type::String })
            .collect();
        match &entry.value.kind {
            Kind::Scalar(scalar @ Scalar { value: Typed::Text(text), .. }) => {
                self.text(&entry.value, scalar, text, &constants);
            }
            Kind::Unusable => {}
            _ => self.mismatch(&entry.value, &constants),
        }
        self.path.pop();
    }

    fn external(&mut self, node: &Node, entries: &[Entry], variants: &[(&'s str, &'s Value)]) {
        let names = || variants.iter().map(|(name, _)| *name);
        let Some((first, more)) = entries.split_first() else {
            let message = format!("expected one of {}, found an empty mapping", listed(names()));
            if !node.partial {
                self.finding(node.place, message, None);
            }
            return;
        };
        for entry in more {
            let message = format!("{} stands beside {}, expected one key", quoted(&entry.key), quoted(&first.key));
            let hint = format!("keep one of {}", listed(names()));
            self.path.push(Step::Key(entry.key.clone()));
            self.finding(entry.place, message, Some(hint));
            self.path.pop();
        }
        self.path.push(Step::Key(first.key.clone()));
        match variants.iter().find(|(name, _)| *name == first.key) {
            Some((_, schema)) => self.value(&first.value, schema),
            None => {
                let message = format!("{} is not one of {}", quoted(&first.key), listed(names()));
                self.finding(first.place, message, nearest(&first.key, names()).map(did_you_mean));
            }
        }
        self.path.pop();
    }

    fn object(&mut self, node: &Node, entries: &[Entry], branch: Branch<'s>) {
        let named = branch.named();
        for entry in entries {
            self.path.push(Step::Key(entry.key.clone()));
            match branch.property(&entry.key).or(named) {
                Some(schema) => self.value(&entry.value, schema),
                None => self.unknown(entry, entries, branch),
            }
            self.path.pop();
        }
        let have: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let incomplete = node.partial || (!self.whole && self.path.is_empty());
        for key in branch.required().filter(|key| !incomplete && !have.contains(key)) {
            self.path.push(Step::Key(key.to_owned()));
            let hint = branch.property(key).and_then(|schema| first_sentence(schema, self.root));
            self.finding(node.place, format!("{} is missing", quoted(key)), hint);
            self.path.pop();
        }
        let (least, most) = (branch.limit("minProperties"), branch.limit("maxProperties"));
        if least.is_some_and(|least| entries.len() < least) || most.is_some_and(|most| entries.len() > most) {
            let message = format!("expected {}, found {}", count(least, most, "entry"), entries.len());
            self.finding(node.place, message, None);
        }
    }

    fn unknown(&mut self, entry: &Entry, entries: &[Entry], branch: Branch<'s>) {
        let free = || branch.properties().map(|(name, _)| name).filter(|name| !entries.iter().any(|e| e.key == *name));
        let hint =
            nearest(&entry.key, free()).map(did_you_mean).or_else(|| known(branch.properties().map(|(name, _)| name)));
        self.finding(entry.place, format!("unknown key {}", quoted(&entry.key)), hint);
    }

    /// Checks with each alternative; none may object, else the one that objects least is heard.
    fn best(&mut self, alternatives: &[Branch<'s>], mut check: impl FnMut(&mut Self, Branch<'s>)) {
        let mut least: Option<Findings> = None;
        for branch in alternatives {
            let before = std::mem::take(&mut self.findings);
            check(self, *branch);
            let found = std::mem::replace(&mut self.findings, before);
            if found.is_empty() {
                return;
            }
            if least.as_ref().is_none_or(|least| found.len() < least.len()) {
                least = Some(found);
            }
        }
        self.findings.append(least.unwrap_or_default());
    }

    fn finding(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.findings.push(Finding::new(place, &self.path, message).maybe_hint(hint));
    }
}

/// Why a text is not what an open string schema wants.
fn unfit(branch: &Branch<'_>, scalar: &Scalar, text: &str) -> Option<(String, Option<String>)> {
    if branch.is_secret() && scalar.filled {
        let name = scalar.written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let plain = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let hint = plain.map_or_else(
            || "write a reference such as `secret://file/NAME`".to_owned(),
            |name| format!("write `secret://env/{name}`"),
        );
        return Some(("a secret reference takes no `${…}`".to_owned(), Some(hint)));
    }
    if let Some(format) = branch.schema.get("format").and_then(Value::as_str).and_then(format::find)
        && let Err(unfit) = (format.check)(text)
    {
        return Some(if scalar.filled {
            (format!("what {} stands for is not {}", quoted(&scalar.written), format.noun), None)
        } else {
            (unfit.message, unfit.hint)
        });
    }
    let (least, most) = (branch.limit("minLength"), branch.limit("maxLength"));
    let length = text.chars().count();
    let fits = least.is_none_or(|least| length >= least) && most.is_none_or(|most| length <= most);
    (!fits).then(|| (format!("expected {}, found {length}", count(least, most, "character")), None))
}

fn count(least: Option<usize>, most: Option<usize>, noun: &str) -> String {
    let plural = |count: usize| match (count, noun) {
        (1, noun) => noun.to_owned(),
        (_, "entry") => "entries".to_owned(),
        (_, noun) => format!("{noun}s"),
    };
    match (least, most) {
        (Some(least), Some(most)) if least == most => format!("{most} {}", plural(most)),
        (Some(least), Some(most)) => format!("{least} to {most} {}", plural(most)),
        (Some(least), None) => format!("at least {least} {}", plural(least)),
        (None, Some(most)) => format!("at most {most} {}", plural(most)),
        (None, None) => plural(2),
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean {}?", quoted(name))
}

/// The first sentence of a property's description: what the missing thing is for.
fn first_sentence(schema: &Value, root: &Value) -> Option<String> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
    let text = schema.get("description").or_else(|| target?.get("description"))?.as_str()?;
    let line: String = text.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
    let sentence = line.split_once(". ").map_or(line.as_str(), |(first, _)| first);
    Some(lower(sentence.trim_end_matches('.'))).filter(|sentence| !sentence.is_empty())
}
