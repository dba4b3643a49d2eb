//! A model server that answers every chat with events at a pace: each has its number and the time at which it was sent.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::now_ns;

/// What one stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Events before the last one, `[DONE]`.
    pub(crate) events: u64,
    /// The time between two of them.
    pub(crate) every: Duration,
}

/// Starts the server on a thread of its own; its port.
pub(crate) fn start(port: u16, pace: Pace) -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve(TcpListener::from_std(listener).expect("it listens"), pace));
    });
    Ok(port)
}

async fn serve(listener: TcpListener, pace: Pace) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            // A gateway may leave at any time: the clients count what matters.
            Ok((stream, _)) => drop(connections.spawn(async move { drop(answer(stream, pace).await) })),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, pace: Pace) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    while request(&mut stream).await? {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let begun = begin();
        for number in 0..pace.events {
            if !pace.every.is_zero() {
                sleep_until(begun + pace.every * u32::try_from(number).unwrap_or(u32::MAX)).await;
            }
            // The first event goes out with the head, as servers send it.
            let head = if number == 0 { head } else { "" };
            let event = format!(
                "data: {{\"id\":\"{number}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word \"}}}}],\"sent\":{}}}\n\n",
                now_ns()
            );
            stream.write_all(format!("{head}{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        }
        stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a model server of a benchmark reads the clock")]
fn begin() -> Instant {
    Instant::now()
}

/// Reads one request to the end of its body; false where there is none.
async fn request(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut buffer = vec![0; 2048];
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        filled += read;
        let seen = buffer.get(..filled).unwrap_or_default();
        if let Some(end) = memchr::memmem::find(seen, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(seen.get(..end).unwrap_or_default()).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if filled >= end + 4 + length.unwrap_or(0_usize) {
                return Ok(true);
            }
        }
        if read == 0 {
            return Ok(false);
        }
    }
}
