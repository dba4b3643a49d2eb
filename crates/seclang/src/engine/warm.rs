//! Runs text through the matchers of a thread before the first request meets them cold.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Facts, HeadView, Processor, Scratch, Transaction};
use crate::ir::RuleSet;

/// Prose, code and JSON of the kinds that models are sent. Written for this.
const TEXT: &str = include_str!("warm.txt");

/// Tensors and tables: their names and numbers have automata of their own.
const NUMBERS: [&str; 2] = [
    r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[0.25,-1.5e-3,1E+2,12]}],"id":"7"}"#,
    r#"{"instances":[[5.1,3.5],[4.9,3]],"features":[0,1,2],"embedding":[0.125,-0.5],"stream":false}"#,
];

/// See [`RuleSet::warm`].
pub(crate) fn warm(rules: &Arc<RuleSet>, scratch: &mut Scratch) {
    let headers: [(&[u8], &[u8]); 7] = [
        (b"Host", b"models.example.org"),
        (
            b"User-Agent",
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        ),
        (b"Accept", b"text/html,application/json;q=0.9,*/*;q=0.8"),
        (b"Accept-Language", b"en-GB,en;q=0.5"),
        (b"Content-Type", b"application/x-www-form-urlencoded"),
        (b"Cookie", b"session=d2FybQ; theme=dark; visits=12"),
        (b"Referer", b"https://models.example.org/chat?topic=roses"),
    ];
    let head = HeadView {
        line: b"POST /v1/chat/completions?stream=false HTTP/1.1",
        method: b"POST",
        target: b"/v1/chat/completions?stream=false",
        protocol: b"HTTP/1.1",
        headers: &headers,
    };
    // Pieces as they come in messages, and all of it in one.
    for text in TEXT.split("\n\n").chain([TEXT]) {
        let mut turn = Transaction::new(Arc::clone(rules), facts());
        turn.head(&head, scratch);
        let mut body = b"model=tiny&content=".to_vec();
        for &byte in text.as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => body.push(byte),
                _ => body.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            }
        }
        turn.read_body(Bytes::from(body), Processor::Auto, &[]);
        turn.body(scratch);
        turn.finish(200, scratch);
    }
    for body in NUMBERS {
        let mut turn = Transaction::new(Arc::clone(rules), facts());
        turn.head(&head, scratch);
        turn.read_body(Bytes::from_static(body.as_bytes()), Processor::Json, &[]);
        turn.body(scratch);
        turn.finish(200, scratch);
    }
    // These very texts do not come again.
    scratch.forget_values();
}

fn facts() -> Facts {
    Facts {
        remote: (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1024),
        server: (IpAddr::V4(Ipv4Addr::LOCALHOST), 443),
        unique_id: "warm".into(),
        unix_ms: 0,
        detect_only: true,
        pinned: Arc::new([]),
    }
}
