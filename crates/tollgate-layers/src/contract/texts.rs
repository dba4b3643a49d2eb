//! The part of a contract's configuration that is about texts and media, and its compilation.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::config::{ContractConfig, Odds};
use super::generate::{Generate, MediaBounds};
use crate::protocol::tokens::Counter;

/// Bounds of the images and sounds of one request, as their headers tell.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// The most of them. Default: 16.
    pub max_count: u64,
    /// The most pixels of one: columns times rows. Default: 16000000.
    pub max_pixels: u64,
    /// The most pictures of one, where it is animated. Default: 1.
    pub max_frames: u64,
    /// The most bytes of one. Default: 16777216 (16 MiB).
    pub max_bytes: u64,
    /// The longest, in seconds. Default: 600.
    pub max_seconds: u64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self { max_count: 16, max_pixels: 16_000_000, max_frames: 1, max_bytes: 16 << 20, max_seconds: 600 }
    }
}

/// What becomes of a wish beyond a bound.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// It is cut to the bound.
    Clamp,
    /// The call is refused.
    #[default]
    Refuse,
}

impl Default for ContractConfig {
    fn default() -> Self {
        let (inputs, outputs, batch, text, unknown_members, raw_body) = Default::default();
        let (max_message_chars, max_system_chars, max_chars) = Default::default();
        Self {
            inputs,
            outputs,
            batch,
            text,
            unknown_members,
            raw_body,
            max_output_tokens: None,
            max_input_tokens: None,
            tokenizer: default_tokenizer(),
            default_output_tokens: None,
            over_output_tokens: Over::default(),
            n: default_one(),
            max_messages: default_max_messages(),
            max_message_chars,
            max_system_chars,
            max_chars,
            max_prompts: default_max_prompts(),
            max_stops: default_max_stops(),
            max_logprobs: default_max_logprobs(),
            max_logit_bias: default_max_logit_bias(),
            max_tools: default_max_tools(),
            max_schema_bytes: default_max_schema_bytes(),
            token_ids: Odds::default(),
            media_urls: Odds::default(),
            media: MediaConfig::default(),
            schema: None,
            openapi: None,
            members: Vec::new(),
            columns: Odds::allow(),
            wished_output_tokens: None,
        }
    }
}

impl ContractConfig {
    /// The bounds of a model of texts.
    pub(super) fn generate(&self, check: &mut Checker) -> Generate {
        let (default, most) = (self.default_output_tokens.or(self.max_output_tokens), self.max_output_tokens);
        let fits = most.is_none_or(|most| default.is_none_or(|default| default <= most));
        check.require(fits, "default_output_tokens", "more than `max_output_tokens`");
        let clamp = self.over_output_tokens == Over::Clamp;
        check.require(!clamp || most.is_some(), "over_output_tokens", "`clamp` needs `max_output_tokens`");
        let tokenizer = Counter::load(&self.tokenizer).map_err(|why| {
            check.problem("tokenizer", format!("`{}`: {why}", self.tokenizer));
        });
        Generate {
            tokenizer: tokenizer.unwrap_or_default(),
            input_tokens: self.max_input_tokens,
            output_tokens: most.or(self.wished_output_tokens),
            default_output_tokens: default,
            clamp,
            choices: self.n,
            messages: self.max_messages,
            message_chars: self.max_message_chars,
            system_chars: self.max_system_chars,
            chars: self.max_chars,
            prompts: self.max_prompts,
            stops: self.max_stops,
            logprobs: self.max_logprobs,
            logit_bias: self.max_logit_bias,
            tools: self.max_tools,
            schema_bytes: self.max_schema_bytes,
            token_ids: self.token_ids == Odds::Allow,
            media_urls: self.media_urls == Odds::Allow,
            media: MediaBounds {
                count: self.media.max_count,
                pixels: self.media.max_pixels,
                frames: self.media.max_frames,
                bytes: self.media.max_bytes,
                duration_ms: self.media.max_seconds.saturating_mul(1_000),
            },
            members: self.members.iter().map(|member| member.as_str().into()).collect(),
        }
    }
}

pub(super) fn default_tokenizer() -> String {
    "bytes".to_owned()
}

pub(super) const fn default_one() -> u64 {
    1
}

pub(super) const fn default_max_messages() -> u64 {
    256
}

pub(super) const fn default_max_prompts() -> u64 {
    64
}

pub(super) const fn default_max_stops() -> u64 {
    16
}

pub(super) const fn default_max_logprobs() -> u64 {
    20
}

pub(super) const fn default_max_logit_bias() -> u64 {
    300
}

pub(super) const fn default_max_tools() -> u64 {
    128
}

pub(super) const fn default_max_schema_bytes() -> u64 {
    65_536
}
