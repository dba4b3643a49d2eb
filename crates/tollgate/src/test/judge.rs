//! Holds what happened against what a case promises.

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::body::{Most, plain};
use super::case::{Expect, Forwarded, Reach, Send, Texts};
use super::client::{Reply, field};
use super::stub::Sent;

/// Everything that is known of one request after it.
pub(crate) struct Happened {
    /// The answer, or why there is none.
    pub(crate) reply: Result<Reply, String>,
    /// What the model server was sent.
    pub(crate) sent: Vec<Sent>,
    /// The line of the record.
    pub(crate) record: Option<Value>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Miss {
    /// The member of `expect`.
    pub(crate) what: String,
    /// What it says.
    pub(crate) expected: String,
    /// What was there.
    pub(crate) got: String,
}

/// The most characters of an answer that are shown.
const SHOWN: usize = 300;

/// Every promise of `expect` that was not kept.
pub(crate) fn judge(expect: &Expect, send: &Send, happened: &Happened) -> Vec<Miss> {
    let mut misses = Misses(Vec::new());
    match &happened.reply {
        Ok(reply) => misses.reply(expect, reply),
        Err(why) => misses.add("answer", "an answer", why),
    }
    misses.record(expect, happened.record.as_ref());
    if let Some(reach) = expect.upstream {
        let reached = if happened.sent.is_empty() { Reach::Untouched } else { Reach::Reached };
        let name = |reach| if reach == Reach::Reached { "reached" } else { "untouched" };
        misses.same("upstream", name(reach), name(reached));
    }
    if let Some(forwarded) = &expect.forwarded {
        misses.forwarded(forwarded, send, &happened.sent);
    }
    misses.0
}

struct Misses(Vec<Miss>);

impl Misses {
    fn add(&mut self, what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) {
        self.0.push(Miss { what: what.into(), expected: expected.into(), got: got.into() });
    }

    fn same(&mut self, what: &str, expected: &str, got: &str) {
        if expected != got {
            self.add(what, expected, got);
        }
    }

    fn reply(&mut self, expect: &Expect, reply: &Reply) {
        let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let body = String::from_utf8_lossy(&reply.body);
        if let Some(status) = expect.status.filter(|status| *status != reply.status) {
            self.add("status", status.to_string(), format!("{} {}", reply.status, cut(&body)));
        }
        let members = [
            ("code", &expect.code),
            ("pointer", &expect.pointer),
            ("expected", &expect.expected),
            ("found", &expect.found),
        ];
        for (name, expected) in members {
            let Some(expected) = expected else { continue };
            self.same(name, expected, &word(document.get(name)));
        }
        self.fields("header", &expect.header, &reply.headers);
        self.texts("body_contains", expect.body_contains.as_ref(), &body, true);
        self.texts("body_lacks", expect.body_lacks.as_ref(), &body, false);
    }

    fn record(&mut self, expect: &Expect, record: Option<&Value>) {
        let looked = expect.stage.is_some() || expect.evidence_contains.is_some() || expect.would_refuse.is_some();
        let Some(record) = record else {
            if looked {
                self.add("record", "a line", "none for this request");
            }
            return;
        };
        if let Some(stage) = expect.stage {
            self.same("stage", stage.name(), &word(record.get("stage")));
        }
        if let Some(stages) = &expect.would_refuse {
            let expected: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
            let got: Vec<_> = record.get("would_refuse").and_then(Value::as_array).into_iter().flatten().collect();
            let got: Vec<_> = got.into_iter().filter_map(Value::as_str).collect();
            self.same("would_refuse", &expected.join(", "), &got.join(", "));
        }
        let evidence = record.get("evidence").and_then(Value::as_str).unwrap_or_default();
        self.texts("evidence_contains", expect.evidence_contains.as_ref(), evidence, true);
    }

    fn forwarded(&mut self, expect: &Forwarded, send: &Send, sent: &[Sent]) {
        if let Some(times) = expect.times.filter(|times| *times != sent.len()) {
            self.add("forwarded.times", times.to_string(), sent.len().to_string());
        }
        let Some(first) = sent.first() else {
            if expect.times != Some(0) {
                self.add("forwarded", "a request", "none");
            }
            return;
        };
        if let Some(method) = &expect.method {
            self.same("forwarded.method", method, &first.method);
        }
        if let Some(path) = &expect.path {
            self.same("forwarded.path", path, &first.path);
        }
        self.fields("forwarded.header", &expect.header, &first.headers);
        let body = String::from_utf8_lossy(&first.body);
        self.texts("forwarded.body_contains", expect.body_contains.as_ref(), &body, true);
        let as_sent = plain(send, Most(u64::MAX)).ok().flatten().unwrap_or_default();
        if expect.body_as_sent && first.body != as_sent {
            self.add("forwarded.body_as_sent", cut(&String::from_utf8_lossy(&as_sent)), cut(&body));
        }
    }

    fn fields(&mut self, what: &str, expected: &std::collections::BTreeMap<String, Option<String>>, got: &HeaderMap) {
        for (name, pattern) in expected {
            let value = field(got, name);
            let kept = match (pattern, &value) {
                (None, None) => true,
                (Some(pattern), Some(value)) => fits(pattern, value),
                _ => false,
            };
            if !kept {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
                self.add(format!("{what} `{name}`"), shown(pattern), shown(&value));
            }
        }
    }

    fn texts(&mut self, what: &str, expected: Option<&Texts>, got: &str, present: bool) {
        for text in expected.into_iter().flat_map(Texts::iter) {
            if got.contains(text) != present {
                self.add(what, text, cut(got));
            }
        }
    }
}

/// A member of a document as a word.
fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "absent".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Whether `text` is what `pattern` says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "x", true),
            ("close", "close", true),
            ("close", "closed", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("*b*", "abc", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-c", false),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn every_broken_promise_is_named() {
        let expect: Expect = serde_json::from_value(serde_json::json!({
            "status": 200, "code": "not_found", "stage": "auth", "upstream": "reached",
            "header": { "x-a": null, "x-b": "1", "x-c": "*" },
            "body_contains": "yes", "body_lacks": ["no", "never"],
            "would_refuse": ["limits"], "evidence_contains": "why", "forwarded": { "times": 1 }
        }))
        .expect("an expectation");
        let mut headers = HeaderMap::new();
        headers.insert("x-a", "1".parse().expect("a value"));
        headers.insert("x-b", "2".parse().expect("a value"));
        let body = r#"{"code":"no"}"#.into();
        let happened = Happened {
            reply: Ok(Reply { status: 404, headers, body }),
            sent: Vec::new(),
            record: Some(serde_json::json!({ "stage": "routes" })),
        };
        let send = serde_json::from_value(serde_json::json!({})).expect("a request");
        let misses = judge(&expect, &send, &happened);
        let what: Vec<_> = misses.iter().map(|miss| miss.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "status",
                "code",
                "header `x-a`",
                "header `x-b`",
                "header `x-c`",
                "body_contains",
                "body_lacks",
                "stage",
                "would_refuse",
                "evidence_contains",
                "upstream",
                "forwarded.times",
                "forwarded"
            ]
        );
        let nothing = Happened { reply: Err("closed".into()), sent: Vec::new(), record: None };
        let what: Vec<_> = judge(&expect, &send, &nothing).into_iter().map(|miss| miss.what).collect();
        assert_eq!(what, ["answer", "record", "upstream", "forwarded.times", "forwarded"]);
    }
}
