//! A model server for the cost flood: it answers every inference after 50 ms, on loopback, on a thread of its own.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long it takes for every answer.
pub(super) const TAKES: Duration = Duration::from_millis(50);

const ANSWER: &[u8] = br#"{"model_name":"slow","outputs":[{"name":"y","shape":[1,1],"datatype":"FP32","data":[0.5]}]}"#;

/// A running backend. Dropping it stops it.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Binds a free port and serves it.
    pub(super) fn start() -> anyhow::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding the backend")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(socket) => {}
                    _ = stopping => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("backend".to_owned()).spawn(serve)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A backend that failed has said so to every request.
            drop(thread.join());
        }
    }
}

async fn accept(socket: TcpListener) {
    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(async move {
                    let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(infer));
                    drop(serve.await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn infer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request.into_body().collect().await);
    tokio::time::sleep(TAKES).await;
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
