//! The only constructor of refusals: RFC 9457 problem documents. Its argument list is the leak-proofing, because a
//! [`Denial`] carries no evidence.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tollgate_core::identity::{ExchangeId, Identity};
use tollgate_core::ruling::{Code, Denial};
use tollgate_layers::intake::ACCEPTED_OF_MESSAGES;
use tollgate_layers::limits::Unit;
use tollgate_layers::limits::headers::{is_too_long_to_retry, retry_after, retry_after_ms};
use tollgate_layers::output::rpc;
use tollgate_layers::routes::Protocol;

use crate::exchange::Seen;

/// Where the codes are explained; each has an anchor of its own name.
pub const DOCS: &str = "https://tollgate.dev/reference/codes";

/// The shape of refusals on a route.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Face {
    /// Anthropic's error object.
    Anthropic,
    /// The trailers of gRPC, under status 200.
    Grpc,
    /// Ollama's: a text.
    Ollama,
    /// OpenAI's error object, which its SDKs turn into exceptions.
    OpenAi,
    /// `application/problem+json`.
    #[default]
    Problem,
}

impl Face {
    /// The face of an exchange: what the request called itself, then its route; where none was found, a problem document.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        match seen.route.as_ref().map(|route| route.protocol) {
            _ if seen.rpc => Self::Grpc,
            Some(Protocol::Anthropic) => Self::Anthropic,
            Some(Protocol::Ollama) => Self::Ollama,
            Some(Protocol::OpenAi) => Self::OpenAi,
            _ => Self::Problem,
        }
    }
}

/// Public figures about a quota, for callers who proved who they are: everybody else gets [`Figures::default`].
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures<'a> {
    /// The budgets that said no.
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated: Option<[&'a str; 1]>,
    /// What these figures count.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    /// What the call asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<u64>,
    /// The most that one call can ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Whether the budget begins anew by the calendar.
    #[serde(skip)]
    calendar: bool,
}

impl<'a> Figures<'a> {
    /// What the one who asks may know of why they were denied.
    #[must_use]
    pub fn of(denial: &'a Denial, seen: &Seen) -> Self {
        if seen.who.as_ref().is_none_or(Identity::is_anonymous) {
            return Self::default();
        }
        let reserved = Some(seen.reserved.0).filter(|cost| *cost > 0);
        let Some(short) = denial.short.as_deref() else {
            return Self { cost: reserved, unit: reserved.map(|_| Unit::Compute.name()), ..Self::default() };
        };
        Self {
            violated: Some([&short.budget]),
            unit: Some(short.unit),
            cost: Some(short.cost),
            limit: Some(short.limit),
            calendar: short.calendar,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(flatten)]
    figures: Figures<'a>,
}

/// Makes the answer to a denied exchange.
#[must_use]
pub fn problem(denial: &Denial, id: ExchangeId, face: Face, figures: Figures<'_>) -> Response<Bytes> {
    if face == Face::Grpc {
        return trailers_only(denial, id, figures);
    }
    let spot = denial.spot.as_deref();
    let document = Document {
        r#type: type_of(denial.code),
        title: denial.code.title(),
        status: denial.code.status(),
        code: denial.code.name(),
        instance: format!("urn:tollgate:exchange:{id}"),
        retry_after_ms: wait_ms(denial),
        pointer: spot.map(|spot| spot.pointer.as_str()),
        expected: spot.map(|spot| spot.expected.as_str()),
        found: spot.map(|spot| spot.found.as_str()),
        index: spot.and_then(|spot| spot.index),
        figures,
    };
    let body = match face {
        Face::Problem => serde_json::to_vec(&document),
        other => serde_json::to_vec(&spoken(denial, id, other, figures)),
    };
    let body = body.expect("a document of strings and numbers");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(denial.code.status()).expect("the table holds statuses");
    let headers = response.headers_mut();
    let kind = if face == Face::Problem { "application/problem+json" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if denial.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if face != Face::Problem {
        // These dialects have words of their own for some codes.
        headers.insert(PROBLEM, HeaderValue::from_static(denial.code.name()));
    }
    if let Some(wait) = denial.retry_after {
        headers.insert(RETRY_AFTER, retry_after(wait));
        headers.insert("retry-after-ms", retry_after_ms(wait));
    }
    if !may_retry(denial) {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Whether a client library may come back by itself. Official SDKs ignore waits above two minutes and hammer instead, and
/// what never fits fits no better the second time.
fn may_retry(denial: &Denial) -> bool {
    denial.code != Code::TooExpensive && !denial.retry_after.is_some_and(is_too_long_to_retry)
}

/// In milliseconds, never less than it is.
fn wait_ms(denial: &Denial) -> Option<u64> {
    let ms = |wait: Duration| u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    denial.retry_after.map(ms)
}

/// The last event of a stream that is cut; `None` where the face has no streams.
#[must_use]
pub fn event(denial: &Denial, id: ExchangeId, face: Face) -> Option<Bytes> {
    let document = spoken(denial, id, face, Figures::default());
    match face {
        Face::Anthropic => Some(format!("event: error\ndata: {document}\n\n").into()),
        Face::Ollama => Some(format!("{document}\n").into()),
        Face::OpenAi => Some(format!("data: {document}\n\n").into()),
        Face::Grpc | Face::Problem => None,
    }
}

/// An answer of gRPC that is nothing but its end.
fn trailers_only(denial: &Denial, id: ExchangeId, figures: Figures<'_>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = trailers(denial, id, figures);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    if denial.code == Code::Unsupported {
        response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED_OF_MESSAGES));
    }
    response
}

/// The field that names our code where a dialect has no member for it.
const PROBLEM: HeaderName = HeaderName::from_static("tollgate-problem");

/// The content type of answers over gRPC.
pub const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What an answer of gRPC ends with where the exchange is denied. The text says what a problem document says.
#[must_use]
pub fn trailers(denial: &Denial, id: ExchangeId, figures: Figures<'_>) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(4);
    out.insert(rpc::STATUS, HeaderValue::from(u16::from(denial.code.grpc_status())));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&message(denial, id, figures))) {
        out.insert(rpc::MESSAGE, message);
    }
    out.insert(PROBLEM, HeaderValue::from_static(denial.code.name()));
    // What clients with a retry policy wait (gRFC A6); below zero: they do not retry. It is read as 32 bits.
    if !may_retry(denial) {
        out.insert("grpc-retry-pushback-ms", HeaderValue::from_static("-1"));
    } else if let Some(wait) = wait_ms(denial) {
        out.insert("grpc-retry-pushback-ms", HeaderValue::from(wait));
    }
    out
}

/// What an answer of gRPC ends with that is as it was asked for.
#[must_use]
pub fn good_trailers() -> HeaderMap {
    std::iter::once((rpc::STATUS, HeaderValue::from_static("0"))).collect()
}

/// As `grpc-message` is written: printable ASCII without `%` stays.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// One sentence for people.
fn message(denial: &Denial, id: ExchangeId, figures: Figures<'_>) -> String {
    let title = denial.code.title();
    let Figures { violated: Some([budget]), unit: Some(unit), cost: Some(cost), limit: Some(limit), .. } = figures
    else {
        return match denial.spot.as_deref() {
            None => format!("{title} (exchange {id})"),
            Some(spot) => format!("{title}: expected {}, found {} (exchange {id})", spot.expected, spot.found),
        };
    };
    let unit = if unit == Unit::Compute.name() { "µs of compute" } else { unit };
    format!(
        "{title}: budget `{budget}` gives at most {limit} {unit} to one call, and this one asks for {cost} (exchange {id})"
    )
}

/// The error object of a dialect.
fn spoken(denial: &Denial, id: ExchangeId, face: Face, figures: Figures<'_>) -> Value {
    let spot = denial.spot.as_deref();
    let message = message(denial, id, figures);
    let (kind, code) = if face == Face::Anthropic {
        (anthropic_type(denial.code), denial.code.name())
    } else {
        openai_words(denial.code, figures.calendar)
    };
    let param =
        spot.map(|spot| spot.pointer.trim_start_matches('/').replace('/', ".")).filter(|param| !param.is_empty());
    // Two dialects have no member for a code or a place: theirs stand beside what their clients read.
    let pointer = spot.map(|spot| &*spot.pointer);
    let mut error = match face {
        Face::Anthropic => json!({ "type": kind, "message": message, "code": code, "pointer": pointer }),
        Face::Ollama => json!({ "error": message, "code": denial.code.name(), "pointer": pointer }),
        Face::Grpc | Face::OpenAi | Face::Problem => {
            json!({ "message": message, "type": kind, "param": param, "code": code })
        }
    };
    add_figures(&mut error, denial, figures);
    match face {
        Face::Anthropic => json!({ "type": "error", "error": error }),
        Face::Ollama => error,
        Face::Grpc | Face::OpenAi | Face::Problem => json!({ "error": error }),
    }
}

/// The members of a problem document, where a dialect has no such document.
fn add_figures(error: &mut Value, denial: &Denial, figures: Figures<'_>) {
    let Some(members) = error.as_object_mut() else { return };
    if let Ok(Value::Object(more)) = serde_json::to_value(figures)
        && !more.is_empty()
    {
        members.extend(more);
        members.extend(wait_ms(denial).map(|wait| ("retry_after_ms".to_owned(), wait.into())));
    }
}

/// What OpenAI's API calls the type and the code of such an error. `calendar`: a quota is used up, and will be for long.
const fn openai_words(code: Code, calendar: bool) -> (&'static str, &'static str) {
    match code {
        Code::Overloaded => ("service_unavailable_error", "server_is_overloaded"),
        Code::RateLimited if calendar => ("insufficient_quota", "insufficient_quota"),
        Code::RateLimited => ("rate_limit_error", "rate_limit_exceeded"),
        Code::TooExpensive => ("invalid_request_error", "cost_exceeds_capacity"),
        Code::Unavailable => ("service_unavailable_error", code.name()),
        other => (
            match other.status() {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                429 => "rate_limit_error",
                500.. => "server_error",
                _ => "invalid_request_error",
            },
            code.name(),
        ),
    }
}

/// What Anthropic's API calls the type of such an error.
const fn anthropic_type(code: Code) -> &'static str {
    match code.status() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The IANA problem type where one fits, else the anchor in our docs.
fn type_of(code: Code) -> String {
    const IANA: &str = "https://iana.org/assignments/http-problem-types";
    match code {
        Code::AbnormalUsage => format!("{IANA}#abnormal-usage-detected"),
        Code::Overloaded | Code::Unavailable => format!("{IANA}#temporary-reduced-capacity"),
        Code::RateLimited => format!("{IANA}#quota-exceeded"),
        other => format!("{DOCS}#{}", other.name()),
    }
}

#[cfg(test)]
mod tests;
