//! One question to Vault: a fresh connection through the guarded way out, bounded in time and size, redirects not followed.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tollgate_core::secret::Secret;

use super::{Plan, Trouble};
use crate::upstream::connect::{Reach, Wire, reach};

/// The largest answer.
const LARGEST: usize = 1 << 20;

/// What is asked.
pub(super) struct Question<'a> {
    method: Method,
    path: &'a str,
    token: Option<&'a Secret>,
    body: Option<Secret>,
}

impl<'a> Question<'a> {
    /// Reads `path`, which begins behind `/v1/`.
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, token: None, body: None }
    }

    /// Sends `body` to `path`.
    pub(super) fn post(path: &'a str, body: &impl Serialize) -> Self {
        // Texts under fixed names always have a form in JSON.
        let body = Some(Secret::new(serde_json::to_vec(body).unwrap_or_default()));
        Self { method: Method::POST, path, token: None, body }
    }

    /// Shows a token.
    pub(super) fn with(self, token: &'a Secret) -> Self {
        Self { token: Some(token), ..self }
    }
}

/// Asks, and takes what is answered with success.
pub(super) async fn ask(plan: &Plan, question: Question<'_>) -> Result<Secret, Trouble> {
    let asked = tokio::time::timeout(plan.timeout, exchange(plan, question)).await;
    let (status, body) = asked.map_err(|_| away("does not answer in time"))??;
    match status.as_u16() {
        200..=299 => Ok(body),
        300..=399 => Err(away("sends on to another node, which is not followed: name the active one")),
        403 => Err(Trouble::Forbidden),
        404 => Err(Trouble::Missing),
        429 => Err(away("has too much to do (429)")),
        status @ 400..=499 => Err(Trouble::Refused(status)),
        503 => Err(Trouble::Sealed),
        status => Err(away(&format!("has a failure of its own ({status})"))),
    }
}

fn away(why: &str) -> Trouble {
    Trouble::Away(why.to_owned())
}

/// The bytes of a secret for as long as somebody sends them.
struct Sent(Secret);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

async fn exchange(plan: &Plan, question: Question<'_>) -> Result<(StatusCode, Secret), Trouble> {
    let request = request(plan, question)?;
    let wire = reach(&plan.address, Reach::Private).await;
    let wire = wire.map_err(|error| away(&format!("cannot be reached: {error}")))?;
    match wire {
        Wire::Plain(stream) => over(TokioIo::new(stream), request).await,
        Wire::Tls(stream) => over(TokioIo::new(*stream), request).await,
    }
}

fn request(plan: &Plan, question: Question<'_>) -> Result<Request<Full<Bytes>>, Trouble> {
    let Question { method, path, token, body } = question;
    let unfit = || Trouble::Local("a token of Vault is no value of a header field".to_owned());
    let length = body.as_ref().map(|body| body.expose().len());
    let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |body| Bytes::from_owner(Sent(body)))));
    *request.method_mut() = method;
    let uri = format!("/v1/{path}").parse();
    *request.uri_mut() = uri.map_err(|_| Trouble::Local(format!("`{path}` is no path")))?;
    let fields = request.headers_mut();
    fields.insert(HOST, plan.address.host_field.clone());
    // Agents that stand before a server ask for it, against forged requests of browsers.
    fields.insert("x-vault-request", HeaderValue::from_static("true"));
    if let Some(namespace) = &plan.namespace {
        fields.insert("x-vault-namespace", namespace.clone());
    }
    if let Some(token) = token {
        let mut token = HeaderValue::from_bytes(token.expose()).map_err(|_| unfit())?;
        token.set_sensitive(true);
        fields.insert("x-vault-token", token);
    }
    if let Some(length) = length {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_LENGTH, length.into());
    }
    Ok(request)
}

async fn over<T>(io: T, request: Request<Full<Bytes>>) -> Result<(StatusCode, Secret), Trouble>
where
    T: Read + Write + Unpin,
{
    let broken = |error: hyper::Error| away(&format!("breaks off: {error}"));
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let mut body = response.into_body();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(broken)?.into_data().unwrap_or_default();
            if whole.len() + data.len() > LARGEST {
                return Err(away("answers with more than 1 MiB"));
            }
            whole.extend_from_slice(&data);
        }
        Ok((status, Secret::new(whole.into())))
    };
    // The connection may be over before all that it brought was read.
    match select(pin!(asking), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asking)) => asking.await,
    }
}
