//! The only constructor of refusals: RFC 9457 problem documents. Its argument list is the leak-proofing, because a
//! [`Denial`] carries no evidence.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde::Serialize;
use tollgate_core::identity::ExchangeId;
use tollgate_core::ruling::{Code, Denial};
use tollgate_layers::limits::headers::{is_too_long_to_retry, retry_after};

/// Where the codes are explained; each has an anchor of its own name.
pub const DOCS: &str = "https://tollgate.dev/reference/codes";

/// The shape of refusals on a route. OpenAI-shaped and gRPC faces arrive with their protocols.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Face {
    /// `application/problem+json`.
    #[default]
    Problem,
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
    let Face::Problem = face;
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
    let body = serde_json::to_vec(&document).expect("a document of strings and numbers");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(denial.code.status()).expect("the table holds statuses");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
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
            let response = problem(&stop.denial(), ExchangeId(7), Face::Problem, Figures::default());
            assert_eq!(response.status().as_u16(), code.status());
            let text = format!("{response:?}");
            assert!(!text.contains("EVIDENCE-MARKER"), "{code:?} leaks");
        }
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
