//! Asks a model server one thing on our own behalf: metadata, a list of models, a document. Through the one connector,
//! bounded in time and size, without redirects, and never on a connection that calls use.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tollgate_core::identity::ExchangeId;
use tollgate_core::time::Clock;
use tollgate_layers::hygiene::{Fresh, Ours, Trace};

use super::{Caller, Order, Remote, Settings, Upload, Upward};
use crate::config::endpoint;
use crate::tick::{Ticker, within};
use crate::tls::client_config;

/// The largest answer.
const LARGEST: usize = 8 << 20;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `path` of one endpoint of `remote`.
///
/// # Errors
/// Why there is no answer, in words for an operator.
pub async fn ask(remote: &Remote, path: &str, ticker: &Arc<Ticker>) -> Result<Bytes, String> {
    let uri: Uri = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    let id = ExchangeId(1);
    let trace = Trace::follow(&HeaderMap::new(), Fresh { trace_id: 1, span_id: 1, sampled: false });
    let ours = Ours { id, trace, client: None, content_type: None };
    let head = Upward { method: Method::GET, uri, headers: HeaderMap::new(), ours };
    let order = Order { head, upload: Upload::Held(None), repeatable: false };
    let now = ticker.now();
    let until = now.after(PATIENCE);
    // A worker that does not exist has no kept connections.
    let caller = Caller { worker: usize::MAX, ticker, now, until };
    let sent = remote.send(order, caller).await.map_err(|fault| fault.evidence().to_string())?;
    match sent.response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(format!("it sends on ({status}), which is not followed")),
        status => return Err(format!("it answered {status}")),
    }
    let mut body = sent.response.into_body();
    let mut whole = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
            let data = frame.into_data().unwrap_or_default();
            if whole.len() + data.len() > LARGEST {
                return Err(format!("the answer is larger than {} MiB", LARGEST >> 20));
            }
            whole.extend_from_slice(&data);
        }
        Ok(())
    };
    within(ticker.alarm(until), reading).await.unwrap_or_else(|_late| Err("the answer took too long".to_owned()))?;
    Ok(whole.freeze())
}

/// A server that no configuration names.
pub struct Place {
    remote: Remote,
    ticker: Arc<Ticker>,
    /// Path and query of its address.
    pub path: String,
}

impl Place {
    /// The server of an address such as `http://127.0.0.1:8000/openapi.json`. `ca` are roots in PEM for `https://`.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(url: &str, ca: Option<&[u8]>) -> Result<Self, String> {
        let wrong = || format!("`{url}` is not an address such as `http://127.0.0.1:8000`");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let tls = (scheme == "https").then(|| client_config(ca)).transpose()?;
        let address = endpoint(&format!("{scheme}://{authority}"), tls.as_ref())?;
        let settings =
            Settings { connect: Duration::from_secs(5), first_byte: PATIENCE, idle: Duration::ZERO, max_idle: 0 };
        let ticker = Ticker::new(Clock::real());
        Ok(Self { remote: Remote::new(vec![address], settings, 1), ticker, path: path.to_owned() })
    }

    /// Asks it for `path`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, path: &str) -> Result<Bytes, String> {
        let asking = ask(&self.remote, path, &self.ticker);
        tokio::select! {
            answer = asking => answer,
            () = Arc::clone(&self.ticker).run(Ticker::EVERY) => Err("the clock stopped".to_owned()),
        }
    }
}
