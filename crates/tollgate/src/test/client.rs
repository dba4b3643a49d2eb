//! The client of a rehearsal. It writes HTTP/1.1 by hand, because cases send what no client library would write, and
//! reads the answer even while its body is still going out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::body::{Most, bytes};
use super::case::{Protocol, Send, Texts};

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How long a request may take before it counts as unanswered.
const LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of an answer that are read.
const MOST: usize = 64 << 20;

/// Sends what a case says to `to`, with `key` as its credential.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn send(to: SocketAddr, send: &Send, key: Option<&str>) -> io::Result<Reply> {
    let talk = async {
        match send.protocol {
            Protocol::H1 => h1(to, &head_and_body(to, send, key)?).await,
            Protocol::H2 => h2(to, send, key).await,
        }
    };
    tokio::time::timeout(LIMIT, talk).await.unwrap_or_else(|_late| Err(wrong("no answer within a minute")))
}

/// The bytes of an HTTP/1.1 request.
fn head_and_body(to: SocketAddr, send: &Send, key: Option<&str>) -> io::Result<Vec<u8>> {
    if let Some(raw) = &send.raw {
        let raw = raw.replace("{host}", &to.to_string()).replace("{key}", key.unwrap_or_default());
        return Ok(raw.into_bytes());
    }
    let body = bytes(send, Most(u64::MAX)).map_err(io::Error::other)?;
    let mut head = format!("{} {} HTTP/1.1\r\n", method(send, body.is_some()), send.path);
    for (name, value) in fields(to, send, key, body.as_ref().map(Vec::len)) {
        head.extend([&name, ": ", &value, "\r\n"]);
    }
    head.push_str("\r\n");
    let mut out = head.into_bytes();
    out.extend(body.unwrap_or_default());
    Ok(out)
}

fn method(send: &Send, body: bool) -> &str {
    send.method.as_deref().unwrap_or(if body { "POST" } else { "GET" })
}

/// The fields of the case, and those that it does not name itself.
fn fields(to: SocketAddr, send: &Send, key: Option<&str>, body: Option<usize>) -> Vec<(String, String)> {
    let named = |name: &str| send.headers.keys().any(|own| own.eq_ignore_ascii_case(name));
    let mut fields = Vec::new();
    let mut add = |name: &str, value: String| {
        if !named(name) {
            fields.push((name.to_owned(), value));
        }
    };
    add("host", to.to_string());
    if let Some(length) = body {
        if !named("transfer-encoding") {
            add("content-length", length.to_string());
        }
        add("content-type", "application/json".to_owned());
    }
    if send.gzip {
        add("content-encoding", "gzip".to_owned());
    }
    if let Some(key) = key {
        fields.push(("authorization".to_owned(), format!("Bearer {key}")));
    }
    let own = send.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    fields.extend(own.map(|(name, value)| (name.clone(), value.to_owned())));
    fields
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not the gateway")]
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn h1(to: SocketAddr, request: &[u8]) -> io::Result<Reply> {
    let (mut reader, mut writer) = connect(to).await?.into_split();
    // A refused body is not read: that the rest of it cannot be written is no news.
    let write = async { drop(writer.write_all(request).await) };
    let mut reader = Reader { from: &mut reader, held: Vec::new() };
    let head_only = request.starts_with(b"HEAD ");
    let read = reader.reply(head_only);
    tokio::pin!(write, read);
    let mut written = false;
    loop {
        tokio::select! {
            reply = &mut read => return reply,
            () = &mut write, if !written => written = true,
        }
    }
}

async fn h2(to: SocketAddr, send: &Send, key: Option<&str>) -> io::Result<Reply> {
    let body = bytes(send, Most(u64::MAX)).map_err(io::Error::other)?;
    let mut request = Request::new(Full::new(Bytes::from(body.clone().unwrap_or_default())));
    *request.method_mut() = method(send, body.is_some()).parse().map_err(io::Error::other)?;
    let fields = fields(to, send, key, body.as_ref().map(Vec::len));
    let host = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value.as_str());
    let target = format!("http://{}{}", host.unwrap_or_default(), send.path);
    *request.uri_mut() = target.parse().map_err(io::Error::other)?;
    for (name, value) in fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        request.headers_mut().append(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
    }
    let stream = TokioIo::new(connect(to).await?);
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = shaken.map_err(io::Error::other)?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    };
    tokio::pin!(talk, connection);
    let mut open = true;
    loop {
        tokio::select! {
            reply = &mut talk => return reply,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Reads one HTTP/1.1 answer.
struct Reader<'a, R> {
    from: &'a mut R,
    held: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Reader<'_, R> {
    async fn reply(&mut self, head_only: bool) -> io::Result<Reply> {
        loop {
            let head = self.up_to(b"\r\n\r\n").await?;
            let (status, headers) = head_of(&head)?;
            if (100..200).contains(&status) {
                continue;
            }
            let bare = head_only || status == 204 || status == 304;
            let body = if bare { Vec::new() } else { self.body(&headers).await? };
            return Ok(Reply { status, headers, body: Bytes::from(body) });
        }
    }

    async fn body(&mut self, headers: &HeaderMap) -> io::Result<Vec<u8>> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.up_to(b"\r\n").await?;
                let line = String::from_utf8_lossy(&line);
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| wrong("a chunk without a size"))?;
                body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
                if size == 0 {
                    return Ok(body);
                }
                if body.len() > MOST {
                    return Err(wrong("the answer is too large"));
                }
            }
        }
        if let Some(length) = text("content-length") {
            let length = length.parse().map_err(|_| wrong("an unreadable Content-Length"))?;
            return self.exactly(length).await;
        }
        while self.more().await? {}
        Ok(std::mem::take(&mut self.held))
    }

    /// Everything before `end`, which is taken too.
    async fn up_to(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.held.windows(end.len()).position(|window| window == end) {
                let rest = self.held.split_off(at + end.len());
                let mut line = std::mem::replace(&mut self.held, rest);
                line.truncate(at);
                return Ok(line);
            }
            if !self.more().await? {
                return Err(wrong("the connection was closed without an answer"));
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MOST {
            return Err(wrong("the answer is too large"));
        }
        while self.held.len() < length {
            if !self.more().await? {
                return Err(wrong("the answer was cut short"));
            }
        }
        let rest = self.held.split_off(length);
        Ok(std::mem::replace(&mut self.held, rest))
    }

    async fn more(&mut self) -> io::Result<bool> {
        if self.held.len() > MOST {
            return Err(wrong("the answer is too large"));
        }
        self.held.reserve(16_384);
        Ok(self.from.read_buf(&mut self.held).await? > 0)
    }
}

fn head_of(head: &[u8]) -> io::Result<(u16, HeaderMap)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| wrong("the answer is no HTTP"))?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("a header field without a colon"))?;
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::try_from(value.trim()).map_err(io::Error::other)?);
    }
    Ok((status, headers))
}

fn wrong(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

/// The fields of an answer or a request under one name, joined as RFC 9110 §5.3 allows.
pub(crate) fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let first = values.next()?;
    Some(values.fold(first, |joined, value| joined + ", " + &value))
}

/// Whether any of these values cannot be written without changing the request that follows.
pub(crate) fn splits(values: &Texts) -> bool {
    values.iter().any(|value| value.contains(['\r', '\n']))
}
