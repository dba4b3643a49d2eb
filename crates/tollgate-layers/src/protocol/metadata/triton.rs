//! `config.pbtxt` of a Triton model repository, read into the form of its JSON: protocol buffers as text, as far as such
//! files use it. What the fields mean is not this module's business.

use serde_json::{Map, Value};

/// Messages and lists may nest this deep.
const MAX_DEPTH: usize = 16;
/// The most fields and values of a file.
const MAX_VALUES: usize = 10_000;
/// Fields that may stand many times, or as a list.
const REPEATED: [&str; 4] = ["dims", "input", "instance_group", "output"];

/// Reads a file.
///
/// # Errors
/// Where it is no such text.
pub fn pbtxt(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text, values: 0 };
    let message = parser.message(0)?;
    if parser.peek().is_some() { Err(parser.wrong("the end")) } else { Ok(message) }
}

struct Parser<'a> {
    rest: &'a str,
    values: usize,
}

impl Parser<'_> {
    /// Fields up to the end, or to a closing brace that is left standing.
    fn message(&mut self, depth: usize) -> Result<Value, String> {
        let mut members: Map<String, Value> = Map::new();
        while let Some(first) = self.peek() {
            if first == '}' || first == '>' {
                break;
            }
            let name = self.word()?;
            let colon = self.take(':');
            let value = match self.peek() {
                Some('{' | '<' | '[') => self.value(depth + 1)?,
                _ if colon => self.value(depth + 1)?,
                _ => return Err(self.wrong("`:` or `{`")),
            };
            while self.take(',') || self.take(';') {}
            add(&mut members, name, value);
        }
        Ok(Value::Object(members))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err("it is deeper or longer than such files are".to_owned());
        }
        match self.peek() {
            Some('[') => {
                self.take('[');
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value(depth + 1)?);
                    self.take(',');
                }
                Ok(Value::Array(items))
            }
            Some(open @ ('{' | '<')) => {
                self.take(open);
                let message = self.message(depth + 1)?;
                let close = if open == '{' { '}' } else { '>' };
                if self.take(close) { Ok(message) } else { Err(self.wrong("a closing brace")) }
            }
            Some(quote @ ('"' | '\'')) => self.string(quote).map(Value::String),
            Some(_) => {
                let word = self.word()?;
                Ok(word.parse::<i64>().map_or_else(|_| Value::String(word), Value::from))
            }
            None => Err(self.wrong("a value")),
        }
    }

    /// A quoted text. Escapes other than of quotes and backslashes stand for themselves: no name needs them.
    fn string(&mut self, quote: char) -> Result<String, String> {
        self.take(quote);
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, letter)) = chars.next() {
            if letter == quote {
                self.rest = self.rest.get(at + letter.len_utf8()..).unwrap_or_default();
                return Ok(out);
            }
            let letter = if letter == '\\' { chars.next().map_or(letter, |(_, next)| next) } else { letter };
            out.push(letter);
        }
        Err(self.wrong("a closing quote"))
    }

    fn word(&mut self) -> Result<String, String> {
        self.peek();
        let part = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
        let end = self.rest.find(|letter| !part(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or(("", self.rest));
        if word.is_empty() {
            return Err(self.wrong("a name or a value"));
        }
        let word = word.to_owned();
        self.rest = rest;
        Ok(word)
    }

    /// The next letter that is no space and in no comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('#') else { return self.rest.chars().next() };
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn take(&mut self, letter: char) -> bool {
        self.peek();
        let taken = self.rest.strip_prefix(letter);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn wrong(&self, expected: &str) -> String {
        format!("expected {expected} {} bytes before its end", self.rest.len())
    }
}

/// A repeated field gathers its values in one list.
fn add(members: &mut Map<String, Value>, name: String, value: Value) {
    if !REPEATED.contains(&name.as_str()) {
        members.insert(name, value);
        return;
    }
    let list = members.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = list.as_array_mut() else { return };
    match value {
        Value::Array(items) => list.extend(items),
        item => list.push(item),
    }
}
