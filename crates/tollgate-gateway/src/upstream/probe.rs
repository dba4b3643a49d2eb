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

use super::{Caller, Fleet, FleetRules, MuxBounds, Remote, Settings, Upward};
use crate::config::endpoint;
use crate::tick::{Ticker, within};
use crate::tls::{Speaks, client_config};

/// The largest answer.
const LARGEST: usize = 8 << 20;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `path` of one endpoint of `remote` that is well, as far as is known.
///
/// # Errors
/// Why there is no answer, in words for an operator.
pub async fn ask(remote: &Remote, path: &str, ticker: &Arc<Ticker>) -> Result<Bytes, String> {
    ask_any(remote, path, ticker).await.map(|(_, answer)| answer)
}

/// The same, and which endpoint it was.
///
/// # Errors
/// The same.
pub async fn ask_any(remote: &Remote, path: &str, ticker: &Arc<Ticker>) -> Result<(usize, Bytes), String> {
    let endpoint = remote.endpoints.any().ok_or("no endpoint is ready")?;
    let asked = ask_endpoint(remote, (endpoint, path), PATIENCE, ticker).await;
    asked.map(|answer| (endpoint, answer)).map_err(|unanswered| unanswered.why)
}

/// Why a question has no answer.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// The status that came instead.
    pub status: Option<StatusCode>,
    /// In words for an operator.
    pub why: String,
}

impl From<String> for Unanswered {
    fn from(why: String) -> Self {
        Self { status: None, why }
    }
}

/// Asks `path` of that endpoint.
///
/// # Errors
/// Why there is no answer, in words for an operator.
pub async fn ask_endpoint(
    remote: &Remote,
    (endpoint, path): (usize, &str),
    patience: Duration,
    ticker: &Arc<Ticker>,
) -> Result<Bytes, Unanswered> {
    let uri: Uri = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    let id = ExchangeId(1);
    let trace = Trace::follow(&HeaderMap::new(), Fresh { trace_id: 1, span_id: 1, sampled: false });
    let ours = Ours { id, trace, client: None, content_type: None };
    let mut head = Upward { method: Method::GET, uri, headers: HeaderMap::new(), ours, credentials: false };
    let now = ticker.now();
    let until = now.after(patience);
    // A worker that does not exist has no kept connections.
    let tasks = Arc::default();
    let caller = Caller { worker: usize::MAX, ticker, tasks: &tasks, now, until };
    let response = remote.ask(endpoint, &mut head, caller).await.map_err(|fault| fault.evidence().to_owned())?;
    let status = response.status();
    if !status.is_success() {
        let why = match status.is_redirection() {
            true => format!("it sends on ({status}), which is not followed"),
            false => format!("it answered {status}"),
        };
        return Err(Unanswered { status: Some(status), why });
    }
    let mut body = response.into_body();
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
        let tls = (scheme == "https").then(|| client_config(ca, Speaks::H1)).transpose()?;
        let address = endpoint(&format!("{scheme}://{authority}"), tls.as_ref())?;
        let mux = MuxBounds { streams: 1, age: Duration::ZERO, idle: Duration::ZERO };
        let settings = Settings {
            connect: Duration::from_secs(5),
            first_byte: PATIENCE,
            idle: Duration::ZERO,
            stream_idle: PATIENCE,
            max_idle: 0,
            mux,
            closed: false,
        };
        let ticker = Ticker::new(Clock::real());
        let fleet = |addresses| Fleet::new(addresses, FleetRules::default(), 0);
        let remote = Remote::new((fleet(vec![(address, 1.0)]), fleet(Vec::new())), settings, None, 1);
        Ok(Self { remote, ticker, path: path.to_owned() })
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
