//! Model servers whose mood changes while they serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tollgate_testkit::{Act, ModelServer, Taken};

/// What a server does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Mood {
    Well,
    Busy,
    Errors,
    Gateway,
    Hangs,
    Lies,
    Resets,
    Silent,
    Slow,
    Gone,
}

pub(crate) const BAD: [Mood; 9] = [
    Mood::Busy,
    Mood::Errors,
    Mood::Gateway,
    Mood::Hangs,
    Mood::Lies,
    Mood::Resets,
    Mood::Silent,
    Mood::Slow,
    Mood::Gone,
];

/// Random numbers that can be had again by their seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }
}

/// A server whose mood changes, at an address of its own.
pub(crate) struct Moody {
    pub(crate) at: SocketAddr,
    mood: Arc<AtomicU8>,
    server: Option<ModelServer>,
}

impl Moody {
    pub(crate) async fn start() -> Self {
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let now = Arc::clone(&mood);
        let server = ModelServer::start(move |taken| acts(now.load(Relaxed), taken)).await;
        Self { at: server.at(), mood, server: Some(server) }
    }

    /// Calls that reached it since its mood changed; checks of its readiness are none.
    pub(crate) fn calls(&self) -> usize {
        let calls =
            |server: &ModelServer| server.requests().iter().filter(|taken| !taken.line().starts_with("GET ")).count();
        self.server.as_ref().map_or(0, calls)
    }

    pub(crate) async fn turn(&mut self, mood: Mood) {
        self.mood.store(mood as u8, Relaxed);
        match (mood, self.server.take()) {
            (Mood::Gone, Some(server)) => {
                server.kill().await;
            }
            (Mood::Gone, None) => {}
            (_, None) => {
                let now = Arc::clone(&self.mood);
                self.server = Some(ModelServer::start_at(self.at, move |taken| acts(now.load(Relaxed), taken)).await);
            }
            (_, server) => self.server = server,
        }
        // What came is not kept: it is the memory of the gateway that is looked at.
        if let Some(server) = &self.server {
            server.forget();
        }
    }
}

pub(crate) fn acts(mood: u8, taken: &Taken) -> Vec<Act> {
    if taken.line().starts_with("GET ") {
        // Readiness: what is gone does not get here, and what hangs does so here too.
        return if mood == Mood::Hangs as u8 { vec![Act::Stay] } else { Act::json("{}") };
    }
    let asked: Value = serde_json::from_slice(&taken.body).unwrap_or_default();
    let well = if asked.get("messages").is_some() { chat(&asked, mood) } else { tensors(&asked) };
    match BAD.into_iter().find(|bad| *bad as u8 == mood) {
        None => well,
        Some(Mood::Busy) => Act::answer("429 Too Many Requests", "Retry-After: 1\r\n", "{}"),
        Some(Mood::Errors) => Act::answer("500 Internal Server Error", "", "{}"),
        Some(Mood::Gateway) => Act::answer("503 Service Unavailable", "", "{}"),
        Some(Mood::Hangs) => vec![Act::Stay],
        Some(Mood::Lies) if asked.get("messages").is_none() => {
            vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"id\":\"none\"}".to_vec()), Act::Close]
        }
        Some(Mood::Lies) => well,
        Some(Mood::Resets) => vec![Act::Reset],
        Some(Mood::Silent) => well.into_iter().take(1).chain([Act::Stay]).map(halved).collect(),
        Some(Mood::Slow) => [Act::Wait(Duration::from_millis(300))].into_iter().chain(well).collect(),
        Some(Mood::Gone | Mood::Well) => well,
    }
}

/// An answer that ends in its middle.
fn halved(act: Act) -> Act {
    match act {
        Act::Send(bytes) => Act::Send(bytes[..bytes.len() - 3].to_vec()),
        other => other,
    }
}

/// The answer to tensors, with the id of the call.
fn tensors(asked: &Value) -> Vec<Act> {
    let id = asked["id"].as_str().unwrap_or_default();
    Act::json(&format!("{{\"id\":\"{id}\",\"model_name\":\"m\",\"outputs\":[]}}"))
}

/// The answer to a chat, as a stream; the name of its author is that of the call. A liar says that it used what nobody has.
fn chat(asked: &Value, mood: u8) -> Vec<Act> {
    let user = asked["user"].as_str().unwrap_or_default();
    let usage = if mood == Mood::Lies as u8 { u64::MAX } else { 3 };
    let chunk = |text: &str| {
        let data = format!(
            "data: {{\"id\":\"{user}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        );
        format!("{:x}\r\n{data}\r\n", data.len())
    };
    let last = format!(
        "data: {{\"id\":\"{user}\",\"choices\":[],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{usage}}}}}\n\ndata: [DONE]\n\n"
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}{}", chunk("one"));
    let rest = format!("{}{:x}\r\n{last}\r\n0\r\n\r\n", chunk("two"), last.len());
    vec![Act::Send(first.into_bytes()), Act::Wait(Duration::from_millis(5)), Act::Send(rest.into_bytes())]
}
