//! The `output` section, and its compilation.

use http::header::{self, HeaderName};
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::Output;
use super::names::{Names, is_hop_by_hop};

/// What leaves with a reply.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// What becomes of a model server's 4xx: `hide` or `relay_4xx`. Default: `hide`.
    #[serde(default)]
    pub errors: UpstreamErrors,
    /// Whether replies carry `Content-Security-Policy`, `Referrer-Policy`, `X-Content-Type-Options`, on TLS
    /// `Strict-Transport-Security`, and `Cache-Control: no-store` unless the model server set one. Default: true.
    #[serde(default = "default_security_headers")]
    pub security_headers: bool,
    /// Fields of the model server to drop besides the built-in ones; a `*` at the end stands for any rest.
    /// Default: none.
    #[serde(default)]
    pub drop_headers: Vec<String>,
    /// Fields of the model server to pass although the built-in list drops them; a `*` at the end stands for any rest.
    /// Fields of one connection are never passed. Default: none.
    #[serde(default)]
    pub keep_headers: Vec<String>,
    /// Trailers of an answer over gRPC that leave besides `grpc-status` and `grpc-message`; a `*` at the end stands for
    /// any rest. Default: none.
    #[serde(default)]
    pub trailers: Vec<String>,
}

/// What becomes of a model server's 4xx.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
pub enum UpstreamErrors {
    /// A problem document of ours is sent: 400 and 422 become `invalid_call`, 404 `not_found`, 413 `too_large`, the
    /// others `upstream_failed`.
    #[default]
    #[serde(rename = "hide")]
    Hide,
    /// The server's own body is passed on with 400, 404, 409, 413 and 422. It may tell of the server's insides.
    #[serde(rename = "relay_4xx")]
    Relay4xx,
}

const fn default_security_headers() -> bool {
    true
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            errors: UpstreamErrors::default(),
            security_headers: true,
            drop_headers: Vec::new(),
            keep_headers: Vec::new(),
            trailers: Vec::new(),
        }
    }
}

impl OutputConfig {
    /// Reports every mistake of the section, which `check` stands at, then builds the layer.
    pub fn compile(&self, check: &mut Checker) -> Output {
        if self.errors == UpstreamErrors::Relay4xx {
            check.warn("errors", "error texts of model servers reach clients");
        }
        if !self.security_headers {
            check.warn("security_headers", "replies carry no security headers");
        }
        let drop = names(check, "drop_headers", &self.drop_headers);
        let keep = names(check, "keep_headers", &self.keep_headers);
        let trailers = names(check, "trailers", &self.trailers);
        check.within("drop_headers", |check| {
            for (i, text) in self.drop_headers.iter().enumerate() {
                let needed = matches!(known(text), Some(name) if NEEDED.contains(&name));
                check.require(!needed, i, format!("`{text}` is needed to understand the reply"));
            }
        });
        check.within("keep_headers", |check| {
            for (i, text) in self.keep_headers.iter().enumerate() {
                let hop = known(text).is_some_and(|name| is_hop_by_hop(&name));
                check.require(!hop, i, format!("`{text}` belongs to one connection and never passes"));
                let both = self.drop_headers.iter().any(|dropped| dropped.eq_ignore_ascii_case(text));
                check.require(!both, i, format!("`{text}` is also in `drop_headers`"));
            }
        });
        Output { errors: self.errors, security_headers: self.security_headers, drop, keep, trailers }
    }
}

/// Fields without which the body cannot be read.
const NEEDED: [HeaderName; 3] = [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_TYPE];

fn known(text: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}

fn names(check: &mut Checker, at: &str, texts: &[String]) -> Names {
    let mut names = Names::default();
    check.within(at, |check| {
        for (i, text) in texts.iter().enumerate() {
            if let Err(why) = names.add(text) {
                check.problem(i, why);
            }
        }
    });
    names
}
