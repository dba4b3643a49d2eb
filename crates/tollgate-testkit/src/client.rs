//! A client that sends exactly the bytes that it is told, and reads answers with the least of HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::dial::{self, Io};
use crate::soon;

/// One connection.
pub struct Client {
    io: Box<dyn Io>,
    /// Read and not yet understood.
    held: Vec<u8>,
    /// Interim answers that came before the last answer.
    pub interim: Vec<u16>,
}

/// One final answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its head, as text, without the empty line.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the body came to its declared end.
    pub whole: bool,
}

impl Client {
    /// Connects in plain text.
    ///
    /// # Panics
    /// If nobody listens there.
    pub async fn plain(at: SocketAddr) -> Self {
        Self::over(soon("a connection", dial::tcp(at)).await.expect("a connection"))
    }

    /// Connects over TLS, as a client of [`dial::HOST`].
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn tls(at: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(soon("a handshake", dial::tls(at, config)).await.expect("a handshake"))
    }

    /// Speaks over a stream that is there.
    pub fn over(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), held: Vec::new(), interim: Vec::new() }
    }

    /// Sends these bytes in one write, if the other side takes them.
    ///
    /// # Errors
    /// What the system says, such as that the other side has closed.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("the other side to read", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// If the other side has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).await.expect("the other side takes bytes");
    }

    /// Says that no more will come.
    pub async fn end(&mut self) {
        drop(self.io.shutdown().await);
    }

    /// How its handshake went, over TLS.
    #[must_use]
    pub fn handshake(&self) -> Option<rustls::HandshakeKind> {
        self.io.handshake()
    }

    /// Leaves with a reset instead of a goodbye.
    pub fn reset(self) {
        dial::doom(&*self.io);
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes).await;
        self.reply().await
    }

    /// Reads one answer.
    ///
    /// # Panics
    /// If the connection ends before one.
    pub async fn reply(&mut self) -> Reply {
        self.next().await.expect("an answer before the end of the connection")
    }

    /// Reads one final answer; `None` if the connection ended before its first byte.
    ///
    /// # Panics
    /// If what comes is no answer.
    pub async fn next(&mut self) -> Option<Reply> {
        self.interim.clear();
        loop {
            let reply = self.one(false).await?;
            if reply.status >= 200 {
                return Some(reply);
            }
            self.interim.push(reply.status);
        }
    }

    /// Reads the head of an answer, and leaves its body to [`Client::more`].
    ///
    /// # Panics
    /// If the connection ends before one.
    pub async fn head(&mut self) -> Reply {
        self.one(true).await.expect("an answer before the end of the connection")
    }

    async fn one(&mut self, head_only: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.more().await {
                assert!(self.held.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.held));
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.held[..end]).into_owned();
        self.held.drain(..end + 4);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {head:?}"));
        let mut reply = Reply { status, head, body: Vec::new(), whole: true };
        if !head_only && status >= 200 && status != 204 && status != 304 {
            self.body(&mut reply).await;
        }
        Some(reply)
    }

    async fn body(&mut self, reply: &mut Reply) {
        if reply.field("transfer-encoding").is_some() {
            while reply.whole {
                let line = self.until_crlf().await;
                let size = usize::from_str_radix(line.trim(), 16).unwrap_or(usize::MAX);
                let size = if line.is_empty() || size == usize::MAX { None } else { Some(size) };
                let Some(size) = size else {
                    reply.whole = false;
                    break;
                };
                reply.whole = self.take(size, &mut reply.body).await;
                self.until_crlf().await;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = reply.field("content-length") {
            let length = length.parse().expect("a length");
            reply.whole = self.take(length, &mut reply.body).await;
        } else {
            while self.more().await {}
            reply.body = std::mem::take(&mut self.held);
        }
    }

    async fn take(&mut self, length: usize, into: &mut Vec<u8>) -> bool {
        while self.held.len() < length {
            if !self.more().await {
                into.append(&mut self.held);
                return false;
            }
        }
        into.extend(self.held.drain(..length));
        true
    }

    async fn until_crlf(&mut self) -> String {
        loop {
            if let Some(at) = self.held.windows(2).position(|two| two == b"\r\n") {
                let line = self.held.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).unwrap_or_default();
            }
            if !self.more().await {
                return String::new();
            }
        }
    }

    /// Reads what is there; false at the end of the connection, also at a reset.
    pub async fn more(&mut self) -> bool {
        let mut buf = vec![0; 16_384];
        let read = soon("the other side to write or close", self.io.read(&mut buf)).await;
        let count = read.unwrap_or(0);
        self.held.extend_from_slice(buf.get(..count).unwrap_or_default());
        count > 0
    }

    /// Reads until `text` has come, and leaves it there.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn sees(&mut self, text: &[u8]) {
        while !self.held.windows(text.len()).any(|window| window == text) {
            assert!(self.more().await, "the connection ended before {:?}", String::from_utf8_lossy(text));
        }
    }

    /// Reads to the end of the connection and gives what came.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.held)
    }
}

impl Reply {
    /// The value of a field, if it is there exactly once.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.trim()),
            _ => None,
        }
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Member `code` of a problem document.
    #[must_use]
    pub fn code(&self) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        document.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }

    /// The number of its exchange.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn id(&self) -> String {
        self.field("x-request-id").expect("an answer carries the number of its exchange").to_owned()
    }
}

/// A GET of `path`.
#[must_use]
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", dial::HOST)
}

/// A POST to `path` with these extra lines, each ended by CRLF.
#[must_use]
pub fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: {}\r\n{lines}Content-Length: {length}\r\n\r\n{body}", dial::HOST)
}

/// The head of a POST that declares `length` bytes and sends none yet.
#[must_use]
pub fn begin(path: &str, lines: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {}\r\n{lines}Content-Length: {length}\r\n\r\n", dial::HOST)
}
