//! What a model that reads texts may be asked for: chats, prompts, texts to embed or to rank.

use std::borrow::Cow;
use std::ops::Range;

use tollgate_core::call::{Ask, Call, Edit, Media, Prompt, Role};
use tollgate_core::ruling::{Code, Refusal};

use super::urls::MediaUrls;
use super::{UnknownMembers, wrong};
use crate::protocol::openai::{Changes, Endpoint, Request};
use crate::protocol::tokens::Counter;
use crate::protocol::{escaped, json};

/// The compiled bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Generate {
    /// How tokens of texts are counted.
    pub(super) tokenizer: Counter,
    /// Most tokens of all texts.
    pub(super) input_tokens: Option<u64>,
    /// Most tokens of an answer.
    pub(super) output_tokens: Option<u64>,
    /// Spliced in where the client bounds nothing.
    pub(super) default_output_tokens: Option<u64>,
    /// A larger wish is cut instead of refused.
    pub(super) clamp: bool,
    pub(super) choices: u64,
    pub(super) messages: u64,
    pub(super) message_chars: Option<u64>,
    pub(super) system_chars: Option<u64>,
    pub(super) chars: Option<u64>,
    pub(super) prompts: u64,
    pub(super) stops: u64,
    pub(super) logprobs: u64,
    pub(super) logit_bias: u64,
    pub(super) tools: u64,
    pub(super) schema_bytes: u64,
    pub(super) token_ids: bool,
    pub(super) media_urls: MediaUrls,
    /// What media may be; anything known where it is empty.
    pub(super) kinds: Vec<&'static str>,
    pub(super) media: MediaBounds,
    /// Members that are let pass though they reach into the server.
    pub(super) members: Vec<Box<str>>,
}

/// Bounds of images and sounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MediaBounds {
    pub(super) count: u64,
    pub(super) pixels: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) duration_ms: u64,
}

impl Generate {
    /// What the gateway changes in a request.
    pub(super) fn edits(&self, endpoint: Endpoint, request: &Request, unknown: UnknownMembers) -> Vec<Edit> {
        let dropped: Vec<Box<str>> = match unknown {
            UnknownMembers::Drop => {
                let extras = request.knobs.extras.iter().filter(|extra| !extra.known);
                extras.filter(|extra| !self.members.contains(&extra.name)).map(|extra| extra.name.clone()).collect()
            }
            UnknownMembers::Allow | UnknownMembers::Deny => Vec::new(),
        };
        let changes = Changes {
            default_output_tokens: self.default_output_tokens.filter(|_| generates(endpoint)),
            clamp_output_tokens: self.output_tokens.filter(|_| self.clamp),
            dropped: &dropped,
        };
        request.edits(endpoint, changes)
    }

    /// The most tokens of one answer to the request that goes up; `asked` by the client.
    pub(super) fn output_cap(&self, endpoint: Endpoint, asked: Option<u64>) -> Option<u64> {
        let most = self.output_tokens.filter(|_| self.clamp).unwrap_or(u64::MAX);
        asked.or(self.default_output_tokens.filter(|_| generates(endpoint))).map(|tokens| tokens.min(most))
    }

    /// Tokens of all texts. Where their bytes alone are too many, that is enough to know.
    pub(super) fn count_tokens(&self, prompts: &[Prompt]) -> u64 {
        let bytes = prompts.iter().map(|prompt| prompt.text.len() as u64).fold(0, u64::saturating_add);
        let fewest = *self.tokenizer.range(bytes).start();
        if self.input_tokens.is_some_and(|most| fewest > most) {
            return fewest;
        }
        prompts.iter().map(|prompt| self.tokenizer.count(&prompt.text)).fold(0, u64::saturating_add)
    }

    /// Checks a call, in whose body the place of a mistake is looked up.
    pub(super) fn check(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        for asked in &call.knobs.asked {
            let most = self.most(asked.what);
            if asked.value > most {
                let expected = match asked.what {
                    Ask::TokenIds => "text instead of token ids".to_owned(),
                    _ => format!("at most {most}"),
                };
                return Err(wrong(&*asked.pointer, expected, asked.value.to_string()));
            }
        }
        if let Some(extra) = call.knobs.extras.iter().find(|extra| extra.known && !self.members.contains(&extra.name)) {
            // INVARIANT: known names are ours.
            return Err(wrong(format!("/{}", extra.name), "no such member: it reaches into the server", "it"));
        }
        if let Some(most) = self.input_tokens.filter(|most| call.knobs.input_tokens > *most) {
            let found = format!("{} tokens", call.knobs.input_tokens);
            let first = call.prompts.first().map_or_else(String::new, |prompt| member_of(body, prompt.at.start));
            return Err(wrong(first, format!("at most {most} tokens to read"), found));
        }
        self.check_texts(call, body)?;
        self.check_media(call, body)
    }

    fn most(&self, what: Ask) -> u64 {
        match what {
            Ask::BestOf | Ask::Choices => self.choices,
            Ask::LogitBias => self.logit_bias,
            Ask::Logprobs => self.logprobs,
            Ask::Messages => self.messages,
            Ask::OutputTokens if self.clamp => u64::MAX,
            Ask::OutputTokens => self.output_tokens.unwrap_or(u64::MAX),
            Ask::Prompts => self.prompts,
            Ask::SchemaBytes => self.schema_bytes,
            Ask::Stops => self.stops,
            Ask::TokenIds if self.token_ids => u64::MAX,
            Ask::TokenIds => 0,
            Ask::Tools => self.tools,
        }
    }

    fn check_texts(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        let mut total = 0_u64;
        for prompt in &call.prompts {
            let most = if prompt.role == Role::System { self.system_chars } else { None }.or(self.message_chars);
            // A character is a byte at least: most texts need no count.
            let bytes = prompt.text.len() as u64;
            if most.is_none() && self.chars.is_none() {
                continue;
            }
            let chars = if Some(bytes) <= most && self.chars.is_none() { bytes } else { count(&prompt.text) };
            total = total.saturating_add(chars);
            if let Some(most) = most.filter(|most| chars > *most) {
                let expected = format!("a text of at most {most} characters");
                return Err(wrong(place(body, prompt.at.start), expected, format!("{chars}")));
            }
            // Of all texts together it is the one that goes beyond the bound.
            if let Some(most) = self.chars.filter(|most| total > *most) {
                let found = format!("{total} up to here");
                return Err(wrong(place(body, prompt.at.start), format!("at most {most} characters in all"), found));
            }
        }
        Ok(())
    }

    /// Images and sounds, of which only the many of a batch are counted elsewhere.
    pub(super) fn check_media(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        let bounds = self.media;
        let count = call.media.len() as u64;
        let counted = call.inputs.is_empty() && call.parts.is_empty();
        let surplus = usize::try_from(bounds.count).ok().filter(|_| counted).and_then(|most| call.media.get(most));
        if let Some(surplus) = surplus {
            let expected = format!("at most {} images or sounds", bounds.count);
            return Err(wrong(place(body, surplus.at.start), expected, count.to_string()));
        }
        for medium in &call.media {
            if medium.kind == Media::FETCHED {
                let Err(expected) = self.media_urls.check(&text_at(body, &medium.at)) else { continue };
                // The server would fetch it from inside the network (SSRF).
                let refusal = Refusal::new(Code::InvalidCall).because("a medium that the server would fetch");
                return Err(refusal.at(super::spot(place(body, medium.at.start), expected, "another URL")));
            }
            let spot = || part_of(call, &medium.at).unwrap_or_else(|| place(body, medium.at.start));
            if !self.kinds.is_empty() && !self.kinds.contains(&medium.kind) {
                let expected = format!("one of `{}`", self.kinds.join("`, `"));
                return Err(wrong(spot(), expected, format!("`{}`", medium.kind)));
            }
            let pixels = u64::from(medium.size[0]).saturating_mul(u64::from(medium.size[1]));
            let duration = medium.longest_ms();
            let table = [
                ("pixels", pixels, bounds.pixels),
                ("frames", u64::from(medium.frames), bounds.frames),
                ("bytes", medium.bytes, bounds.bytes),
                ("milliseconds", duration, bounds.duration_ms),
            ];
            for (what, found, most) in table {
                if found > most {
                    let expected = format!("media of at most {most} {what}");
                    return Err(wrong(spot(), expected, found.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// The pointer of what begins at a byte of the body. Every key on the way is one of the protocol's.
fn place(body: &[u8], at: usize) -> String {
    json::pointer(body, at).unwrap_or_default()
}

/// The field of a form in which a file stands; its name is one that the contract has.
fn part_of(call: &Call, at: &Range<usize>) -> Option<String> {
    call.parts.iter().find(|part| part.at == *at).map(|part| format!("/{}", escaped(&part.name)))
}

/// The text of a JSON string of the body.
fn text_at(body: &[u8], at: &Range<usize>) -> String {
    let mut reader = json::Reader::new(body.get(at.clone()).unwrap_or_default(), json::Limits::default()).ok();
    reader.as_mut().and_then(|reader| reader.string().ok()).map(Cow::into_owned).unwrap_or_default()
}

/// The member of the root in which it stands.
fn member_of(body: &[u8], at: usize) -> String {
    let spot = place(body, at);
    spot.split('/').nth(1).map_or_else(String::new, |member| format!("/{member}"))
}

fn count(text: &str) -> u64 {
    text.chars().count() as u64
}

/// Whether the model writes text that has a length.
const fn generates(endpoint: Endpoint) -> bool {
    !matches!(endpoint, Endpoint::Embeddings | Endpoint::Moderations | Endpoint::OllamaEmbed | Endpoint::Rerank)
}
