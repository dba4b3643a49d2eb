//! The server behind the rules: empty answers, and `POST /reflect`, which answers as its JSON says.

use serde_json::Value;

use crate::base64;
use crate::front::Request;

/// An answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// What the server answers.
    #[must_use]
    pub fn to(request: &Request) -> Self {
        let mut reply = Self { status: 200, ..Self::default() };
        let after = request.target.strip_prefix(b"/reflect");
        if request.method == b"POST" && after.is_some_and(|after| matches!(after.first(), None | Some(b'/' | b'?'))) {
            reply = Self::of(&request.body).unwrap_or(Self {
                status: 400,
                headers: Vec::new(),
                body: b"Invalid JSON in request body".to_vec(),
            });
        }
        if !reply.body.is_empty() && reply.header("content-type").is_none() {
            reply.headers.push(("Content-Type".to_owned(), sniffed(&reply.body).to_owned()));
        }
        if reply.header("content-length").is_none() {
            reply.headers.push(("Content-Length".to_owned(), reply.body.len().to_string()));
        }
        reply
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn of(body: &[u8]) -> Option<Self> {
        let spec: Value = serde_json::from_slice(body).ok()?;
        let spec = spec.as_object()?;
        let text = |name: &str| spec.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let status = spec.get("status").and_then(Value::as_u64).filter(|status| *status != 0).unwrap_or(200);
        let headers = spec.get("headers").and_then(Value::as_object).into_iter().flatten();
        let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let encoded = || base64::decode(text("encodedBody").unwrap_or_default());
        Some(Self {
            status: u16::try_from(status).ok()?,
            headers: headers.collect(),
            body: text("body").map_or_else(encoded, |text| text.as_bytes().to_vec()),
        })
    }
}

/// The media type that a Go server finds for a body without one.
fn sniffed(body: &[u8]) -> &'static str {
    const TAGS: [&str; 17] = [
        "<!doctype html",
        "<html",
        "<head",
        "<script",
        "<iframe",
        "<h1",
        "<div",
        "<font",
        "<table",
        "<a",
        "<style",
        "<title",
        "<b",
        "<body",
        "<br",
        "<p",
        "<!--",
    ];
    let start = body.get(..512).unwrap_or(body);
    let text = start.trim_ascii_start().to_ascii_lowercase();
    let opens = |tag: &&str| {
        let behind = text.strip_prefix(tag.as_bytes()).and_then(<[u8]>::first);
        *tag == "<!--" && behind.is_some() || behind.is_some_and(|byte| matches!(byte, b' ' | b'>'))
    };
    if TAGS.iter().any(opens) {
        "text/html; charset=utf-8"
    } else if text.starts_with(b"<?xml") {
        "text/xml; charset=utf-8"
    } else if body.starts_with(b"\x1f\x8b\x08") {
        "application/x-gzip"
    } else if body.starts_with(b"%PDF-") {
        "application/pdf"
    } else if start.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;
    use crate::front::Request;

    fn reply(body: &str) -> Reply {
        let raw = format!("POST /reflect HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Reply::to(&Request::read(raw.as_bytes()).expect("a request"))
    }

    #[test]
    fn the_answer_is_what_the_body_says() {
        let answer = reply(r#"{"status": 500, "headers": {"X": "1"}, "body": "<html>"}"#);
        assert_eq!((answer.status, answer.body.as_slice(), answer.header("x")), (500, &b"<html>"[..], Some("1")));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply(r#"{"encodedBody": "AAE="}"#).header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply("no").status, 400);
    }

    #[test]
    fn elsewhere_it_is_empty() {
        let request = Request::read(b"GET /reflect HTTP/1.1\r\nHost: h\r\n\r\n").expect("a request");
        let answer = Reply::to(&request);
        assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (200, 0, Some("0")));
    }
}
