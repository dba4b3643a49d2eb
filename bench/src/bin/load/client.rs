//! One connection: HTTP/1.1 with a request that was written once, or HTTP/2 with hyper.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tollgate_bench::wire::{Message, Reader};

/// What every connection does.
pub(crate) struct Plan {
    port: u16,
    name: ServerName<'static>,
    /// The whole request as HTTP/1.1 bytes.
    written: Bytes,
    /// The same for HTTP/2.
    request: http::Request<Full<Bytes>>,
    /// How long every answer must be.
    pub(crate) expect_bytes: Option<u64>,
    /// Statuses that are as good as one of success.
    pub(crate) accept: Vec<u16>,
    pub(crate) tls: Option<Tls>,
}

/// One request, as it is told.
pub(crate) struct Request<'a> {
    pub(crate) method: http::Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: Bytes,
}

pub(crate) struct Tls {
    connector: TlsConnector,
    h2: bool,
}

/// What an answer was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
}

pub(crate) enum Connection {
    H1(Box<H1>),
    H2(H2),
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) struct H1 {
    reader: Reader<Box<dyn Io>>,
    /// The server said that it closes, or it did.
    pub(crate) spent: bool,
}

#[derive(Clone)]
pub(crate) struct H2 {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; ended with it.
    driver: Arc<JoinSet<()>>,
}

impl Plan {
    pub(crate) fn new(host: &str, port: u16, request: &Request<'_>) -> anyhow::Result<Self> {
        let Request { method, path, headers, body } = request;
        let mut written = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        let mut built = http::Request::builder().method(method).uri(format!("https://{host}{path}"));
        let mut fields = headers.to_vec();
        if *method != http::Method::GET && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            fields.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        for (name, value) in &fields {
            written.push_str(&format!("{name}: {value}\r\n"));
            built = built.header(name, value);
        }
        if *method != http::Method::GET {
            written.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        written.push_str("\r\n");
        Ok(Self {
            port,
            name: ServerName::try_from(host.to_owned())?,
            written: [written.as_bytes(), body].concat().into(),
            request: built.body(Full::new(body.clone()))?,
            expect_bytes: None,
            accept: Vec::new(),
            tls: None,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        #[expect(clippy::disallowed_methods, reason = "a load generator is a client, not the gateway")]
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Connection::h1(stream)) };
        let stream = tls.connector.connect(self.name.clone(), stream).await?;
        if !tls.h2 {
            return Ok(Connection::h1(stream));
        }
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Error::new(ErrorKind::Unsupported, "the server did not take h2"));
        }
        let io = TokioIo::new(stream);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = shaken.map_err(Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its error is the error of the requests that were on it.
            let _ = connection.await;
        });
        Ok(Connection::H2(H2 { sender, driver: Arc::new(driver) }))
    }

    /// Whether an answer is what was asked for.
    pub(crate) fn accepts(&self, answer: Answer) -> bool {
        let good = (200..300).contains(&answer.status);
        self.accept.contains(&answer.status) || good && self.expect_bytes.is_none_or(|bytes| bytes == answer.bytes)
    }

    /// Bytes of one request on HTTP/1.1.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.written.len() as u64
    }
}

impl Connection {
    fn h1(stream: impl Io + 'static) -> Self {
        Self::H1(Box::new(H1 { reader: Reader::new(Box::new(stream)), spent: false }))
    }

    /// Whether the next request needs another connection.
    pub(crate) fn spent(&self) -> bool {
        match self {
            Self::H1(h1) => h1.spent,
            Self::H2(h2) => h2.spent(),
        }
    }

    /// Sends the request and reads the whole answer; `None` where the server had closed a kept connection before.
    pub(crate) async fn exchange(&mut self, plan: &Plan) -> Result<Option<Answer>> {
        match self {
            Self::H1(h1) => h1.exchange(plan).await,
            Self::H2(h2) => h2.exchange(plan).await,
        }
    }
}

impl H1 {
    pub(crate) async fn exchange(&mut self, plan: &Plan) -> Result<Option<Answer>> {
        self.reader.stream().write_all(&plan.written).await?;
        self.reader.stream().flush().await?;
        let Some(Message { status, body_bytes, closes }) = self.reader.message().await? else {
            self.spent = true;
            return Ok(None);
        };
        self.spent = closes;
        Ok(Some(Answer { status, bytes: body_bytes }))
    }
}

impl H2 {
    pub(crate) fn spent(&self) -> bool {
        self.sender.is_closed() || self.driver.is_empty()
    }

    pub(crate) async fn exchange(&mut self, plan: &Plan) -> Result<Option<Answer>> {
        if self.sender.ready().await.is_err() {
            return Ok(None);
        }
        let answer = self.sender.send_request(plan.request.clone()).await.map_err(Error::other)?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Error::other)?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(Some(Answer { status, bytes }))
    }
}

/// TLS that trusts one certificate.
pub(crate) fn tls(ca: &Path, h2: bool) -> anyhow::Result<Tls> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("`{}`", ca.display()))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Tls { connector: TlsConnector::from(Arc::new(config)), h2 })
}
