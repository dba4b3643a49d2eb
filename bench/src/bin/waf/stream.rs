//! How long a client waits for the first byte of a reply that streams: one connection, one request at a time, each read to
//! its end.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::client::now;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Requests that are counted.
    #[arg(long, default_value_t = 300)]
    requests: usize,
    /// Requests before them.
    #[arg(long, default_value_t = 20)]
    warmup: usize,
}

const BODY: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Tell me a story in a few words, please."}]}"#;

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, args.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: python-httpx/0.27\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut waits = Vec::new();
    for number in 0..args.warmup + args.requests {
        let begun = now();
        stream.write_all(request.as_bytes())?;
        let (mut text, mut buffer, mut first) = (Vec::new(), [0; 4096], None);
        while !text.ends_with(b"0\r\n\r\n") {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "the gateway closed the connection: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if first.is_none() && text.windows(6).any(|six| six == b"data: ") {
                first = Some(u64::try_from(begun.elapsed().as_nanos())?);
            }
        }
        ensure!(text.starts_with(b"HTTP/1.1 200"), "no stream: {}", String::from_utf8_lossy(&text));
        if number >= args.warmup {
            waits.extend(first);
        }
    }
    Ok(json!({ "requests": waits.len(), "first_byte_us": crate::quantiles(&mut waits) }))
}
