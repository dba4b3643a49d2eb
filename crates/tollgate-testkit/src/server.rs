//! Fake model servers: they note every byte that reaches them, and do as they are told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::dial::{self, Io};
use crate::until;

/// A server that answers by a script, on a free port of loopback.
pub struct ModelServer {
    at: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

/// What reached the server.
#[derive(Debug, Default)]
struct Seen {
    bytes: usize,
    connections: usize,
    open: usize,
    requests: Vec<Taken>,
    strays: Vec<u8>,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its number, from 0, over all connections.
    pub number: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its head, without the empty line.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Act {
    /// Close the connection.
    Close,
    /// Wait until the gate opens, or the other side leaves.
    Hold(Gate),
    /// Reset the connection.
    Reset,
    /// Write these bytes.
    Send(Vec<u8>),
    /// Wait until the other side leaves.
    Stay,
    /// Wait so long, or until the other side leaves.
    Wait(Duration),
}

/// Opens once, for all who wait.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

type Script = Arc<dyn Fn(&Taken) -> Vec<Act> + Send + Sync>;

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        drop(self.0.subscribe().wait_for(|open| *open).await);
    }
}

impl Act {
    /// A complete answer with this JSON body.
    #[must_use]
    pub fn json(body: &str) -> Vec<Self> {
        Self::answer("200 OK", "Content-Type: application/json\r\n", body)
    }

    /// A complete answer; `lines` are more fields, each ended by CRLF.
    #[must_use]
    pub fn answer(status: &str, lines: &str, body: &str) -> Vec<Self> {
        let text = format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        vec![Self::Send(text.into_bytes())]
    }
}

impl ModelServer {
    /// A server that answers every request by `script`, in plain text.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(script), None).await
    }

    /// A server that answers every request with `{"ok":true}`.
    pub async fn agreeable() -> Self {
        Self::start(|_| Act::json("{\"ok\":true}")).await
    }

    /// A server over TLS.
    pub async fn over_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(script), Some(config.into())).await
    }

    /// A server where one was that has been killed.
    ///
    /// # Panics
    /// If somebody else has taken the port meanwhile.
    pub async fn start_at(at: SocketAddr, script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::serve_at(at, Arc::new(script), None).await
    }

    async fn serve(script: Script, tls: Option<TlsAcceptor>) -> Self {
        Self::serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), script, tls).await
    }

    async fn serve_at(at: SocketAddr, script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(at).await.expect("a free port");
        let at = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&seen), script, tls));
        Self { at, seen, tasks }
    }

    /// Where it is.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its address for a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Bytes that reached it in all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.seen.lock().bytes
    }

    /// Connections that reached it in all.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.lock().connections
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.seen.lock().open
    }

    /// Every complete request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Taken> {
        self.seen.lock().requests.clone()
    }

    /// How many complete requests came.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.lock().requests.len()
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        let mut seen = self.seen.lock();
        seen.bytes = 0;
        seen.requests.clear();
    }

    /// Bytes that came while an answer was due: a gateway never sends any.
    #[must_use]
    pub fn strays(&self) -> Vec<u8> {
        self.seen.lock().strays.clone()
    }

    /// Waits for that many complete requests.
    pub async fn has(&self, requests: usize) {
        until(format_args!("{requests} requests at the model server"), || self.count() >= requests).await;
    }

    /// Ends it at once: every connection is reset, and nobody listens any more.
    pub async fn kill(mut self) -> SocketAddr {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.at
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>, script: Script, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let number = {
            let mut seen = seen.lock();
            seen.connections += 1;
            seen.open += 1;
            seen.connections - 1
        };
        let (seen, script, tls) = (Arc::clone(&seen), Arc::clone(&script), tls.clone());
        connections.spawn(async move {
            let counted = Counted(Arc::clone(&seen));
            match tls {
                None => drop(Visit { io: stream, number, seen, held: Vec::new() }.run(&script).await),
                Some(tls) => {
                    if let Ok(io) = tls.accept(stream).await {
                        drop(Visit { io, number, seen, held: Vec::new() }.run(&script).await);
                    }
                }
            }
            drop(counted);
        });
    }
}

/// Counts a connection out, however it ends.
struct Counted(Arc<Mutex<Seen>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

/// One connection.
struct Visit<T: Io> {
    io: T,
    number: usize,
    seen: Arc<Mutex<Seen>>,
    held: Vec<u8>,
}

impl<T: Io> Visit<T> {
    async fn run(mut self, script: &Script) -> io::Result<()> {
        while let Some((head, body)) = self.request().await? {
            let taken = {
                let mut seen = self.seen.lock();
                let taken = Taken { number: seen.requests.len(), connection: self.number, head, body };
                seen.requests.push(taken.clone());
                taken
            };
            for act in script(&taken) {
                if !self.act(act).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Does one step; false if the connection is over.
    async fn act(&mut self, act: Act) -> io::Result<bool> {
        match act {
            Act::Close => {
                self.io.shutdown().await?;
                Ok(false)
            }
            Act::Hold(gate) => {
                let mut opened = gate.0.subscribe();
                tokio::select! {
                    biased;
                    _ = opened.wait_for(|open| *open) => Ok(true),
                    () = self.left() => Ok(false),
                }
            }
            Act::Reset => {
                dial::doom(&self.io);
                Ok(false)
            }
            Act::Send(bytes) => {
                self.io.write_all(&bytes).await?;
                self.io.flush().await?;
                Ok(true)
            }
            Act::Stay => {
                self.left().await;
                Ok(false)
            }
            Act::Wait(time) => tokio::select! {
                () = tokio::time::sleep(time) => Ok(true),
                () = self.left() => Ok(false),
            },
        }
    }

    /// Waits until the other side leaves.
    async fn left(&mut self) {
        let mut buf = [0; 4096];
        while let Ok(count @ 1..) = self.io.read(&mut buf).await {
            let mut seen = self.seen.lock();
            seen.bytes += count;
            seen.strays.extend_from_slice(buf.get(..count).unwrap_or_default());
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        let mut buf = vec![0; 65_536];
        let count = self.io.read(&mut buf).await?;
        self.seen.lock().bytes += count;
        self.held.extend_from_slice(buf.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    async fn request(&mut self) -> io::Result<Option<(String, Vec<u8>)>> {
        let end = loop {
            if let Some(at) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(self.held.get(..end).unwrap_or_default()).into_owned();
        self.held.drain(..end + 4);
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            let mut body = Vec::new();
            loop {
                let line = self.line().await?;
                let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return Ok(None) };
                let Some(data) = self.exactly(size).await? else { return Ok(None) };
                body.extend(data);
                self.line().await?;
                if size == 0 {
                    return Ok(Some((head, body)));
                }
            }
        }
        let length = lower.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        Ok(self.exactly(length).await?.map(|body| (head, body)))
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        while self.held.len() < length {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(Some(self.held.drain(..length).collect()))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.held.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.held.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8(line).unwrap_or_default());
            }
            if !self.fill().await? {
                return Ok(String::new());
            }
        }
    }
}

impl Taken {
    /// Values of a field, in order.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Its request line.
    #[must_use]
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// Names of its fields, in lower case.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}
