//! What a generating answer cost, read off its frames or its body: the server's usage where it says one, else the text.

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
    /// The server said that the answer is complete.
    done: bool,
}

impl Meter {
    /// For an answer in the words of `dialect`.
    #[must_use]
    pub const fn new(dialect: Dialect, strip_usage: bool) -> Self {
        Self { dialect, strip_usage, input_tokens: None, output_tokens: None, text_bytes: 0, done: false }
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
        let bare = self.read(payload).unwrap_or_default();
        if bare && self.strip_usage { Keep::Drop } else { Keep::Pass }
    }

    /// Reads a whole answer.
    pub fn body(&mut self, body: &[u8]) {
        // A body that is no JSON tells nothing.
        self.done = self.read(body).is_ok();
    }

    /// Whether the payload is usage and nothing else.
    fn read(&mut self, payload: &[u8]) -> Result<bool, Malformed> {
        // Servers nest deeper than clients may: a schema comes back whole.
        let mut reader = Reader::new(payload, Limits { depth: 128, keys: 4_096 })?;
        if reader.peek()? != Kind::Object {
            return Ok(false);
        }
        let mut found = Found::default();
        self.object(&mut reader, &mut found, 0)?;
        self.done |= found.done;
        Ok(self.dialect == Dialect::OpenAi && found.usage && !found.more)
    }

    /// Walks an object. Text, usage and marks stand at known names at few places in every dialect, so that one walk does
    /// for all; it calls itself at most eight deep.
    fn object(&mut self, reader: &mut Reader<'_>, found: &mut Found, depth: usize) -> Result<(), Malformed> {
        reader.enter_object()?;
        while let Some(key) = reader.next_key()? {
            let kind = reader.peek()?;
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
                    self.text_bytes = self.text_bytes.saturating_add(reader.string()?.len() as u64);
                }
                ("done", Kind::Bool) => found.done |= reader.boolean()?,
                ("type", Kind::String) => {
                    // The last event of a response has its usage inside, beside the whole answer.
                    found.more |= depth == 0;
                    found.done |= LAST.contains(&&*reader.string()?);
                }
                // What a tool was described as, or the prompt come back, is no answer.
                ("tools" | "instructions" | "input" | "prompt" | "metadata", _) => reader.skip()?,
                ("choices", Kind::Array) => found.more |= self.array(reader, found, depth + 1)?,
                (_, Kind::Object) if depth < MAX_DEPTH => self.object(reader, found, depth + 1)?,
                (_, Kind::Array) if depth < MAX_DEPTH => drop(self.array(reader, found, depth + 1)?),
                _ => reader.skip()?,
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
    /// Choices, or a type of its own, as an event of the Responses API has one.
    more: bool,
    usage: bool,
}

fn number(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    Ok(reader.number()?.integer.and_then(crate::protocol::json::Integer::unsigned))
}
