//! OpenAI's HTTP API as model servers speak it: chat completions, completions, embeddings, responses, moderations and
//! rerank. Requests only; frames of answers are in `frames`.
//!
//! Structure and types are strict, because servers differ in what they make of the rest (vLLM reads `"9"` as 9 and
//! `true` as 1, llama.cpp 2.9 as 2): how much of anything is allowed is the contract's.

pub(in crate::protocol) mod input;
pub(in crate::protocol) mod message;
mod responses;
mod schema;
#[cfg(test)]
mod tests;
pub(in crate::protocol) mod value;

use std::ops::Range;

use tollgate_core::call::{Ask, Asked, Edit, Extra, Knobs, Media, Prompt};

use super::Wrong;
use super::json::{self, Kind, Reader};
use super::name;
pub use schema::SchemaBounds;

/// Which endpoint a path is. Anthropic's and Ollama's share their words and their reader with OpenAI's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// `/chat/completions`
    Chat,
    /// `/completions`
    Completions,
    /// `/embeddings`
    Embeddings,
    /// `/moderations`
    Moderations,
    /// `/rerank`
    Rerank,
    /// `/responses`
    Responses,
    /// Anthropic's `/v1/messages`
    Messages,
    /// Ollama's `/api/chat`
    OllamaChat,
    /// Ollama's `/api/embed`
    OllamaEmbed,
    /// Ollama's `/api/generate`
    OllamaGenerate,
}

impl Endpoint {
    /// The endpoint of OpenAI's API that `path` ends with.
    #[must_use]
    pub fn of_openai(path: &str) -> Option<Self> {
        const PATHS: [(&str, Endpoint); 6] = [
            // Before `/completions`, which it ends with.
            ("/chat/completions", Endpoint::Chat),
            ("/completions", Endpoint::Completions),
            ("/embeddings", Endpoint::Embeddings),
            ("/moderations", Endpoint::Moderations),
            ("/rerank", Endpoint::Rerank),
            ("/responses", Endpoint::Responses),
        ];
        PATHS.into_iter().find(|(suffix, _)| path.ends_with(suffix)).map(|(_, endpoint)| endpoint)
    }

    /// Whether `path` ends with one of OpenAI's endpoints that take a form.
    #[must_use]
    pub fn takes_form(path: &str) -> bool {
        const PATHS: [&str; 4] =
            ["/audio/transcriptions", "/audio/translations", "/images/edits", "/images/variations"];
        PATHS.iter().any(|suffix| path.ends_with(suffix))
    }

    /// The endpoint of Ollama's API that `path` ends with.
    #[must_use]
    pub fn of_ollama(path: &str) -> Option<Self> {
        match path.rsplit_once("/api/")?.1 {
            "chat" => Some(Self::OllamaChat),
            "embed" => Some(Self::OllamaEmbed),
            "generate" => Some(Self::OllamaGenerate),
            _ => None,
        }
    }
}

/// A request as the API understands it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `model`
    pub model: Box<str>,
    /// Texts, in order.
    pub prompts: Vec<Prompt>,
    /// Images and sounds, in order.
    pub media: Vec<Media>,
    /// What it asks for.
    pub knobs: Knobs,
    /// Members of the root, in order.
    members: Vec<Member>,
    /// Ollama's options, where its bound of an answer stands.
    pub(in crate::protocol) options: Option<Options>,
    /// Where the root's `}` stands.
    end: usize,
}

/// An object of options.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Options {
    /// Where its first member stands, or its end.
    pub(in crate::protocol) begin: usize,
    /// Whether it has no member.
    pub(in crate::protocol) empty: bool,
    /// The value of `num_predict`, also where it is `null`.
    pub(in crate::protocol) bound: Option<Range<usize>>,
}

/// A member of the root.
#[derive(Clone, Debug)]
struct Member {
    name: Box<str>,
    /// From its key's quote to behind its value.
    at: Range<usize>,
    value: Range<usize>,
}

/// What the gateway changes in a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// Spliced in where the request bounds its answer in no spelling.
    pub default_output_tokens: Option<u64>,
    /// A larger bound becomes this one.
    pub clamp_output_tokens: Option<u64>,
    /// Members that are taken out.
    pub dropped: &'a [Box<str>],
}

/// Reads a request.
///
/// # Errors
/// The first mistake; what is malformed is said first.
pub fn request(endpoint: Endpoint, body: &[u8], limits: json::Limits) -> Result<Request, Wrong> {
    let mut parser = Parser { reader: Reader::new(body, limits)?, request: Request::default(), endpoint };
    parser.root().map_err(|wrong| wrong.unless_malformed(body, limits))?;
    Ok(parser.request)
}

/// Members of the protocol that reach into the server: another prompt than the one that was judged, answers without
/// end, state on the server, another tenant's adapter. Refused unless the contract names them.
const REACHING: [&str; 52] = [
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "background",
    "bad_words",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "container",
    "context",
    "context_management",
    "continue_final_message",
    "conversation",
    "documents",
    "ec_transfer_params",
    "echo",
    "enable_response_messages",
    "grammar",
    "ignore_eos",
    "include",
    "keep_alive",
    "kv_transfer_params",
    "logits_processors",
    "logprob_token_ids",
    "mcp_servers",
    "media_io_kwargs",
    "metadata",
    "min_tokens",
    "mm_payload",
    "mm_processor_kwargs",
    "n_probs",
    "previous_input_messages",
    "previous_response_id",
    "priority",
    "prompt",
    "prompt_embeds",
    "prompt_logprobs",
    "raw",
    "request_id",
    "return_mm_kwargs",
    "return_prompt_text",
    "return_token_ids",
    "routed_experts_prompt_start",
    "session_id",
    "store",
    "structured_outputs",
    "template",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_beam_search",
    "vllm_xargs",
    "web_search_options",
];

/// Families of such members.
const REACHING_FAMILIES: [&str; 2] = ["guided_", "lora"];

pub(in crate::protocol) struct Parser<'a> {
    pub(in crate::protocol) reader: Reader<'a>,
    pub(in crate::protocol) request: Request,
    pub(in crate::protocol) endpoint: Endpoint,
}

impl Parser<'_> {
    fn root(&mut self) -> Result<(), Wrong> {
        self.request.knobs.choices = 1;
        // Ollama streams unless it is told not to.
        self.request.knobs.stream = matches!(self.endpoint, Endpoint::OllamaChat | Endpoint::OllamaGenerate);
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let at = self.reader.key_at();
            self.reader.peek()?;
            let value = self.reader.at();
            self.member(&key).map_err(|wrong| wrong.under(&key))?;
            let (at, value) = (at..self.reader.at(), value..self.reader.at());
            self.request.members.push(Member { name: key.into(), at, value });
        }
        self.request.end = self.reader.at() - 1;
        self.reader.finish()?;
        self.complete()
    }

    fn member(&mut self, key: &str) -> Result<(), Wrong> {
        match self.endpoint {
            Endpoint::Messages => self.anthropic_member(key),
            Endpoint::OllamaChat | Endpoint::OllamaEmbed | Endpoint::OllamaGenerate => self.ollama_member(key),
            _ => self.openai_member(key),
        }
    }

    fn openai_member(&mut self, key: &str) -> Result<(), Wrong> {
        use Endpoint::{Chat, Completions, Embeddings, Moderations, Rerank, Responses};
        match (key, self.endpoint) {
            ("model", _) => self.model(),
            ("messages", Chat) => self.messages(),
            ("prompt", Completions) => self.texts(input::PROMPT),
            ("input", Embeddings | Moderations) => self.texts(input::INPUT),
            ("query", Rerank) => self.texts(input::QUERY),
            ("documents", Rerank) => self.texts(input::DOCUMENTS),
            ("input", Responses) => self.items(),
            ("instructions", Responses) => self.instructions(),
            ("text", Responses) => self.text_format(),
            ("suffix", Completions) => self.texts(input::SUFFIX),
            ("max_tokens", Chat | Completions) | ("max_completion_tokens", Chat) | ("max_output_tokens", Responses) => {
                self.output_tokens(key)
            }
            ("n", Chat | Completions) => self.count(key, Ask::Choices, 1),
            ("best_of", Completions) => self.count(key, Ask::BestOf, 1),
            ("logprobs", Completions) | ("top_logprobs", Chat | Responses) => self.count(key, Ask::Logprobs, 0),
            ("top_n", Rerank) | ("dimensions", Embeddings) => value::integer(&mut self.reader, 1..=1 << 20).map(drop),
            ("stream", Chat | Completions | Responses) => self.stream(),
            ("stream_options", Chat | Completions) => self.stream_options(),
            ("stop", Chat | Completions) => self.stops(),
            ("logit_bias", Chat | Completions) => self.logit_bias(),
            ("tools" | "functions", Chat) | ("tools", Responses) => self.tools(),
            ("response_format", Chat | Completions) => self.response_format(),
            ("encoding_format", Embeddings) => value::one_of(&mut self.reader, &["base64", "float"]),
            _ => self.plain_member(key),
        }
    }

    /// Members whose type alone matters, and members that only the contract may allow.
    fn plain_member(&mut self, key: &str) -> Result<(), Wrong> {
        use Endpoint::{Chat, Completions, Responses};
        let generates = matches!(self.endpoint, Chat | Completions | Responses);
        let reader = &mut self.reader;
        match key {
            "temperature" if generates => value::number(reader, 0.0..=2.0),
            "top_p" | "min_p" if generates => value::number(reader, 0.0..=1.0),
            "presence_penalty" | "frequency_penalty" if generates => value::number(reader, -2.0..=2.0),
            "repetition_penalty" if generates => value::number(reader, 0.0..=2.0),
            "top_k" if generates => value::signed(reader, -1..=1 << 20),
            "seed" if generates => value::signed(reader, i64::MIN..=i64::MAX),
            "logprobs" | "parallel_tool_calls" if generates => value::boolean(reader).map(drop),
            "tool_choice" | "function_call" if generates => value::choice(reader),
            "reasoning_effort" | "service_tier" | "verbosity" | "truncation" if generates => value::text(reader, 64),
            "reasoning" if self.endpoint == Responses => Ok(reader.skip()?),
            "user" | "safety_identifier" | "prompt_cache_key" => value::text(reader, 512),
            _ => self.extra(key),
        }
    }

    pub(in crate::protocol) fn model(&mut self) -> Result<(), Wrong> {
        self.request.model = name::name(&mut self.reader)?;
        Ok(())
    }

    pub(in crate::protocol) fn stream(&mut self) -> Result<(), Wrong> {
        if let Some(stream) = value::boolean(&mut self.reader)? {
            self.request.knobs.stream = stream;
        }
        Ok(())
    }

    pub(in crate::protocol) fn extra(&mut self, key: &str) -> Result<(), Wrong> {
        let known = REACHING.contains(&key) || REACHING_FAMILIES.iter().any(|family| key.starts_with(family));
        // An absent value asks for nothing, and clients write `null` and `store: false` for it.
        let silent = match self.reader.peek()? {
            Kind::Null => self.reader.null().map(|()| true)?,
            Kind::Bool => !self.reader.boolean()?,
            _ => self.reader.skip().map(|()| false)?,
        };
        if !(known && silent) {
            self.request.knobs.extras.push(Extra { name: key.into(), known });
        }
        Ok(())
    }

    /// What must be there, and what follows from several members.
    fn complete(&mut self) -> Result<(), Wrong> {
        let (endpoint, request) = (self.endpoint, &mut self.request);
        if request.model.is_empty() {
            return Err(missing("model"));
        }
        let needed: &[&str] = match endpoint {
            Endpoint::Chat | Endpoint::OllamaChat => &["messages"],
            Endpoint::Messages => &["messages", "max_tokens"],
            Endpoint::OllamaEmbed => &["input"],
            Endpoint::OllamaGenerate => &["prompt"],
            Endpoint::Completions => &["prompt"],
            Endpoint::Embeddings | Endpoint::Moderations | Endpoint::Responses => &["input"],
            Endpoint::Rerank => &["query", "documents"],
        };
        for needed in needed {
            if !request.members.iter().any(|member| &*member.name == *needed) {
                return Err(missing(needed));
            }
        }
        let of =
            |what: Ask| request.knobs.asked.iter().filter(move |asked| asked.what == what).map(|asked| asked.value);
        let answers = of(Ask::Choices).chain(of(Ask::BestOf)).max().unwrap_or(1);
        let prompts = of(Ask::Prompts).max().unwrap_or(1);
        request.knobs.choices = answers.max(1).saturating_mul(prompts.max(1));
        // vLLM and OpenAI take the newer spelling, llama.cpp the last: the larger one is what may be paid.
        request.knobs.output_tokens = of(Ask::OutputTokens).max();
        Ok(())
    }

    fn output_tokens(&mut self, key: &str) -> Result<(), Wrong> {
        self.count(key, Ask::OutputTokens, 1)
    }

    /// A count of at least `least` that the contract bounds; `null` is none.
    pub(in crate::protocol) fn count(&mut self, key: &str, what: Ask, least: u64) -> Result<(), Wrong> {
        if let Some(value) = value::integer(&mut self.reader, least..=u64::MAX)? {
            self.asked(what, key, value);
        }
        Ok(())
    }

    pub(in crate::protocol) fn asked(&mut self, what: Ask, pointer: &str, value: u64) {
        self.request.knobs.asked.push(Asked { what, pointer: format!("/{pointer}").into(), value });
    }

    /// `{"include_usage": bool}` and nothing else: other options reach into the server.
    fn stream_options(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            if &*key != "include_usage" {
                return Err(Wrong::here("`include_usage` alone", "another option"));
            }
            let wished = value::boolean(&mut self.reader).map_err(|wrong| wrong.under("include_usage"))?;
            self.request.knobs.usage = wished.unwrap_or(false);
        }
        Ok(())
    }

    pub(in crate::protocol) fn stops(&mut self) -> Result<(), Wrong> {
        let count = match self.reader.peek()? {
            Kind::Array => {
                self.reader.enter_array()?;
                let mut count = 0_u64;
                while self.reader.next_item()? {
                    value::text(&mut self.reader, 256).map_err(|wrong| wrong.under(count))?;
                    count += 1;
                }
                count
            }
            Kind::Null => return Ok(self.reader.null()?),
            _ => value::text(&mut self.reader, 256).map(|()| 1)?,
        };
        let pointer = if self.endpoint == Endpoint::Messages { "stop_sequences" } else { "stop" };
        self.asked(Ask::Stops, pointer, count);
        Ok(())
    }

    /// Token ids to numbers: 100,000 entries held llama.cpp for seconds.
    fn logit_bias(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.object()?;
        let mut count = 0_u64;
        while let Some(key) = self.reader.next_key()? {
            if !(1..=10).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Wrong::here("token ids as keys", "another key"));
            }
            value::number(&mut self.reader, -100.0..=100.0).map_err(|wrong| wrong.under(&key))?;
            count += 1;
        }
        self.asked(Ask::LogitBias, "logit_bias", count);
        Ok(())
    }

    pub(in crate::protocol) fn object(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::Object => Ok(self.reader.enter_object()?),
            kind => Err(Wrong::here(Kind::Object.name(), kind.name())),
        }
    }

    pub(in crate::protocol) fn array(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::Array => Ok(self.reader.enter_array()?),
            kind => Err(Wrong::here(Kind::Array.name(), kind.name())),
        }
    }
}

impl Request {
    /// The changes that `changes` makes in the body: ranges in order, none over another.
    #[must_use]
    pub fn edits(&self, endpoint: Endpoint, changes: Changes<'_>) -> Vec<Edit> {
        let mut edits = self.removals(changes.dropped);
        let is_kept = |member: &&Member| !changes.dropped.contains(&member.name);
        let mut added = String::new();
        if let Some(most) = changes.clamp_output_tokens.filter(|most| self.knobs.output_tokens > Some(*most)) {
            edits
                .extend(self.bounds(changes.dropped).map(|at| Edit { at, with: most.to_string().into_bytes().into() }));
        }
        if let (None, Some(tokens)) = (self.knobs.output_tokens, changes.default_output_tokens) {
            self.bound(endpoint, tokens, &mut edits, &mut added);
        }
        if self.knobs.stream && !self.knobs.usage && matches!(endpoint, Endpoint::Chat | Endpoint::Completions) {
            match self.members.iter().filter(is_kept).find(|member| &*member.name == "stream_options") {
                Some(options) => {
                    edits
                        .push(Edit { at: options.value.clone(), with: br#"{"include_usage":true}"#.as_slice().into() });
                }
                None => added.push_str(r#","stream_options":{"include_usage":true}"#),
            }
        }
        if !added.is_empty() {
            // INVARIANT: `model` is always there and never dropped, so that a comma is due.
            edits.push(Edit { at: self.end..self.end, with: added.into_bytes().into() });
        }
        edits.sort_by_key(|edit| edit.at.start);
        edits
    }

    /// Where the bounds of the answer stand, in every spelling that is not taken out.
    fn bounds(&self, dropped: &[Box<str>]) -> impl Iterator<Item = Range<usize>> {
        const NAMES: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
        let is_kept = |member: &&Member| NAMES.contains(&&*member.name) && !dropped.contains(&member.name);
        let spelled = self.members.iter().filter(is_kept);
        let nested = self.options.as_ref().and_then(|options| options.bound.clone());
        spelled.map(|member| member.value.clone()).chain(nested)
    }

    /// Bounds an answer that the client bounds in no spelling: `null` is replaced, else a member is added.
    fn bound(&self, endpoint: Endpoint, tokens: u64, edits: &mut Vec<Edit>, added: &mut String) {
        let name = match endpoint {
            Endpoint::OllamaChat | Endpoint::OllamaEmbed | Endpoint::OllamaGenerate => "options",
            Endpoint::Responses => "max_output_tokens",
            _ => "max_tokens",
        };
        let whole = match name {
            "options" => format!("{{\"num_predict\":{tokens}}}"),
            _ => tokens.to_string(),
        };
        let mut put = |at: Range<usize>, with: String| edits.push(Edit { at, with: with.into_bytes().into() });
        match (&self.options, self.members.iter().find(|member| &*member.name == name)) {
            (Some(Options { bound: Some(null), .. }), _) => put(null.clone(), tokens.to_string()),
            (Some(Options { begin, empty, .. }), _) => {
                let comma = if *empty { "" } else { "," };
                put(*begin..*begin, format!("\"num_predict\":{tokens}{comma}"));
            }
            (None, Some(null)) => put(null.value.clone(), whole),
            (None, None) => added.push_str(&format!(",\"{name}\":{whole}")),
        }
    }

    /// Takes members out, each run of them with one comma.
    fn removals(&self, dropped: &[Box<str>]) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        let mut kept_end = None;
        let mut run: Option<Range<usize>> = None;
        for member in &self.members {
            if dropped.contains(&member.name) {
                let start = run.map_or(member.at.start, |run| run.start);
                run = Some(start..member.at.end);
                continue;
            }
            if let Some(run) = run.take() {
                // With a kept member before it the run goes from that one's end to this one's comma, else to this one.
                let at = kept_end.map_or(run.start..member.at.start, |end| end..run.end);
                edits.push(Edit { at, with: Box::default() });
            }
            kept_end = Some(member.at.end);
        }
        if let Some(run) = run {
            edits.push(Edit { at: kept_end.unwrap_or(run.start)..run.end, with: Box::default() });
        }
        edits
    }
}

fn missing(member: &str) -> Wrong {
    Wrong::here(format!("a member `{member}`"), "none")
}
