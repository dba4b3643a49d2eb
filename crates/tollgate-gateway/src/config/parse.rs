//! YAML text to a tree with places. Collects what it refuses and goes on; only a syntax error ends a file.
//!
//! Refused: anchors, aliases, merge keys, tags, directives, further documents, duplicate keys, keys that are no
//! scalars, and anything beyond the budgets. Judges no names and no types.

use std::collections::HashMap;
use std::path::PathBuf;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};
use tollgate_core::check::Step;

use super::env::{Filled, fill};
use super::place::Place;
use super::report::{Finding, Findings, name};
use super::scalar::Scalar;
use super::tree::{Entry, Kind, Node};
use super::words::{quoted, syntax};

/// How deep mappings and lists may nest.
const MOST_DEPTH: usize = 64;
/// How many keys, values and items all files of a configuration may hold together.
const MOST_NODES: usize = 200_000;

/// What the files of one configuration share while they are parsed.
pub(super) struct Reading<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Names of the files, by number.
    pub(super) files: Vec<PathBuf>,
    pub(super) findings: Findings,
    /// What `${…}` was filled with, for the fingerprint.
    pub(super) filled: Vec<String>,
    pub(super) nodes: usize,
}

/// The tree of a file; none if it ended in a syntax error or broke a budget. An empty file is a null.
pub(super) fn parse(text: &str, file: u32, reading: &mut Reading<'_>) -> Option<Node> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_anchor_events: true,
        emit_comments: false,
        emit_unresolved_aliases: true,
        // Beyond our own depth, so that ours gives the message.
        flow_nesting_limit: MOST_DEPTH * 2,
        block_nesting_limit: MOST_DEPTH * 2,
    };
    let mut builder = Builder { text, file, reading, stack: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, span).ok()?,
            Err(error) => {
                builder.syntax(&error);
                return None;
            }
        }
    }
    Some(builder.root.unwrap_or_else(|| Node::null(Place::start(file))))
}

struct Builder<'a, 'e> {
    text: &'a str,
    file: u32,
    reading: &'a mut Reading<'e>,
    stack: Vec<Frame>,
    root: Option<Node>,
    documents: usize,
}

/// A collection that is still open.
struct Frame {
    place: Place,
    inside: Open,
    /// Whether the collection stands where a key should; it is parsed and dropped.
    is_key: bool,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Place>, key: Option<Key>, partial: bool },
}

/// The key whose value comes next.
enum Key {
    /// Already reported.
    Dropped(Place),
    Named(String, Place),
}

/// The file is given up: the reason is among the findings.
struct GivenUp;

impl Builder<'_, '_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), GivenUp> {
        let place = self.place(&span);
        match event {
            Event::DocumentStart(..) => self.document(place),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.finding(
                    place,
                    "aliases are refused",
                    Some("write the value out; a text that starts with `*` needs quotes"),
                );
                self.node(Node::new(place, Kind::Unusable))
            }
            Event::Anchor(..) => {
                self.finding(place, "anchors are refused", Some("named entries are the way to share"));
                Ok(())
            }
            Event::Scalar(text, style, _, tag) => {
                let tagged = self.tag(tag.is_some(), &span);
                self.scalar(&text, style, &span, tagged)
            }
            Event::SequenceStart(style, _, tag) => {
                self.tag(tag.is_some(), &span);
                self.open(place, style, Open::List(Vec::new()))
            }
            Event::MappingStart(style, _, tag) => {
                self.tag(tag.is_some(), &span);
                self.open(
                    place,
                    style,
                    Open::Map { entries: Vec::new(), seen: HashMap::new(), key: None, partial: false },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn document(&mut self, place: Place) -> Result<(), GivenUp> {
        self.documents += 1;
        if self.documents < 2 {
            return Ok(());
        }
        self.finding(place, "a second document starts here", Some("a file holds one document: remove the `---`"));
        Err(GivenUp)
    }

    fn tag(&mut self, tagged: bool, span: &Span) -> bool {
        if tagged {
            let place = span.tag_start().map_or_else(|| self.place(span), |start| self.at(start.line(), start.col()));
            self.finding(place, "tags are refused", Some("remove it: types come from the schema"));
        }
        tagged
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span, tagged: bool) -> Result<(), GivenUp> {
        let place = self.place(span);
        // The parser writes `~` where nothing stands.
        let text = if span.is_empty() { "" } else { text };
        if let Some(Frame { inside: Open::Map { key: key @ None, .. }, .. }) = self.stack.last_mut() {
            *key = Some(Key::Dropped(place));
            return self.key(text, style, place);
        }
        let plain = style == ScalarStyle::Plain;
        let typed = |text: &str| if plain { Scalar::plain(text) } else { Scalar::quoted(text) };
        let kind = match fill(text, self.reading.env) {
            _ if tagged => Kind::Unusable,
            Filled::Same => Kind::Scalar(typed(text)),
            Filled::New(filled) => {
                let scalar = Scalar { written: text.to_owned(), filled: true, ..typed(&filled) };
                self.reading.filled.push(filled);
                Kind::Scalar(scalar)
            }
            Filled::Wrong(wrong) => {
                let openings = self.openings(span);
                for (at, wrong) in wrong {
                    let place = openings.get(at).copied().unwrap_or(place);
                    self.finding(place, wrong.message, Some(&wrong.hint));
                }
                Kind::Unusable
            }
        };
        // A value that was left out is looked for at its key.
        let place = if plain && text.is_empty() { self.key_place().unwrap_or(place) } else { place };
        self.node(Node::new(place, kind))
    }

    /// Takes the key that a mapping was waiting for.
    fn key(&mut self, text: &str, style: ScalarStyle, place: Place) -> Result<(), GivenUp> {
        self.count(place)?;
        let plain = style == ScalarStyle::Plain;
        let refused = match text {
            "<<" if plain => Some(("merge keys are refused", "named entries are the way to share")),
            "" if plain => Some(("a key is missing here", "write `key: value`")),
            text if text.contains("${") => Some(("`${…}` is not filled in within a key", "write the name out")),
            _ => None,
        };
        if let Some((message, hint)) = refused {
            self.finding(place, message, Some(hint));
        }
        let Some(Frame { inside: Open::Map { seen, key, partial, .. }, .. }) = self.stack.last_mut() else {
            return Ok(());
        };
        if refused.is_some() {
            *partial = true;
            return Ok(());
        }
        if let Some(first) = seen.get(text).copied() {
            let file = name(&self.reading.files, first.file).display();
            let message = format!("{} is written twice: first at {file}:{}:{}", quoted(text), first.line, first.column);
            self.finding(place, message, Some("keep one of them"));
            return Ok(());
        }
        seen.insert(text.to_owned(), place);
        *key = Some(Key::Named(text.to_owned(), place));
        Ok(())
    }

    fn open(&mut self, place: Place, style: StructureStyle, inside: Open) -> Result<(), GivenUp> {
        self.count(place)?;
        if self.stack.len() >= MOST_DEPTH {
            self.finding(place, format!("nested deeper than {MOST_DEPTH} levels"), None);
            return Err(GivenUp);
        }
        let awaits_key = matches!(self.stack.last(), Some(Frame { inside: Open::Map { key: None, .. }, .. }));
        if awaits_key {
            self.finding(
                place,
                "a key must be a plain or quoted string",
                Some("close the bracket before it, or quote it"),
            );
        }
        let place = match style {
            StructureStyle::Block => self.key_place().unwrap_or(place),
            StructureStyle::Flow => place,
        };
        self.stack.push(Frame { place, inside, is_key: awaits_key });
        Ok(())
    }

    fn close(&mut self) -> Result<(), GivenUp> {
        let Some(Frame { place, inside, is_key }) = self.stack.pop() else { return Ok(()) };
        if is_key {
            if let Some(Frame { inside: Open::Map { key, partial, .. }, .. }) = self.stack.last_mut() {
                *key = Some(Key::Dropped(place));
                *partial = true;
            }
            return Ok(());
        }
        let node = match inside {
            Open::List(items) => Node::new(place, Kind::List(items)),
            Open::Map { entries, partial, .. } => Node { partial, ..Node::new(place, Kind::Map(entries)) },
        };
        self.put(node);
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<(), GivenUp> {
        self.count(node.place)?;
        self.put(node);
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame { inside: Open::List(items), .. }) => items.push(node),
            Some(Frame { inside: Open::Map { entries, key, partial, .. }, .. }) => match key.take() {
                Some(Key::Named(key, place)) => entries.push(Entry { key, place, value: node }),
                Some(Key::Dropped(_)) => {}
                // An alias where a key should be: it was reported, and its value is dropped with it.
                None => {
                    *key = Some(Key::Dropped(node.place));
                    *partial = true;
                }
            },
        }
    }

    fn count(&mut self, place: Place) -> Result<(), GivenUp> {
        self.reading.nodes += 1;
        if self.reading.nodes <= MOST_NODES {
            return Ok(());
        }
        self.finding(place, format!("more than {MOST_NODES} keys and values"), None);
        Err(GivenUp)
    }

    fn syntax(&mut self, error: &ScanError) {
        let (message, hint) = syntax(error);
        let (line, mut column) = (error.marker().line(), error.marker().col());
        let written = self.text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        let tab = written.chars().position(|c| c == '\t').filter(|tab| *tab <= column);
        if let (true, Some(tab)) = (message.contains("tab"), tab) {
            column = tab;
        }
        // `{ port: ${PORT} }` is no YAML: the first `}` ends the mapping.
        let opened = written.chars().take(column + 1).collect::<String>().contains("${");
        let hint = if opened {
            Some("within `{…}` or `[…]`, quote what holds `${…}`, or write the mapping in lines")
        } else {
            hint
        };
        self.finding(self.at(line, column), message, hint);
    }

    fn finding(&mut self, place: Place, message: impl Into<String>, hint: Option<&str>) {
        let path: Vec<Step> = self.stack.iter().filter_map(Frame::step).collect();
        let finding = Finding::new(place, &path, message).maybe_hint(hint.map(str::to_owned));
        self.reading.findings.push(finding);
    }

    fn key_place(&self) -> Option<Place> {
        match self.stack.last() {
            Some(Frame { inside: Open::Map { key: Some(Key::Named(_, place) | Key::Dropped(place)), .. }, .. }) => {
                Some(*place)
            }
            _ => None,
        }
    }

    fn place(&self, span: &Span) -> Place {
        self.at(span.start.line(), span.start.col())
    }

    fn at(&self, line: usize, column: usize) -> Place {
        let line = u32::try_from(line).unwrap_or(u32::MAX).max(1);
        Place { file: self.file, line, column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1) }
    }

    /// Where each `${` of a scalar stands in the file.
    fn openings(&self, span: &Span) -> Vec<Place> {
        let raw = span.slice(self.text).unwrap_or("");
        let (mut line, mut column) = (span.start.line(), span.start.col());
        let mut places = Vec::new();
        let mut chars = raw.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '$' && chars.peek() == Some(&'{') {
                places.push(self.at(line, column));
            }
            if c == '\n' {
                line += 1;
                column = 0;
            } else {
                column += 1;
            }
        }
        places
    }
}

impl Frame {
    /// The step from this collection to the one inside it that is open.
    fn step(&self) -> Option<Step> {
        match &self.inside {
            Open::List(items) => Some(Step::Item(items.len())),
            Open::Map { key: Some(Key::Named(key, _)), .. } => Some(Step::Key(key.clone())),
            Open::Map { .. } => None,
        }
    }
}
