//! A model server of some places: it works on so many requests at once, in their order, each for as long as its body says,
//! and lets the others wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clients::US_PER_BYTE;
use crate::http;

/// Nobody can ask for more than a minute of work.
const LONGEST_US: u64 = 60_000_000;

/// Serves for as long as it is polled. `deaf`: it works on for clients that have left.
///
/// # Errors
/// It cannot accept.
pub async fn serve(listener: TcpListener, slots: usize, deaf: bool) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(slots));
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let places = Arc::clone(&places);
        clients.spawn(async move {
            // Clients may leave whenever they like.
            let _ = answer(stream, &places, deaf).await;
        });
        while clients.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, places: &Arc<Semaphore>, deaf: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(message) = http::read(&mut stream).await? {
        let work = work(Arc::clone(places), cost_us(&message.body));
        if deaf {
            #[expect(clippy::disallowed_methods, reason = "a server that works on belongs to nobody")]
            let work = tokio::spawn(work);
            work.await.map_err(io::Error::other)?;
        } else {
            let mut byte = [0];
            tokio::select! {
                () = work => {}
                read = stream.read(&mut byte) => {
                    // Nothing more is sent before the answer: whoever says something has left.
                    return read.map(|_| ());
                }
            }
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let chats = message.head.starts_with("POST /v1/chat/completions");
        let done = if chats { completion(message.body.len()) } else { "{\"done\":true}".to_owned() };
        http::write(&mut stream, head, done.as_bytes()).await?;
    }
    Ok(())
}

async fn work(places: Arc<Semaphore>, cost_us: u64) {
    if let Ok(_place) = places.acquire().await {
        tokio::time::sleep(Duration::from_micros(cost_us.min(LONGEST_US))).await;
    }
}

/// The answer to a chat. A token of it is a millisecond of what its body was thought to cost.
fn completion(bytes: usize) -> String {
    let tokens = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(US_PER_BYTE) / 1_000;
    let usage = json!({ "prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens });
    let message = json!({ "role": "assistant", "content": "done" });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    json!({ "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage })
        .to_string()
}

/// The number after `true_us`, wherever a body begins with it.
fn cost_us(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body.get(..512).unwrap_or(body));
    let rest = text.split_once("true_us").map_or("", |(_, rest)| rest);
    let digits = rest.trim_start_matches(|character: char| !character.is_ascii_digit());
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::cost_us;

    #[test]
    fn the_cost_is_read_from_the_body() {
        assert_eq!(cost_us(b"{\"true_us\":1234,\"pad\":\"\"}"), 1234);
        assert_eq!(cost_us(b"{\"true_us\": 7}"), 7);
        assert_eq!(cost_us(br#"{"model":"m","messages":[{"role":"user","content":"true_us 8 xxx"}]}"#), 8);
        assert_eq!(cost_us(b"{}"), 0);
    }
}
