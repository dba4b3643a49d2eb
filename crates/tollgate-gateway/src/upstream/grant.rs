//! The token that we show to a model server: got by client credentials (RFC 6749 § 4.4), got anew at four fifths of its life,
//! and seen by nobody else.
//!
//! The control thread asks for it; a request only reads what is there. Without a token nothing is sent: a server that lets
//! everybody in would otherwise take a call that nobody proved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::{Clock, Tick};
use tollgate_layers::protocol::json;
use zeroize::Zeroizing;

use super::Target;
use crate::egress::{Egress, Question, answered, escaped};
use crate::state::State;

/// The largest answer, and the longest token.
const LARGEST: usize = 64 * 1024;
const LONGEST: usize = 16 * 1024;
/// The life of a token that does not say how long it lives, and bounds of those that do.
const USUAL: Duration = Duration::from_mins(5);
const LIVES: std::ops::RangeInclusive<u64> = 5..=86_400;
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often it is looked whether a token is due.
const LOOK: Duration = Duration::from_millis(500);
const LIMITS: json::Limits = json::Limits { depth: 8, keys: 128 };

/// How a token is got.
#[derive(Debug)]
pub struct Terms {
    /// Where it is given.
    pub url: String,
    /// Who we are, and what proves it.
    pub authorization: HeaderValue,
    /// The form, without secrets.
    pub form: String,
    /// How the place is reached.
    pub egress: Egress,
}

/// The token of an upstream.
pub struct Grant {
    terms: Terms,
    clock: Clock,
    now: ArcSwapOption<Held>,
    /// When it is asked for next, as a tick.
    due: AtomicU64,
    /// Questions in a row without a token, and all of them.
    failed: AtomicU64,
    failures: AtomicU64,
}

/// A token that was given.
struct Held {
    value: HeaderValue,
    until: Tick,
}

impl Grant {
    /// No token yet.
    #[must_use]
    pub fn new(terms: Terms, clock: Clock) -> Self {
        let (due, failed, failures) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { terms, clock, now: ArcSwapOption::empty(), due, failed, failures }
    }

    /// The field that carries the token, if there is one that lives.
    #[must_use]
    pub fn field(&self) -> Option<(HeaderName, HeaderValue)> {
        let held = self.now.load();
        let held = held.as_ref().filter(|held| self.clock.now() < held.until)?;
        Some((AUTHORIZATION, held.value.clone()))
    }

    /// Whether there is a token to show.
    ///
    /// # Errors
    /// A fault of the upstream: nothing was sent.
    pub fn check(&self) -> Result<(), Fault> {
        let lacks = || Fault::new(Origin::Upstream, "no token for this upstream: its issuer gave none");
        self.field().map(drop).ok_or_else(lacks)
    }

    /// How often no token was given.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    async fn follow(&self) {
        loop {
            let wait = Tick(self.due.load(Ordering::Acquire)).since(self.clock.now());
            if wait > Duration::ZERO {
                tokio::time::sleep(wait.min(LOOK)).await;
                continue;
            }
            let asked = self.clock.now();
            let wait = match self.ask().await {
                Ok((value, life)) => {
                    self.now.store(Some(Arc::new(Held { value, until: asked.after(life) })));
                    self.failed.store(0, Ordering::Release);
                    life * 4 / 5
                }
                Err(_) => {
                    let failed = self.failed.fetch_add(1, Ordering::AcqRel);
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    Duration::from_secs(1 << failed.min(6)).min(LONGEST_PAUSE)
                }
            };
            self.due.store(asked.after(wait).0, Ordering::Release);
        }
    }

    async fn ask(&self) -> Result<(HeaderValue, Duration), String> {
        let Terms { url, authorization, form, egress } = &self.terms;
        let question = Question {
            method: Method::POST,
            url,
            fields: vec![(AUTHORIZATION, authorization.clone())],
            form: Some(form.clone()),
            most: LARGEST,
        };
        let answer = egress.ask(question).await?;
        if answer.status != StatusCode::OK {
            return Err(answered(answer.status));
        }
        read(&answer.body)
    }
}

/// Without the token, and without what is sent for it.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant({})", self.terms.url)
    }
}

/// The form of a question: what for, and for whom.
#[must_use]
pub fn form(scope: Option<&str>, audience: Option<&str>, resource: Option<&str>) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    for (name, value) in [("scope", scope), ("audience", audience), ("resource", resource)] {
        if let Some(value) = value {
            form.push_str(&format!("&{name}={}", escaped(value.as_bytes())));
        }
    }
    form
}

fn read(body: &[u8]) -> Result<(HeaderValue, Duration), String> {
    let strict = "the answer is no strict JSON";
    json::validate(body, LIMITS).map_err(|_| strict)?;
    let said: Value = serde_json::from_slice(body).map_err(|_| strict)?;
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token is not one that is shown as it is (`Bearer`)".to_owned());
    }
    let token = text("access_token").filter(|token| (1..=LONGEST).contains(&token.len())).ok_or("there is no token")?;
    let seconds = match said.get("expires_in") {
        None => USUAL.as_secs(),
        Some(value) => value.as_u64().ok_or("`expires_in` is no number")?,
    };
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token is no value of a header field".to_owned());
    }
    let value = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&value).map_err(|_| "the token is no value of a header field")?;
    value.set_sensitive(true);
    Ok((value, Duration::from_secs(seconds.clamp(*LIVES.start(), *LIVES.end()))))
}

/// Gets tokens for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    loop {
        let policy = state.policy();
        let generation = policy.generation;
        let grants: Vec<Arc<Grant>> = policy.upstreams.iter().filter_map(|upstream| of(&upstream.target)).collect();
        // Not held while nothing is due: it may be replaced, and is large.
        drop(policy);
        let replaced = async {
            while state.generation() == generation {
                tokio::time::sleep(LOOK).await;
            }
        };
        let following = join_all(grants.iter().map(|grant| grant.follow()));
        tokio::select! {
            () = replaced => {}
            _ = following, if !grants.is_empty() => {}
        }
    }
}

fn of(target: &Target) -> Option<Arc<Grant>> {
    match target {
        Target::Local(_) => None,
        Target::Remote(remote) => remote.grant.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_for_and_holds_no_secret() {
        assert_eq!(form(None, None, None), "grant_type=client_credentials");
        assert_eq!(
            form(Some("a b"), Some("https://x"), Some("y&z")),
            "grant_type=client_credentials&scope=a%20b&audience=https%3A%2F%2Fx&resource=y%26z"
        );
    }

    #[test]
    fn only_a_plain_token_with_a_life_is_taken() {
        let life = |body: &str| read(body.as_bytes()).map(|(value, life)| (value.is_sensitive(), life.as_secs()));
        assert_eq!(life(r#"{"access_token":"t","token_type":"bearer","expires_in":60}"#), Ok((true, 60)));
        assert_eq!(life(r#"{"access_token":"t","token_type":"Bearer"}"#), Ok((true, 300)));
        assert_eq!(life(r#"{"access_token":"t","token_type":"Bearer","expires_in":0}"#), Ok((true, 5)));
        assert_eq!(life(r#"{"access_token":"t","token_type":"Bearer","expires_in":99999999}"#), Ok((true, 86_400)));
        for body in [
            "",
            "{}",
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":"60"}"#,
            r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#,
        ] {
            assert!(life(body).is_err(), "{body}");
        }
    }
}
