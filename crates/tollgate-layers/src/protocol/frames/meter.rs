//! What a generating answer cost, read off its frames or its body: the server's usage where it says one, else the text.

use std::ops::Range;

use tollgate_core::call::Dialect;

use super::Keep;
use crate::protocol::json::{Kind, Limits, Malformed, Reader};

/// Bytes of text to a token, where nothing counted them: an estimate for prose.
const BYTES_PER_TOKEN: f64 = 4.2;

/// Counts one answer.
#[derive(Clone, Debug)]
pub struct Meter {
    dialect: Dialect,
    /// The client did not ask for the frame that carries usage alone.
    strip_usage: bool,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    text_bytes: u64,
    /// Uncommon members of the frame that waits for the one with usage.
    waiting: Vec<Box<str>>,
    /// The server said that the answer is complete.
    done: bool,
}

impl Meter {
    /// For an answer in the words of `dialect`.
    #[must_use]
    pub const fn new(dialect: Dialect, strip_usage: bool) -> Self {
        Self {
            dialect,
            strip_usage,
            input_tokens: None,
            output_tokens: None,
            text_bytes: 0,
            waiting: Vec::new(),
            done: false,
        }
    }

    /// Tokens that the model read, where the server said so.
    #[must_use]
    pub const fn input_tokens(&self) -> Option<u64> {
        self.input_tokens
    }

    /// Tokens that the model wrote: as the server said, else as the text that passed tells; never 0 for a text.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate of a count of bytes"
        )]
        let told = (self.text_bytes as f64 / BYTES_PER_TOKEN).ceil() as u64;
        self.output_tokens.unwrap_or(told)
    }

    /// Whether the server said that the answer is complete.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Reads the payload of a frame.
    pub fn frame(&mut self, payload: &[u8]) -> Keep {
        if payload == b"[DONE]" {
            self.done = true;
            return Keep::Pass;
        }
        let Ok(found) = self.read(payload) else { return Keep::Pass };
        if self.dialect != Dialect::OpenAi || !self.strip_usage {
            return Keep::Pass;
        }
        let waiting = std::mem::take(&mut self.waiting);
        if found.usage && !found.more {
            // What the server would have said elsewhere, such as llama.cpp's `timings`, goes back to where that is.
            let orphans = found.members.iter().filter(|(name, _)| !waiting.contains(name));
            let orphans: Vec<&[u8]> = orphans.filter_map(|(_, at)| payload.get(at.clone())).collect();
            return match orphans.as_slice() {
                [] => Keep::Drop,
                orphans => Keep::Leave(orphans.iter().flat_map(|orphan| [b",".as_slice(), orphan].concat()).collect()),
            };
        }
        if found.finished {
            self.waiting = found.members.into_iter().map(|(name, _)| name).collect();
            return Keep::Hold;
        }
        Keep::Pass
    }

    /// Reads a whole answer.
    pub fn body(&mut self, body: &[u8]) {
        // A body that is no JSON tells nothing.
        self.done = self.read(body).is_ok();
    }

    fn read(&mut self, payload: &[u8]) -> Result<Found, Malformed> {
        // Servers nest deeper than clients may: a schema comes back whole.
        let mut reader = Reader::new(payload, Limits { depth: 128, keys: 4_096 })?;
        let mut found = Found::default();
        if reader.peek()? != Kind::Object {
            return Ok(found);
        }
        self.object(&mut reader, &mut found, 0)?;
        self.done |= found.done;
        self.text_bytes = match found.event {
            Event::Delta => self.text_bytes.saturating_add(found.text_bytes),
            // The same text again, once with each thing that is complete.
            Event::Told => self.text_bytes.max(found.text_bytes),
        };
        Ok(found)
    }

    /// Walks an object. Text, usage and marks stand at known names at few places in every dialect, so that one walk does
    /// for all; it calls itself at most eight deep.
    fn object(&mut self, reader: &mut Reader<'_>, found: &mut Found, depth: usize) -> Result<(), Malformed> {
        reader.enter_object()?;
        while let Some(key) = reader.next_key()? {
            let (kind, at) = (reader.peek()?, reader.key_at());
            match (&*key, kind) {
                ("prompt_tokens" | "input_tokens" | "prompt_eval_count", Kind::Number) => {
                    self.input_tokens = number(reader)?.or(self.input_tokens);
                }
                ("completion_tokens" | "output_tokens" | "eval_count", Kind::Number) => {
                    self.output_tokens = number(reader)?.or(self.output_tokens);
                }
                ("usage", Kind::Object) => {
                    found.usage = true;
                    self.object(reader, found, depth + 1)?;
                }
                (name, Kind::String) if TEXTS.contains(&name) => {
                    found.text_bytes = found.text_bytes.saturating_add(reader.string()?.len() as u64);
                }
                ("done", Kind::Bool) => found.done |= reader.boolean()?,
                ("type", Kind::String) => {
                    // The last event of a response has its usage inside, beside the whole answer.
                    let name = reader.string()?;
                    found.more |= depth == 0;
                    found.done |= LAST.contains(&&*name);
                    if depth == 0 && name.starts_with("response.") && !name.ends_with(".delta") {
                        found.event = Event::Told;
                    }
                }
                ("finish_reason", Kind::String) => found.finished |= !reader.string()?.is_empty(),
                // What a tool was described as, or the prompt come back, is no answer.
                ("tools" | "instructions" | "input" | "prompt" | "metadata", _) => reader.skip()?,
                ("choices", Kind::Array) => found.more |= self.array(reader, found, depth + 1)?,
                (_, Kind::Object) if depth < MAX_DEPTH => self.object(reader, found, depth + 1)?,
                (_, Kind::Array) if depth < MAX_DEPTH => drop(self.array(reader, found, depth + 1)?),
                _ => reader.skip()?,
            }
            if depth == 0 && self.strip_usage && !COMMON.contains(&&*key) {
                found.members.push((key.into(), at..reader.at()));
            }
        }
        Ok(())
    }

    /// Whether anything stood in it.
    fn array(&mut self, reader: &mut Reader<'_>, found: &mut Found, depth: usize) -> Result<bool, Malformed> {
        reader.enter_array()?;
        let mut any = false;
        while reader.next_item()? {
            any = true;
            match reader.peek()? {
                Kind::Object if depth < MAX_DEPTH => self.object(reader, found, depth + 1)?,
                _ => reader.skip()?,
            }
        }
        Ok(any)
    }
}

/// Members of every frame of a chat, which one taken out need not leave behind. Others may stand in the last alone, as
/// `system_fingerprint` does with vLLM.
const COMMON: [&str; 6] = ["choices", "created", "id", "model", "object", "usage"];

/// Members that hold what the model wrote, in whichever dialect.
const TEXTS: [&str; 10] = [
    "arguments",
    "content",
    "delta",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "refusal",
    "response",
    "text",
    "thinking",
];

/// How deep an answer is walked; what stands deeper is passed over.
const MAX_DEPTH: usize = 8;

/// Types of the events that end an answer.
const LAST: [&str; 4] = ["message_stop", "response.completed", "response.failed", "response.incomplete"];

/// What one payload held.
#[derive(Debug, Default)]
struct Found {
    done: bool,
    event: Event,
    /// A choice has come to its end.
    finished: bool,
    /// Uncommon members of the root and where each stands, its key included.
    members: Vec<(Box<str>, Range<usize>)>,
    /// Choices, or a type of its own, as an event of the Responses API has one.
    more: bool,
    usage: bool,
    text_bytes: u64,
}

/// What the text of a payload is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Event {
    /// New.
    #[default]
    Delta,
    /// What deltas have told before (the Responses API says each text up to four times).
    Told,
}

fn number(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    Ok(reader.number()?.integer.and_then(crate::protocol::json::Integer::unsigned))
}
