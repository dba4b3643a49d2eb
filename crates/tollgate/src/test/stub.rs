//! The model server of a rehearsal: answers as the step says, and keeps what it was sent.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::case::{Stub, Texts};

/// A request as the model server saw it.
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The one model server of a run.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Default)]
struct Desk {
    answer: Stub,
    sent: Vec<Sent>,
}

impl Server {
    /// Starts it on the runtime of the caller, for the life of that runtime.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = Self { address: listener.local_addr()?, desk: Arc::default() };
        detach(accept(listener, Arc::clone(&server.desk)));
        Ok(server)
    }

    /// From now on it answers like this; what it was sent before is forgotten.
    pub(crate) fn answer(&self, stub: &Stub) {
        *self.desk.lock() = Desk { answer: stub.clone(), sent: Vec::new() };
    }

    /// What it was sent since.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.desk.lock().sent)
    }
}

async fn accept(listener: TcpListener, desk: Arc<Mutex<Desk>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let desk = Arc::clone(&desk);
        detach(async move {
            let service = service_fn(|request| answer(Arc::clone(&desk), request));
            // The gateway hangs up when it stops.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(desk: Arc<Mutex<Desk>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let stub = {
        let mut desk = desk.lock();
        desk.sent.push(Sent {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            headers: parts.headers,
            body,
        });
        desk.answer.clone()
    };
    tokio::time::sleep(Duration::from_millis(stub.delay_ms)).await;
    Ok(response(&stub))
}

fn response(stub: &Stub) -> Response<Full<Bytes>> {
    let body = match (&stub.text, &stub.json) {
        (Some(text), _) => text.clone(),
        (None, Some(json)) => json.to_string(),
        (None, None) => r#"{"stub":true}"#.to_owned(),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(stub.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, values) in &stub.headers {
        let Ok(name) = HeaderName::try_from(name) else { continue };
        headers.remove(&name);
        for value in values.iter().filter_map(|value| HeaderValue::from_str(value).ok()) {
            headers.append(&name, value);
        }
    }
    response
}

/// Whether both are what HTTP allows: for the check of a case file.
pub(crate) fn is_field(name: &str, values: &Texts) -> bool {
    HeaderName::try_from(name).is_ok() && values.iter().all(|value| HeaderValue::from_str(value).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "the stub lives as long as the runtime of the verb: nothing awaits it")]
fn detach(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}
