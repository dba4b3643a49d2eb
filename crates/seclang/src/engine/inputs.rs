//! What rules look at: the values of a request and its reply, on one shelf per variable. Written between the phases,
//! only read while rules run.

use bytes::Bytes;

use crate::bodies::{Kind, Summary};
use crate::ir::shelf::{Shelf, shelves};
use crate::parse::ast::Variable;

/// All values of a transaction.
#[derive(Debug)]
pub(crate) struct Inputs {
    arena: Vec<u8>,
    body: Bytes,
    reply: Bytes,
    values: Vec<Value>,
    shelves: Box<[Row]>,
    runs: Vec<Summary>,
    /// Bytes of all arguments, for ARGS_COMBINED_SIZE.
    pub(crate) argument_bytes: usize,
    /// Bytes of all files.
    pub(crate) file_bytes: usize,
}

/// Where a value's bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    buffer: Buffer,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Buffer {
    Arena,
    Body,
    Reply,
}

impl Span {
    /// No bytes.
    pub(crate) const EMPTY: Self = Self { buffer: Buffer::Arena, start: 0, end: 0 };

    /// A part of the request's body.
    pub(crate) const fn of_body(start: usize, end: usize) -> Self {
        Self { buffer: Buffer::Body, start, end }
    }

    /// A part of the reply's body.
    pub(crate) const fn of_reply(start: usize, end: usize) -> Self {
        Self { buffer: Buffer::Reply, start, end }
    }

    pub(crate) const fn len(self) -> usize {
        self.end - self.start
    }
}

/// A value's number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id(usize);

impl Id {
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// A value on a shelf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) name: Span,
    pub(crate) text: Span,
    pub(crate) shelf: Shelf,
    pub(crate) form: Form,
    pub(crate) kind: Kind,
    next: Option<Id>,
}

/// How a value stands for what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// It is its text.
    Plain,
    /// Its text is an array of numbers: it stands for every element. `names` when it stands for their names.
    Run { names: bool, count: usize, run: usize },
    /// It is its text and no one counts it: an element of an array behind its first.
    Uncounted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    first: Option<Id>,
    last: Option<Id>,
    count: usize,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            arena: Vec::new(),
            body: Bytes::new(),
            reply: Bytes::new(),
            values: Vec::new(),
            shelves: vec![Row::default(); Shelf::COUNT].into_boxed_slice(),
            runs: Vec::new(),
            argument_bytes: 0,
            file_bytes: 0,
        }
    }
}

impl Inputs {
    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.body = Bytes::new();
        self.reply = Bytes::new();
        self.values.clear();
        self.shelves.fill(Row::default());
        self.runs.clear();
        self.argument_bytes = 0;
        self.file_bytes = 0;
    }

    /// Bytes of memory that are kept when everything is forgotten.
    pub(crate) const fn room(&self) -> usize {
        self.arena.capacity()
            + self.values.capacity() * size_of::<Value>()
            + self.runs.capacity() * size_of::<Summary>()
    }

    pub(crate) fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    pub(crate) fn set_reply(&mut self, reply: Bytes) {
        self.reply = reply;
    }

    pub(crate) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Copies bytes to where values may point.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        Span { buffer: Buffer::Arena, start, end: self.arena.len() }
    }

    /// Lets a function write bytes to where values may point.
    pub(crate) fn write_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        Span { buffer: Buffer::Arena, start, end: self.arena.len() }
    }

    /// Puts a value on a shelf, behind the others.
    pub(crate) fn put(&mut self, shelf: Shelf, name: Span, text: Span) -> Id {
        self.put_as(shelf, (name, text), Form::Plain, Kind::Text)
    }

    /// Puts a value of any form on a shelf.
    pub(crate) fn put_as(&mut self, shelf: Shelf, (name, text): (Span, Span), form: Form, kind: Kind) -> Id {
        let id = Id(self.values.len());
        self.values.push(Value { name, text, shelf, form, kind, next: None });
        let Some(row) = self.shelves.get_mut(shelf.index()) else { return id };
        row.count += match form {
            Form::Plain => 1,
            Form::Run { count, .. } => count,
            Form::Uncounted => 0,
        };
        if row.first.is_none() {
            row.first = Some(id);
        }
        if let Some(last) = row.last.replace(id).and_then(|last| self.values.get_mut(last.0)) {
            last.next = Some(id);
        }
        id
    }

    /// Sets a variable that has one value.
    pub(crate) fn set(&mut self, variable: Variable, bytes: &[u8]) {
        let text = self.write(bytes);
        self.set_span(variable, text);
    }

    /// Sets a variable that has one value, in place.
    pub(crate) fn set_span(&mut self, variable: Variable, text: Span) {
        let shelf = Shelf::of(variable);
        if let Some(row) = self.shelves.get_mut(shelf.index()) {
            *row = Row::default();
        }
        self.put(shelf, Span::EMPTY, text);
    }

    /// Sets a variable that has one value, in the place of the value it had.
    pub(crate) fn replace_span(&mut self, variable: Variable, text: Span) {
        let old = self.shelves.get(Shelf::of(variable).index()).and_then(|row| row.first);
        match old.and_then(|id| self.values.get_mut(id.0)) {
            Some(value) => value.text = text,
            None => self.set_span(variable, text),
        }
    }

    /// Sets a variable to a number.
    pub(crate) fn set_number(&mut self, variable: Variable, number: u64) {
        let text = self.write_with(|out| write_number(number, out));
        self.set_span(variable, text);
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let buffer: &[u8] = match span.buffer {
            Buffer::Arena => &self.arena,
            Buffer::Body => &self.body,
            Buffer::Reply => &self.reply,
        };
        buffer.get(span.start..span.end).unwrap_or_default()
    }

    pub(crate) fn value(&self, id: Id) -> Option<&Value> {
        self.values.get(id.0)
    }

    /// Every value with its number.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (Id, &Value)> {
        self.values.iter().enumerate().map(|(at, value)| (Id(at), value))
    }

    /// Notes what an array of numbers holds.
    pub(crate) fn add_run(&mut self, summary: Summary) -> usize {
        self.runs.push(summary);
        self.runs.len() - 1
    }

    /// What an array of numbers holds.
    pub(crate) fn run(&self, run: usize) -> Option<&Summary> {
        self.runs.get(run)
    }

    /// The values of a shelf, in order.
    pub(crate) fn shelf(&self, shelf: Shelf) -> impl Iterator<Item = (Id, &Value)> {
        let first = self.shelves.get(shelf.index()).and_then(|row| row.first);
        let with_id = |id: Option<Id>| id.and_then(|id| self.values.get(id.0).map(|value| (id, value)));
        std::iter::successors(with_id(first), move |(_, value)| with_id(value.next))
    }

    /// How many values a shelf holds, as `&` counts them.
    pub(crate) fn count(&self, shelf: Shelf) -> usize {
        self.shelves.get(shelf.index()).map_or(0, |row| row.count)
    }

    /// The first value of a variable, of that name when one is given.
    pub(crate) fn first(&self, variable: Variable, name: Option<&[u8]>) -> Option<&[u8]> {
        let mut all = shelves(variable).iter().flat_map(|shelf| self.shelf(*shelf)).map(|(_, value)| value);
        let found = match name {
            None => all.next(),
            Some(name) => all.find(|value| self.bytes(value.name).eq_ignore_ascii_case(name)),
        };
        found.map(|value| self.bytes(value.text))
    }
}

/// A number in decimal digits.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "{number}").expect("a vector takes every byte");
}
