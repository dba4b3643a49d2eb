//! Asks an issuer about a token that says nothing itself (RFC 7662). What its answer means is the business of layer `auth`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::SHA256;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::secret::Secret;
use tollgate_limit::Gauges;

use super::discover;
use crate::egress::{Egress, Question, answered, basic, escaped};

/// The largest answer.
const LARGEST: usize = 64 * 1024;
/// How long a question waits for others to be answered.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions of one address at once.
const MOST_OF_ONE: u64 = 8;

/// How an issuer is asked.
#[derive(Debug)]
pub struct Introspection {
    /// Whom to ask for its metadata where no address is configured.
    pub issuer: String,
    /// Where it is asked.
    pub url: Option<String>,
    /// Who we are to it, and what proves that.
    pub authorization: HeaderValue,
    /// How it is reached.
    pub egress: Egress,
    /// Questions at once.
    pub places: Semaphore,
    /// Where it is asked, as its metadata says.
    found: arc_swap::ArcSwapOption<String>,
    /// Questions under way: whoever brings the same token waits for the same answer.
    flights: Mutex<HashMap<[u8; 32], Arc<Flight>>>,
    /// Questions of each address.
    busy: Arc<Gauges>,
}

type Flight = OnceCell<Result<Bytes, String>>;

impl Introspection {
    /// Ready to ask.
    #[must_use]
    pub fn new(issuer: String, url: Option<String>, client: (&str, &Secret), egress: Egress, at_once: usize) -> Self {
        let authorization = basic(client.0.as_bytes(), client.1.expose());
        let (places, found) = (Semaphore::new(at_once), arc_swap::ArcSwapOption::empty());
        let (flights, busy) = (Mutex::default(), Arc::default());
        Self { issuer, url, authorization, egress, places, found, flights, busy }
    }

    /// Asks about a token that came from an address.
    ///
    /// # Errors
    /// A fault of the store: without an answer nobody is let in. It holds nothing of the token.
    pub async fn ask(&self, token: &str, from: IpAddr) -> Result<Bytes, Fault> {
        let fault =
            |why: String| Fault::new(Origin::Store, format_args!("the issuer cannot be asked: {why}")).retryable();
        let busy = self.busy.enter(of_address(from), MOST_OF_ONE);
        let _busy = busy.ok_or_else(|| fault("too many questions of one address at once".to_owned()))?;
        let waiting = Waiting::join(self, token);
        waiting.flight.get_or_init(|| self.question(token)).await.clone().map_err(fault)
    }

    async fn question(&self, token: &str) -> Result<Bytes, String> {
        let waiting = tokio::time::timeout(PATIENCE, self.places.acquire());
        let Ok(Ok(_place)) = waiting.await else { return Err("too many questions at once".to_owned()) };
        let url = self.place().await?;
        let question = Question {
            method: Method::POST,
            url: &url,
            fields: vec![(AUTHORIZATION, self.authorization.clone())],
            form: Some(format!("token={}&token_type_hint=access_token", escaped(token.as_bytes()))),
            most: LARGEST,
        };
        let answer = self.egress.ask(question).await?;
        if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(answered(answer.status)) }
    }

    async fn place(&self) -> Result<String, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        if let Some(found) = self.found.load().as_ref() {
            return Ok(String::clone(found));
        }
        let metadata = discover::metadata(&self.egress, &self.issuer).await?;
        let url = metadata.introspection.ok_or("its metadata names no `introspection_endpoint`")?;
        self.egress.may_follow(&url, &self.issuer)?;
        self.found.store(Some(url.clone().into()));
        Ok(url)
    }
}

/// One of those who wait for an answer about a token. The last one to leave takes it along: nothing of a token stays here.
struct Waiting<'a> {
    of: &'a Introspection,
    digest: [u8; 32],
    flight: Arc<Flight>,
}

impl<'a> Waiting<'a> {
    fn join(of: &'a Introspection, token: &str) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, token.as_bytes()).as_ref());
        let flight = Arc::clone(of.flights.lock().entry(digest).or_default());
        Self { of, digest, flight }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut flights = self.of.flights.lock();
        // The table's own, and this one. Answered, it is what others must ask anew.
        if Arc::strong_count(&self.flight) <= 2 || self.flight.initialized() {
            let same = flights.get(&self.digest).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
            if same {
                flights.remove(&self.digest);
            }
        }
    }
}

/// What an address is counted by: of IPv6, the network that one subscriber has.
fn of_address(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}
