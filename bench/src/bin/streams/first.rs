//! One stream at a time, straight to the server and through the gateway in turns: how old the first event is when the
//! client has it.

use std::io::{Error, ErrorKind};
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{BODY, now_ns};

/// Streams before those that count.
const WARM: usize = 50;

pub(crate) async fn run(server: u16, gateway: u16, count: usize) -> anyhow::Result<Value> {
    let (mut straight, mut through) = (Client::connect(server).await?, Client::connect(gateway).await?);
    let mut ages = [Vec::new(), Vec::new()];
    let mut waits = [Vec::new(), Vec::new()];
    for round in 0..count + WARM {
        for (side, client) in [&mut straight, &mut through].into_iter().enumerate() {
            let (age, wait) = client.stream().await?;
            if round >= WARM {
                ages[side].push(age);
                waits[side].push(wait);
            }
        }
    }
    let [straight, through] = ages.map(median_us);
    let [straight_wait, through_wait] = waits.map(median_us);
    Ok(json!({
        "straight_us": straight, "through_us": through, "added_us": through - straight,
        "request_straight_us": straight_wait, "request_through_us": through_wait,
    }))
}

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> std::io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "a load generator is a client, not the gateway")]
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let length = BODY.len();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: bench.test\r\ncontent-type: application/json\r\n";
        Ok(Self { stream, request: format!("{head}content-length: {length}\r\n\r\n{BODY}").into_bytes() })
    }

    /// Nanoseconds from the server's first event to here, and from the request to here.
    async fn stream(&mut self) -> std::io::Result<(u64, u64)> {
        let begun = now_ns();
        self.stream.write_all(&self.request).await?;
        let (mut seen, mut first) = (Vec::with_capacity(4096), None);
        while !seen.ends_with(b"0\r\n\r\n") {
            if self.stream.read_buf(&mut seen).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if first.is_none() {
                let here = now_ns();
                first = sent(&seen).map(|sent| (here.saturating_sub(sent), here - begun));
            }
        }
        if !seen.starts_with(b"HTTP/1.1 200") {
            return Err(Error::other(String::from_utf8_lossy(&seen).into_owned()));
        }
        first.ok_or_else(|| Error::other("no event"))
    }
}

/// When the first event was sent, once it is whole.
fn sent(seen: &[u8]) -> Option<u64> {
    const BEFORE: &[u8] = b"\"sent\":";
    let at = memchr::memmem::find(seen, BEFORE)? + BEFORE.len();
    let rest = seen.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'}')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

fn median_us(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values.get(values.len() / 2).map_or(0.0, |value| *value as f64 / 1000.0)
}
