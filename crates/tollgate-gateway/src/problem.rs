//! The only constructor of refusals: RFC 9457 problem documents. Its argument list is the leak-proofing, because a
//! [`Denial`] carries no evidence.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tollgate_core::identity::ExchangeId;
use tollgate_core::ruling::{Code, Denial};
use tollgate_layers::limits::headers::{is_too_long_to_retry, retry_after};
use tollgate_layers::routes::{Protocol, Route};

/// Where the codes are explained; each has an anchor of its own name.
pub const DOCS: &str = "https://tollgate.dev/reference/codes";

/// The shape of refusals on a route.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Face {
    /// Anthropic's error object.
    Anthropic,
    /// Ollama's: a text.
    Ollama,
    /// OpenAI's error object, which its SDKs turn into exceptions.
    OpenAi,
    /// `application/problem+json`.
    #[default]
    Problem,
}

impl Face {
    /// The face of a route; where none was found, a problem document.
    #[must_use]
    pub fn of(route: Option<&Route>) -> Self {
        match route.map(|route| route.protocol) {
            Some(Protocol::Anthropic) => Self::Anthropic,
            Some(Protocol::Ollama) => Self::Ollama,
            Some(Protocol::OpenAi) => Self::OpenAi,
            _ => Self::Problem,
        }
    }
}

/// Public figures about a quota, for callers who proved who they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// What the call was estimated to cost, in microseconds of accelerator time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
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
    figures: Figures,
}

/// Makes the answer to a denied exchange.
#[must_use]
pub fn problem(denial: &Denial, id: ExchangeId, face: Face, figures: Figures) -> Response<Bytes> {
    let spot = denial.spot.as_deref();
    let document = Document {
        r#type: type_of(denial.code),
        title: denial.code.title(),
        status: denial.code.status(),
        code: denial.code.name(),
        instance: format!("urn:tollgate:exchange:{id}"),
        retry_after_ms: denial.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        pointer: spot.map(|spot| spot.pointer.as_str()),
        expected: spot.map(|spot| spot.expected.as_str()),
        found: spot.map(|spot| spot.found.as_str()),
        index: spot.and_then(|spot| spot.index),
        figures,
    };
    let body = match face {
        Face::Problem => serde_json::to_vec(&document),
        other => serde_json::to_vec(&spoken(denial, id, other)),
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
    if denial.code == Code::TooExpensive {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if let Some(wait) = denial.retry_after {
        headers.insert(RETRY_AFTER, retry_after(wait));
        if is_too_long_to_retry(wait) {
            // Official SDKs ignore longer waits and hammer instead.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
    }
    response
}

/// The last event of a stream that is cut; `None` where the face has no streams.
#[must_use]
pub fn event(denial: &Denial, id: ExchangeId, face: Face) -> Option<Bytes> {
    let document = spoken(denial, id, face);
    match face {
        Face::Anthropic => Some(format!("event: error\ndata: {document}\n\n").into()),
        Face::Ollama => Some(format!("{document}\n").into()),
        Face::OpenAi => Some(format!("data: {document}\n\n").into()),
        Face::Problem => None,
    }
}

/// The error object of a dialect.
fn spoken(denial: &Denial, id: ExchangeId, face: Face) -> serde_json::Value {
    let code = denial.code;
    let spot = denial.spot.as_deref();
    let message = spot.map_or_else(
        || format!("{} (exchange {id})", code.title()),
        |spot| format!("{}: expected {}, found {} (exchange {id})", code.title(), spot.expected, spot.found),
    );
    let kind = match (code.status(), face) {
        (401, _) => "authentication_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (413, Face::Anthropic) => "request_too_large",
        (429, _) => "rate_limit_error",
        (503, Face::Anthropic) => "overloaded_error",
        (500.., Face::Anthropic) => "api_error",
        (500.., _) => "server_error",
        _ => "invalid_request_error",
    };
    let param =
        spot.map(|spot| spot.pointer.trim_start_matches('/').replace('/', ".")).filter(|param| !param.is_empty());
    // Two dialects have no member for a code or a place: theirs stand beside what their clients read.
    let pointer = spot.map(|spot| &*spot.pointer);
    match face {
        Face::Anthropic => json!({
            "type": "error",
            "error": { "type": kind, "message": message, "code": code.name(), "pointer": pointer }
        }),
        Face::Ollama => json!({ "error": message, "code": code.name(), "pointer": pointer }),
        Face::OpenAi | Face::Problem => {
            json!({ "error": { "message": message, "type": kind, "param": param, "code": code.name() } })
        }
    }
}

/// The IANA problem type where one fits, else the anchor in our docs.
fn type_of(code: Code) -> String {
    const IANA: &str = "https://iana.org/assignments/http-problem-types";
    match code {
        Code::AbnormalUsage => format!("{IANA}#abnormal-usage-detected"),
        Code::Overloaded => format!("{IANA}#temporary-reduced-capacity"),
        Code::RateLimited => format!("{IANA}#quota-exceeded"),
        other => format!("{DOCS}#{}", other.name()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_core::ruling::{Refusal, Spot, Stop};

    use super::*;

    #[test]
    fn no_code_and_no_face_lets_evidence_out() {
        for code in Code::ALL {
            let stop = Stop::from(Refusal::new(*code).because("EVIDENCE-MARKER"));
            for face in [Face::Anthropic, Face::Ollama, Face::OpenAi, Face::Problem] {
                let response = problem(&stop.denial(), ExchangeId(7), face, Figures::default());
                assert_eq!(response.status().as_u16(), code.status());
                let last = event(&stop.denial(), ExchangeId(7), face);
                let text = format!("{response:?} {last:?}");
                assert!(!text.contains("EVIDENCE-MARKER"), "{code:?} leaks");
            }
        }
    }

    #[test]
    fn an_sdk_finds_its_error_object() {
        let denial = Denial { code: Code::RateLimited, retry_after: Some(Duration::from_secs(2)), spot: None };
        let response = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::default());
        assert_eq!(
            (response.status(), &response.headers()[RETRY_AFTER]),
            (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(2))
        );
        let body: serde_json::Value = serde_json::from_slice(response.body()).expect("json");
        assert_eq!(
            (&body["error"]["type"], &body["error"]["code"]),
            (&json!("rate_limit_error"), &json!("rate_limited"))
        );
        let spot = Spot {
            pointer: "/messages/0/role".into(),
            expected: "a role".into(),
            found: "a string".into(),
            index: None,
        };
        let denial = Denial { code: Code::InvalidCall, retry_after: None, spot: Some(spot.into()) };
        let response = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::default());
        let body: serde_json::Value = serde_json::from_slice(response.body()).expect("json");
        assert_eq!(body["error"]["param"], "messages.0.role");
        let last = event(&denial, ExchangeId(1), Face::Anthropic).expect("an event");
        assert!(last.starts_with(b"event: error\ndata: {") && last.ends_with(b"}\n\n"), "{last:?}");
    }

    #[test]
    fn a_spot_and_a_wait_reach_the_client() {
        let spot = Spot {
            pointer: "/inputs/0/data/3".into(),
            expected: "a finite FP32".into(),
            found: "1e39".into(),
            index: Some(3),
        };
        let denial =
            Denial { code: Code::InvalidCall, retry_after: Some(Duration::from_millis(1500)), spot: Some(spot.into()) };
        let response = problem(&denial, ExchangeId(1), Face::Problem, Figures::default());
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let body: serde_json::Value = serde_json::from_slice(response.body()).expect("json");
        assert_eq!(body["pointer"], "/inputs/0/data/3");
        assert_eq!(body["index"], 3);
        assert_eq!(body["retry_after_ms"], 1500);
    }
}
