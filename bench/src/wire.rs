//! Reads HTTP/1.1 messages to their last byte and keeps nothing of their bodies: what a mock server and a load generator
//! need, at as little cost as possible. It trusts its peer and is no parser for the wild.

use std::io::{Error, ErrorKind, Result};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The longest head, and how much of a body is read at once.
const BUFFER: usize = 64 * 1024;

/// A connection, and what was read of it and not used yet.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

/// A message that was read whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message {
    /// The status of an answer, 0 of a request.
    pub status: u16,
    /// Bytes of its body, without framing.
    pub body_bytes: u64,
    /// Whether the peer closes the connection after it.
    pub closes: bool,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Chunked,
    Length(u64),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<S> {
    /// A reader at the beginning of a connection.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; BUFFER].into(), from: 0, to: 0 }
    }

    /// The connection, for writing.
    pub const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next message, body and all; `None` if the peer closed the connection before it.
    ///
    /// # Errors
    /// What the connection says, or a message without a length.
    pub async fn message(&mut self) -> Result<Option<Message>> {
        let (mut message, framing) = loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n\r\n") {
                let head = parse(&self.unread()[..end + 2])?;
                self.from += end + 4;
                break head;
            }
            if !self.fill().await? {
                return if self.unread().is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        message.body_bytes = match framing {
            Framing::Length(length) => self.skip(length).await.map(|()| length)?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Some(message))
    }

    async fn chunks(&mut self) -> Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let digits = line.split(|byte| matches!(byte, b';' | b' ')).next().unwrap_or_default();
            let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let size = size.ok_or_else(|| wrong("a chunk without a size"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            self.skip(size + 2).await?;
            total += size;
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n") {
                let line = self.unread()[..end].to_vec();
                self.from += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, bytes: u64) -> Result<()> {
        let mut left = bytes;
        loop {
            let here = usize::try_from(left).map_or(self.unread().len(), |left| left.min(self.unread().len()));
            self.from += here;
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        if self.fill().await? { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads once; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.buffer.len() {
            if self.from == 0 {
                return Err(wrong("a head or a line that does not fit the buffer"));
            }
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let read = self.stream.read(&mut self.buffer[self.to..]).await?;
        self.to += read;
        Ok(read > 0)
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }
}

/// A head, up to and with the line end of its last field.
fn parse(head: &[u8]) -> Result<(Message, Framing)> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or_default();
    let status = match first.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => number(rest.get(..3).unwrap_or_default()).and_then(|status| u16::try_from(status).ok()),
        None => Some(0),
    };
    let status = status.ok_or_else(|| wrong("an answer without a status"))?;
    let mut framing = None;
    let mut closes = false;
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            framing = Some(Framing::Length(number(value).ok_or_else(|| wrong("a length that is no number"))?));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = status == 0 || status == 204 || status == 304;
    let framing = framing.or_else(|| bodiless.then_some(Framing::Length(0)));
    let framing = framing.ok_or_else(|| wrong("an answer without a length"))?;
    Ok((Message { status, body_bytes: 0, closes }, framing))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::{Message, Reader};

    /// What a reader finds in `bytes`, given to it in pieces of `piece` bytes.
    async fn read(bytes: &[u8], piece: usize) -> Vec<std::io::Result<Message>> {
        let (mut far, near) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        let writer = async move {
            // The reader may give up first.
            let _ = far.write_all(&bytes).await;
        };
        let reader = async {
            let mut reader = Reader::new(near);
            let mut found = Vec::new();
            loop {
                match reader.message().await {
                    Ok(Some(message)) => found.push(Ok(message)),
                    Ok(None) => return found,
                    Err(error) => {
                        found.push(Err(error));
                        return found;
                    }
                }
            }
        };
        tokio::join!(writer, reader).1
    }

    #[tokio::test]
    async fn messages_are_told_apart_however_they_are_cut() {
        let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n\
            HTTP/1.1 503 Busy\r\nCONNECTION: Close\r\ncontent-length: 0\r\n\r\n";
        let expected = [(0, 3, false), (200, 5, false), (503, 0, true)];
        for piece in [1, 2, 7, 64, 4096] {
            let found: Vec<_> = read(bytes, piece).await.into_iter().map(|message| message.expect("sound")).collect();
            let found: Vec<_> = found.iter().map(|found| (found.status, found.body_bytes, found.closes)).collect();
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_body_longer_than_the_buffer_is_read_to_its_end() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + 1_000_000, b'x');
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        let found = read(&bytes, 8192).await;
        let lengths: Vec<_> = found.iter().map(|found| found.as_ref().expect("sound").body_bytes).collect();
        assert_eq!(lengths, [1_000_000, 0]);
    }

    #[tokio::test]
    async fn what_is_cut_or_has_no_length_is_an_error() {
        for bytes in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 abc\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let found = read(bytes.as_bytes(), 4096).await;
            assert!(found.last().is_some_and(Result::is_err), "{bytes:?}: {found:?}");
        }
        let endless = vec![b'x'; 70_000];
        assert!(read(&endless, 8192).await.last().is_some_and(Result::is_err));
    }
}
