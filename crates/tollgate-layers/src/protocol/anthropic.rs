//! Anthropic's messages, read by the parser of OpenAI's requests: what differs is here.

use tollgate_core::call::{Ask, Role};

use super::Wrong;
use super::json::Kind;
use super::openai::{Parser, message, value};

/// How deep results of tools may hold blocks that hold results.
const MAX_DEPTH: usize = 4;

impl Parser<'_> {
    pub(super) fn anthropic_member(&mut self, key: &str) -> Result<(), Wrong> {
        match key {
            "model" => self.model(),
            "messages" => self.turns(),
            "system" => self.blocks(Role::System, 0),
            "max_tokens" => self.count(key, Ask::OutputTokens, 1),
            "stream" => self.stream(),
            "stop_sequences" => self.stops(),
            "temperature" | "top_p" => value::number(&mut self.reader, 0.0..=1.0),
            "top_k" => value::signed(&mut self.reader, -1..=1 << 20),
            "tools" => self.anthropic_tools(),
            "tool_choice" | "thinking" => Ok(self.reader.skip()?),
            "service_tier" => value::text(&mut self.reader, 64),
            _ => self.extra(key),
        }
    }

    fn turns(&mut self) -> Result<(), Wrong> {
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.turn().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        if count == 0 {
            return Err(Wrong::here("at least one message", "none"));
        }
        self.asked(Ask::Messages, "messages", count);
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Wrong> {
        self.object()?;
        let from = self.request.prompts.len();
        let (mut role, mut content) = (None, false);
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "role" => self.role().map(|found| role = Some(found)),
                "content" => {
                    content = true;
                    self.blocks(Role::User, 0)
                }
                _ => return Err(Wrong::here("`role` and `content`", "another member")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        let role = role.filter(|role| matches!(role, Role::Assistant | Role::User));
        let Some(role) = role else { return Err(Wrong::here("`user` or `assistant` as `role`", "neither")) };
        if !content {
            return Err(Wrong::here("a member `content`", "none"));
        }
        for prompt in self.request.prompts.iter_mut().skip(from).filter(|prompt| prompt.role != Role::Tool) {
            prompt.role = role;
        }
        Ok(())
    }

    /// A text, or a list of blocks. It calls itself at most [`MAX_DEPTH`] deep.
    fn blocks(&mut self, role: Role, depth: usize) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String => return self.prompt(role),
            Kind::Array if depth <= MAX_DEPTH => self.reader.enter_array()?,
            kind => return Err(Wrong::here("a string or a list of blocks", kind.name())),
        }
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.block(role, depth).map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        Ok(())
    }

    fn block(&mut self, role: Role, depth: usize) -> Result<(), Wrong> {
        const TYPES: [&str; 7] =
            ["document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"];
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &TYPES),
                "text" | "thinking" | "title" => self.string(role),
                "content" => self.blocks(Role::Tool, depth + 1),
                "source" => self.source(),
                "id" | "name" | "tool_use_id" => value::text(&mut self.reader, 256),
                "is_error" => value::boolean(&mut self.reader).map(drop),
                "input" | "cache_control" | "citations" => Ok(self.reader.skip()?),
                "context" => self.string(role),
                "signature" | "data" => value::text(&mut self.reader, 1 << 20),
                _ => return Err(Wrong::here("members that a block has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    /// `{"type": "base64", "media_type": …, "data": …}`, or a URL that the server would fetch.
    fn source(&mut self) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &["base64", "text", "url"]),
                "media_type" => value::text(&mut self.reader, 128),
                "data" | "url" => self.media_text(message::ANYTHING),
                _ => return Err(Wrong::here("inline data", "another source")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    fn anthropic_tools(&mut self) -> Result<(), Wrong> {
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.anthropic_tool().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        self.asked(Ask::Tools, "tools", count);
        Ok(())
    }

    /// Only tools of the caller's own: what the server itself would run is refused.
    fn anthropic_tool(&mut self) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => value::one_of(&mut self.reader, &["custom"]),
                "name" => value::text(&mut self.reader, 256),
                "description" => value::text(&mut self.reader, 1 << 16),
                "input_schema" => self.schema("tools"),
                "cache_control" => Ok(self.reader.skip()?),
                _ => return Err(Wrong::here("members that a tool has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }
}
