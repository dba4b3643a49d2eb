//! A fake gRPC server over HTTP/2: it notes every call that reaches it, and answers by a script.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::dial::Io;
use crate::server::Gate;
use crate::until;

/// A server that answers calls by a script, on a free port of loopback.
pub struct RpcServer {
    at: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    open: usize,
    begun: usize,
    asked: Vec<Asked>,
    resets: Vec<Reason>,
}

/// One call, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its number, from 0, over all connections.
    pub number: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its path.
    pub path: String,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its body, as far as it has been read.
    pub body: Vec<u8>,
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// End with these trailers.
    End(Vec<(&'static str, &'static str)>),
    /// Nothing but the end: trailers in the head.
    EndAlone(Vec<(&'static str, &'static str)>),
    /// Ask the other side to go (GOAWAY), and answer what is there.
    GoAway,
    /// Wait until the gate opens, or the other side leaves.
    Hold(Gate),
    /// Send a message.
    Message(Vec<u8>),
    /// Read as many messages, of a call whose script began with its head.
    Read(usize),
    /// Send these bytes.
    Raw(Vec<u8>),
    /// Reset the stream.
    Reset(Reason),
    /// Break the connection.
    Sever,
}

type Script = Arc<dyn Fn(&Asked) -> Vec<Step> + Send + Sync>;

/// A message behind its prefix.
///
/// # Panics
/// If it is longer than 32 bits count.
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The messages of a body.
#[must_use]
pub fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(([_, a, b, c, d], rest)) = body.split_first_chunk() {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        found.push(message.to_vec());
        body = rest;
    }
    found
}

impl RpcServer {
    /// A server whose `script` is asked once a call has been read whole; over `ModelStreamInfer`, once its head is there.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(script), None).await
    }

    /// A server that answers every call with the message that it was sent.
    pub async fn echo() -> Self {
        Self::start(|asked| vec![Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])]).await
    }

    /// A server over TLS.
    pub async fn over_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(script), Some(config.into())).await
    }

    async fn serve(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&seen), script, tls));
        Self { at, seen, tasks }
    }

    /// Its address for a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Where it is.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
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

    /// Calls of which at least the head came.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.seen.lock().begun
    }

    /// Every call so far whose script was asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.lock().asked.clone()
    }

    /// Why streams were reset by the other side.
    #[must_use]
    pub fn resets(&self) -> Vec<Reason> {
        self.seen.lock().resets.clone()
    }

    /// Waits until so many calls have begun.
    pub async fn has(&self, calls: usize) {
        until(format_args!("{calls} calls at the server"), || self.begun() >= calls).await;
    }

    /// Ends it, with every connection.
    pub async fn stop(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.at
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>, script: Script, tls: Option<TlsAcceptor>) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let (seen, script, tls) = (Arc::clone(&seen), Arc::clone(&script), tls.clone());
        tasks.spawn(async move {
            match tls {
                None => connection(stream, seen, script).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, seen, script).await;
                    }
                }
            }
        });
    }
}

async fn connection(io: impl Io + 'static, seen: Arc<Mutex<Seen>>, script: Script) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    let number = {
        let mut seen = seen.lock();
        seen.connections += 1;
        seen.open += 1;
        seen.connections - 1
    };
    let (orders, mut ordered) = watch::channel(Order::Nothing);
    let mut calls = JoinSet::new();
    loop {
        let taken = tokio::select! {
            taken = connection.accept() => taken,
            changed = ordered.changed() => {
                let order = *ordered.borrow_and_update();
                match order {
                    Order::GoAway if changed.is_ok() => connection.graceful_shutdown(),
                    Order::Sever => break,
                    _ => {}
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = taken else { break };
        let (parts, body) = request.into_parts();
        let call = {
            let mut seen = seen.lock();
            seen.begun += 1;
            let path = parts.uri.path().to_owned();
            Asked { number: seen.begun - 1, connection: number, path, fields: parts.headers, body: Vec::new() }
        };
        let play = Play { asked: call, body, seen: Arc::clone(&seen), orders: orders.clone() };
        calls.spawn(play.run(respond, Arc::clone(&script)));
    }
    calls.shutdown().await;
    drop(connection);
    seen.lock().open -= 1;
}

#[derive(Clone, Copy, Debug)]
enum Order {
    GoAway,
    Nothing,
    Sever,
}

/// One call at work.
struct Play {
    asked: Asked,
    body: RecvStream,
    seen: Arc<Mutex<Seen>>,
    orders: watch::Sender<Order>,
}

impl Play {
    async fn run(mut self, mut respond: SendResponse<Bytes>, script: Script) {
        let streams = self.asked.path.ends_with("/ModelStreamInfer");
        while !streams && self.read().await == Ok(true) {}
        self.seen.lock().asked.push(self.asked.clone());
        let mut stream = None;
        for step in script(&self.asked) {
            let left = match &mut stream {
                None => self.first(&mut respond, &mut stream, step).await,
                Some(stream) => self.next(stream, step).await,
            };
            if let Some(reason) = left {
                self.seen.lock().resets.extend(reason);
                return;
            }
        }
        // Whoever sends no end waits for the other side's.
        if let Some(mut stream) = stream
            && let Ok(reason) = poll_fn(|cx| stream.poll_reset(cx)).await
        {
            self.seen.lock().resets.push(reason);
        }
    }

    /// Reads more of the body, unless it is over, or reset.
    async fn read(&mut self) -> Result<bool, Option<Reason>> {
        let Some(data) = self.body.data().await else { return Ok(false) };
        let data = data.map_err(|error| error.reason())?;
        drop(self.body.flow_control().release_capacity(data.len()));
        self.asked.body.extend_from_slice(&data);
        Ok(true)
    }

    /// A step before the head of the answer. `Some` ends the play, perhaps with the other side's reason.
    async fn first(
        &mut self,
        respond: &mut SendResponse<Bytes>,
        stream: &mut Option<SendStream<Bytes>>,
        step: Step,
    ) -> Option<Option<Reason>> {
        match step {
            Step::EndAlone(fields) => {
                let mut response = head();
                response.headers_mut().extend(map(&fields));
                drop(respond.send_response(response, true));
                Some(None)
            }
            Step::Hold(gate) => tokio::select! {
                () = gate.passed() => None,
                reason = poll_fn(|cx| respond.poll_reset(cx)) => Some(reason.ok()),
            },
            Step::Reset(reason) => {
                respond.send_reset(reason);
                Some(None)
            }
            Step::GoAway | Step::Sever | Step::Read(_) => self.apart(step).await,
            step => {
                let mut opened = respond.send_response(head(), false).ok()?;
                let left = self.next(&mut opened, step).await;
                *stream = Some(opened);
                left
            }
        }
    }

    /// A step behind the head of the answer.
    async fn next(&mut self, stream: &mut SendStream<Bytes>, step: Step) -> Option<Option<Reason>> {
        match step {
            Step::End(fields) => {
                drop(stream.send_trailers(map(&fields)));
                Some(None)
            }
            Step::Hold(gate) => tokio::select! {
                () = gate.passed() => None,
                reason = poll_fn(|cx| stream.poll_reset(cx)) => Some(reason.ok()),
            },
            Step::Message(message) => {
                drop(stream.send_data(framed(&message).into(), false));
                None
            }
            Step::Raw(bytes) => {
                drop(stream.send_data(BytesMut::from(&bytes[..]).freeze(), false));
                None
            }
            Step::Reset(reason) => {
                stream.send_reset(reason);
                Some(None)
            }
            step => self.apart(step).await,
        }
    }

    /// A step that is not about the answer.
    async fn apart(&mut self, step: Step) -> Option<Option<Reason>> {
        let mut left = None;
        match step {
            Step::GoAway => drop(self.orders.send(Order::GoAway)),
            Step::Sever => drop(self.orders.send(Order::Sever)),
            Step::Read(count) => {
                while messages(&self.asked.body).len() < count {
                    match self.read().await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(reason) => {
                            left = Some(reason);
                            break;
                        }
                    }
                }
            }
            _ => {}
        }
        if let Some(asked) = self.seen.lock().asked.iter_mut().find(|asked| asked.number == self.asked.number) {
            asked.body.clone_from(&self.asked.body);
        }
        left
    }
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.iter().map(field).collect()
}
