//! Tools and response formats: JSON Schemas that a server turns into grammars, some at great cost.

use tollgate_core::call::Ask;

use super::{Parser, value};
use crate::protocol::Wrong;
use crate::protocol::json::{Kind, Reader};

/// The most `$ref`s of one schema; each is compared with each definition.
const MAX_REFERENCES: usize = 256;

/// What no server is given, whatever the contract says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SchemaBounds {
    /// How deep a schema may be nested.
    pub depth: usize,
    /// Bytes of a `pattern`.
    pub pattern_bytes: usize,
}

impl SchemaBounds {
    /// The bounds in force.
    pub const ALL: Self = Self { depth: 32, pattern_bytes: 512 };
}

impl Parser<'_> {
    /// `tools`, or the older `functions`.
    pub(in crate::protocol) fn tools(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.tool(true).map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        self.asked(Ask::Tools, "tools", count);
        Ok(())
    }

    /// A tool, or the function inside one. Only functions: what the server itself would run or fetch is refused.
    fn tool(&mut self, outer: bool) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &["function"]),
                "function" if outer => self.tool(false),
                "name" => value::text(&mut self.reader, 256),
                "description" => value::text(&mut self.reader, 1 << 16),
                "parameters" => self.schema("tools"),
                "strict" => value::boolean(&mut self.reader).map(drop),
                _ => return Err(Wrong::here("members that a function has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    /// `{"type": "json_schema", "json_schema": {"schema": …}}`, and the flat form of the responses API.
    pub(in crate::protocol) fn response_format(&mut self) -> Result<(), Wrong> {
        const TYPES: [&str; 3] = ["json_object", "json_schema", "text"];
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &TYPES),
                "json_schema" => self.named_schema(),
                "schema" => self.schema("response_format"),
                "name" => value::text(&mut self.reader, 256),
                "description" => value::text(&mut self.reader, 1 << 16),
                "strict" => value::boolean(&mut self.reader).map(drop),
                _ => return Err(Wrong::here("members that a format has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    fn named_schema(&mut self) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "name" => value::text(&mut self.reader, 256),
                "description" => value::text(&mut self.reader, 1 << 16),
                "schema" => self.schema("response_format"),
                "strict" => value::boolean(&mut self.reader).map(drop),
                _ => return Err(Wrong::here("`name`, `description`, `schema` and `strict`", "another member")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    pub(in crate::protocol) fn schema(&mut self, pointer: &str) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        let start = self.reader.at();
        let mut walk = Walk::default();
        walk.value(&mut self.reader, 0, None)?;
        walk.finish()?;
        let bytes = (self.reader.at() - start) as u64;
        self.asked(Ask::SchemaBytes, pointer, bytes);
        Ok(())
    }
}

/// A schema while it is read.
#[derive(Debug, Default)]
struct Walk {
    /// The definition in which something stands: none at the root.
    within: Option<usize>,
    definitions: Vec<Box<str>>,
    /// From where to where a `$ref` leads.
    references: Vec<(Option<usize>, Box<str>)>,
}

impl Walk {
    /// Reads a value. `member` is the key that it stands under. It calls itself at most `SchemaBounds::depth` deep.
    fn value(&mut self, reader: &mut Reader<'_>, depth: usize, member: Option<&str>) -> Result<(), Wrong> {
        if depth > SchemaBounds::ALL.depth {
            return Err(Wrong::here(format!("at most {} levels of a schema", SchemaBounds::ALL.depth), "more"));
        }
        match reader.peek()? {
            Kind::Array => {
                reader.enter_array()?;
                while reader.next_item()? {
                    self.value(reader, depth + 1, None)?;
                }
                Ok(())
            }
            Kind::Object => self.object(reader, depth, member),
            Kind::String => {
                let text = reader.string()?;
                match member {
                    Some("$ref") => self.reference(&text),
                    Some("pattern") => pattern(&text),
                    _ => Ok(()),
                }
            }
            _ => Ok(reader.skip()?),
        }
    }

    fn object(&mut self, reader: &mut Reader<'_>, depth: usize, member: Option<&str>) -> Result<(), Wrong> {
        let defines = depth == 1 && matches!(member, Some("$defs" | "definitions"));
        reader.enter_object()?;
        while let Some(key) = reader.next_key()? {
            if defines {
                self.within = Some(self.definitions.len());
                self.definitions.push(key.as_ref().into());
            }
            // Names of properties are no keywords.
            let keyword = if matches!(member, Some("properties" | "patternProperties")) { None } else { Some(&*key) };
            if member == Some("patternProperties") {
                pattern(&key)?;
            }
            self.value(reader, depth + 1, keyword)?;
            if defines {
                self.within = None;
            }
        }
        Ok(())
    }

    fn reference(&mut self, to: &str) -> Result<(), Wrong> {
        let name = to.strip_prefix("#/$defs/").or_else(|| to.strip_prefix("#/definitions/"));
        let Some(name) = name else {
            return Err(Wrong::here("a `$ref` to a definition of the schema itself", "another").under("$ref"));
        };
        if self.references.len() == MAX_REFERENCES {
            return Err(Wrong::here(format!("at most {MAX_REFERENCES} `$ref`s"), "more"));
        }
        self.references.push((self.within, name.into()));
        Ok(())
    }

    /// Refuses definitions that lead back to themselves: a grammar without end.
    fn finish(&self) -> Result<(), Wrong> {
        let place = |name: &str| self.definitions.iter().position(|definition| &**definition == name);
        let mut edges = Vec::new();
        for (from, to) in &self.references {
            let Some(to) = place(to.split('/').next().unwrap_or(to)) else {
                return Err(Wrong::here("a `$ref` to a definition of the schema itself", "another").under("$ref"));
            };
            edges.extend(from.map(|from| (from, to)));
        }
        // What nothing leads to is taken away until only circles are left.
        loop {
            let before = edges.len();
            let sources: Vec<usize> = edges.iter().map(|(from, _)| *from).collect();
            edges.retain(|(_, to)| sources.contains(to));
            if edges.is_empty() {
                return Ok(());
            }
            if edges.len() == before {
                return Err(Wrong::here("definitions that do not lead back to themselves", "a circle").under("$ref"));
            }
        }
    }
}

/// Refuses patterns whose size multiplies: counted repetitions inside counted repetitions.
fn pattern(pattern: &str) -> Result<(), Wrong> {
    let most = SchemaBounds::ALL.pattern_bytes;
    if pattern.len() > most {
        return Err(Wrong::here(format!("a pattern of at most {most} bytes"), format!("{} bytes", pattern.len())));
    }
    // Whether each open group holds a counted repetition; the outermost stands for the whole.
    let mut open = vec![false];
    let mut ended_group = false;
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        let after_group = std::mem::take(&mut ended_group);
        match byte {
            b'\\' => drop(bytes.next()),
            b'(' => open.push(false),
            b')' => {
                let counted = if open.len() > 1 { open.pop().unwrap_or(false) } else { false };
                if let (Some(outer), true) = (open.last_mut(), counted) {
                    *outer = true;
                }
                ended_group = counted;
            }
            b'{' if after_group => {
                return Err(Wrong::here("a pattern without nested counts", "one with").under("pattern"));
            }
            b'{' => {
                if let Some(group) = open.last_mut() {
                    *group = true;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
