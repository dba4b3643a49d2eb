//! The responses API: items instead of messages.

use tollgate_core::call::{Ask, Role};

use super::{Parser, value};
use crate::protocol::Wrong;
use crate::protocol::json::Kind;

impl Parser<'_> {
    /// `input`: a text, or a list of items.
    pub(in crate::protocol) fn items(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String => return self.prompt(Role::User),
            Kind::Array => self.reader.enter_array()?,
            kind => return Err(Wrong::here("a string or a list of items", kind.name())),
        }
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.item().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        if count == 0 {
            return Err(Wrong::here("at least one item", "none"));
        }
        self.asked(Ask::Messages, "input", count);
        Ok(())
    }

    /// A message, a call of a function, its output, a train of thought. References to items on the server are refused:
    /// that is another caller's state.
    fn item(&mut self) -> Result<(), Wrong> {
        const TYPES: [&str; 4] = ["function_call", "function_call_output", "message", "reasoning"];
        self.object()?;
        let from = self.request.prompts.len();
        let mut role = None;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &TYPES),
                "role" => self.role().map(|found| role = Some(found)),
                "content" | "output" | "summary" => match self.reader.peek()? {
                    Kind::String => self.prompt(Role::User),
                    Kind::Null => Ok(self.reader.null()?),
                    Kind::Array if self.reader.is_empty_array() => Ok(self.reader.skip()?),
                    _ => self.parts(),
                },
                "arguments" => self.string(Role::Assistant),
                "id" | "call_id" | "name" | "status" => value::text(&mut self.reader, 256),
                "encrypted_content" => value::text(&mut self.reader, 1 << 20),
                _ => return Err(Wrong::here("members that an item has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        for prompt in self.request.prompts.iter_mut().skip(from) {
            prompt.role = role.unwrap_or(Role::Tool);
        }
        Ok(())
    }

    pub(in crate::protocol) fn instructions(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? { Ok(()) } else { self.string(Role::System) }
    }

    /// `text: {"format": …, "verbosity": …}`
    pub(in crate::protocol) fn text_format(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "format" => self.response_format(),
                "verbosity" => value::text(&mut self.reader, 64),
                _ => return Err(Wrong::here("`format` and `verbosity`", "another member")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }
}
