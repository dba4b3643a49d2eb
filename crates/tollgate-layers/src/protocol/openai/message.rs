//! Messages of a chat: who is said to speak, texts, parts, tool calls.

use tollgate_core::call::{Ask, Media, Role};

use super::{Endpoint, Parser, value};
use crate::protocol::Wrong;
use crate::protocol::json::Kind;
use crate::protocol::media;

/// The most parts of one message.
const MAX_PARTS: u64 = 256;

/// What types of media may begin with where a file may be anything.
pub(in crate::protocol) const ANYTHING: &[&str] = &[""];
/// Where a film is due; some are pictures in a row.
const FILMS: &[&str] = &["video/", "image/"];
/// Where an image is due.
pub(in crate::protocol) const IMAGES: &[&str] = &["image/"];
/// Where a sound is due; containers of films carry sounds alone, too.
const SOUNDS: &[&str] = &["audio/", "video/"];

impl Parser<'_> {
    pub(in crate::protocol) fn messages(&mut self) -> Result<(), Wrong> {
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.message().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        if count == 0 {
            return Err(Wrong::here("at least one message", "none"));
        }
        self.asked(Ask::Messages, "messages", count);
        Ok(())
    }

    pub(in crate::protocol) fn message(&mut self) -> Result<(), Wrong> {
        self.object()?;
        let from = self.request.prompts.len();
        let (mut role, mut content, mut calls) = (None, None, false);
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "role" => role = Some(self.role().map_err(|wrong| wrong.under("role"))?),
                "content" => {
                    let null = value::absent(&mut self.reader)?;
                    content = Some(!null);
                    if !null {
                        self.content().map_err(|wrong| wrong.under("content"))?;
                    }
                }
                "name" | "tool_call_id" => value::text(&mut self.reader, 256).map_err(|wrong| wrong.under(&key))?,
                // What the model is said to have thought or refused: it reads that again.
                "refusal" | "reasoning" | "reasoning_content" | "thinking" => {
                    if !value::absent(&mut self.reader)? {
                        self.string(Role::Assistant).map_err(|wrong| wrong.under(&key))?;
                    }
                }
                "tool_calls" => calls = self.tool_calls().map_err(|wrong| wrong.under("tool_calls"))?,
                "function_call" => {
                    if !value::absent(&mut self.reader)? {
                        calls = true;
                        self.function_call().map_err(|wrong| wrong.under("function_call"))?;
                    }
                }
                "images" if self.endpoint == Endpoint::OllamaChat => {
                    self.images().map_err(|wrong| wrong.under("images"))?;
                }
                "tool_name" if self.endpoint == Endpoint::OllamaChat => {
                    value::text(&mut self.reader, 256).map_err(|wrong| wrong.under("tool_name"))?;
                }
                "audio" | "annotations" => self.reader.skip()?,
                _ => return Err(Wrong::here("members that a message has", "another")),
            }
        }
        let Some(role) = role else { return Err(Wrong::here("a member `role`", "none")) };
        if content != Some(true) && !(calls && role == Role::Assistant) {
            return Err(Wrong::here("a `content`, or an assistant's tool calls", "neither"));
        }
        for prompt in self.request.prompts.iter_mut().skip(from) {
            prompt.role = role;
        }
        Ok(())
    }

    /// llama.cpp and vLLM take any word for a role.
    pub(in crate::protocol) fn role(&mut self) -> Result<Role, Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::String {
            return Err(Wrong::here(Kind::String.name(), kind.name()));
        }
        match &*self.reader.string()? {
            "assistant" => Ok(Role::Assistant),
            "developer" | "system" => Ok(Role::System),
            "function" | "tool" => Ok(Role::Tool),
            "user" => Ok(Role::User),
            _ => Err(Wrong::here("a role of the protocol, such as `user`", "another string")),
        }
    }

    fn content(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String => self.prompt(Role::User),
            Kind::Array => self.parts(),
            kind => Err(Wrong::here("a string or a list of parts", kind.name())),
        }
    }

    /// Parts of a content, of a message or of an item.
    pub(in crate::protocol) fn parts(&mut self) -> Result<(), Wrong> {
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            if count == MAX_PARTS {
                return Err(Wrong::here(format!("at most {MAX_PARTS} parts"), "more"));
            }
            self.part().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        if count == 0 { Err(Wrong::here("at least one part", "none")) } else { Ok(()) }
    }

    fn part(&mut self) -> Result<(), Wrong> {
        const TYPES: [&str; 12] = [
            "file",
            "image_url",
            "input_audio",
            "input_file",
            "input_image",
            "input_text",
            "output_text",
            "refusal",
            "summary_text",
            "text",
            "audio_url",
            "video_url",
        ];
        self.object()?;
        let mut typed = false;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "type" => {
                    typed = true;
                    value::one_of(&mut self.reader, &TYPES)
                }
                "text" | "refusal" => self.string(Role::User),
                "image_url" => self.media_url(IMAGES),
                "audio_url" => self.media_url(SOUNDS),
                "video_url" => self.media_url(FILMS),
                "file_url" => self.media_url(ANYTHING),
                "input_audio" => self.inline(SOUNDS),
                "file" => self.inline(ANYTHING),
                "file_data" => self.media_text(ANYTHING),
                "file_id" => Err(Wrong::here("inline data", "an id of a file on the server")),
                "detail" | "filename" => value::text(&mut self.reader, 256),
                "annotations" | "logprobs" => Ok(self.reader.skip()?),
                _ => return Err(Wrong::here("members that a part has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        if typed { Ok(()) } else { Err(Wrong::here("a member `type`", "none")) }
    }

    /// `{"url": "…", "detail": …}` or the URL itself.
    fn media_url(&mut self, kinds: &[&str]) -> Result<(), Wrong> {
        if self.reader.peek()? != Kind::Object {
            return self.media_text(kinds);
        }
        self.reader.enter_object()?;
        let mut found = false;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "url" => {
                    found = true;
                    self.media_text(kinds).map_err(|wrong| wrong.under("url"))?;
                }
                "detail" => {
                    let read = value::one_of(&mut self.reader, &["auto", "high", "low"]);
                    read.map_err(|wrong| wrong.under("detail"))?;
                }
                _ => return Err(Wrong::here("`url` and `detail`", "another member")),
            }
        }
        if found { Ok(()) } else { Err(Wrong::here("a member `url`", "none")) }
    }

    /// `{"data": base64, "format": …}`, `{"file_data": "data:…"}`
    fn inline(&mut self, kinds: &[&str]) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "data" | "file_data" => self.media_text(kinds),
                "format" | "filename" => value::text(&mut self.reader, 256),
                "file_id" => Err(Wrong::here("inline data", "an id of a file on the server")),
                _ => return Err(Wrong::here("`data` and `format`", "another member")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    /// A URL or base64 of a medium whose type begins with one of `kinds`. What the server would fetch is noted; the
    /// contract refuses it or not.
    pub(in crate::protocol) fn media_text(&mut self, kinds: &[&str]) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::String {
            return Err(Wrong::here(Kind::String.name(), kind.name()));
        }
        let start = self.reader.at();
        let text = self.reader.string()?;
        let at = start..self.reader.at();
        let medium = match media::inline(&text, at.clone())? {
            media::Inline::Fetched => {
                Media { kind: Media::FETCHED, size: [0, 0], frames: 1, duration_ms: None, bytes: 0, at }
            }
            // Libraries of images open what they know, whatever its declared type: of what is not known here, nobody has
            // counted the pixels.
            media::Inline::Held(held) if !kinds.iter().any(|kind| held.kind.starts_with(kind)) => {
                return Err(Wrong::here(
                    format!("data of a type `{}…`", kinds.join("…`, `")),
                    format!("`{}`", held.kind),
                ));
            }
            media::Inline::Held(held) => held,
        };
        self.request.media.push(medium);
        Ok(())
    }

    /// Whether there are any.
    pub(in crate::protocol) fn tool_calls(&mut self) -> Result<bool, Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(false);
        }
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.tool_call().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        Ok(count > 0)
    }

    fn tool_call(&mut self) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "id" => value::text(&mut self.reader, 256),
                "type" => value::one_of(&mut self.reader, &["function"]),
                "function" => self.function_call(),
                "index" => value::integer(&mut self.reader, 0..=u64::from(u32::MAX)).map(drop),
                _ => return Err(Wrong::here("members that a tool call has", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }

    /// `{"name": …, "arguments": "JSON"}`; the arguments are read again by the model.
    fn function_call(&mut self) -> Result<(), Wrong> {
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let read = match &*key {
                "name" => value::text(&mut self.reader, 256),
                // Ollama's arguments are an object.
                "arguments" if self.endpoint == Endpoint::OllamaChat => Ok(self.reader.skip()?),
                "arguments" => self.string(Role::Assistant),
                _ => return Err(Wrong::here("`name` and `arguments`", "another member")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        Ok(())
    }
}
