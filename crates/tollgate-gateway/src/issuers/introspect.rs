//! Asks an issuer about a token that says nothing itself (RFC 7662). What its answer means is the business of layer `auth`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::secret::Secret;

use super::discover;
use crate::egress::{Egress, Question, answered, basic, escaped};

/// The largest answer.
const LARGEST: usize = 64 * 1024;
/// How long a question waits for others to be answered.
const PATIENCE: Duration = Duration::from_secs(1);

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
}

impl Introspection {
    /// Ready to ask.
    #[must_use]
    pub fn new(issuer: String, url: Option<String>, client: (&str, &Secret), egress: Egress, at_once: usize) -> Self {
        let authorization = basic(client.0.as_bytes(), client.1.expose());
        let (places, found) = (Semaphore::new(at_once), arc_swap::ArcSwapOption::empty());
        Self { issuer, url, authorization, egress, places, found }
    }

    /// Asks about a token.
    ///
    /// # Errors
    /// A fault of the store: without an answer nobody is let in. It holds nothing of the token.
    pub async fn ask(&self, token: &str) -> Result<Bytes, Fault> {
        let fault =
            |why: String| Fault::new(Origin::Store, format_args!("the issuer cannot be asked: {why}")).retryable();
        let waiting = tokio::time::timeout(PATIENCE, self.places.acquire());
        let Ok(Ok(_place)) = waiting.await else { return Err(fault("too many questions at once".to_owned())) };
        let url = self.place().await.map_err(fault)?;
        let question = Question {
            method: Method::POST,
            url: &url,
            fields: vec![(AUTHORIZATION, self.authorization.clone())],
            form: Some(format!("token={}&token_type_hint=access_token", escaped(token.as_bytes()))),
            most: LARGEST,
        };
        let answer = self.egress.ask(question).await.map_err(fault)?;
        if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(fault(answered(answer.status))) }
    }

    async fn place(&self) -> Result<String, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        if let Some(found) = self.found.load().as_ref() {
            return Ok(found.to_string());
        }
        let metadata = discover::metadata(&self.egress, &self.issuer).await?;
        let url = metadata.introspection.ok_or("its metadata names no `introspection_endpoint`")?;
        self.found.store(Some(url.clone().into()));
        Ok(url)
    }
}
