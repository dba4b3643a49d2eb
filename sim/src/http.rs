//! As much of HTTP/1.1 as a stub and its clients need: a head, a `Content-Length`, a body.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The most that a message may have.
const MOST: usize = 16 << 20;

/// One message as it was read.
#[derive(Debug)]
pub struct Message {
    /// Start line and fields.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Message {
    /// The status of an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }
}

/// Reads one message; `None` if the other side has closed before it.
///
/// # Errors
/// What came is no message, or broke off.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<Message>> {
    let mut held = Vec::new();
    let end = loop {
        if let Some(at) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(stream, &mut held).await? {
            return if held.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    };
    let mut body = held.split_off(end);
    let head = String::from_utf8_lossy(&held).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0).min(MOST);
    while body.len() < length {
        if !more(stream, &mut body).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(Message { head, body }))
}

/// Writes all of it.
///
/// # Errors
/// The other side has closed.
pub async fn write(stream: &mut TcpStream, head: &str, body: &[u8]) -> io::Result<()> {
    let mut all = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend_from_slice(body);
    stream.write_all(&all).await
}

async fn more(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<bool> {
    if held.len() > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(stream.read_buf(held).await? > 0)
}
