//! Our own checks: every endpoint is asked now and then whether it is ready, and for which models; the same thread compares
//! endpoints and lets those come back whose time is over.
//!
//! It asks and reports; what follows from an answer is the business of `standing`. A check never uses a connection of calls,
//! and counts as no call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::StatusCode;
use tokio::time::MissedTickBehavior;
use tollgate_core::time::Tick;
use tollgate_layers::protocol::metadata::{self, Told};
use tollgate_layers::routes::Preset;

use super::fleet::ANXIOUS;
use super::probe::{Unanswered, ask_endpoint};
use super::standing::Checked;
use super::{Remote, Target};
use crate::snapshot::Policy;
use crate::state::State;
use crate::tick::Ticker;

/// How an upstream's endpoints are asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthPlan {
    /// What is asked for, where the configuration says so.
    pub path: Option<String>,
    /// Else what such a server has.
    pub preset: Option<Preset>,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// How often it is looked whether a check is due.
const EVERY: Duration = Duration::from_millis(250);
/// Checks at once.
const MOST: usize = 64;
/// Models that one check asks about by name.
const MOST_MODELS: usize = 64;

/// Checks and compares for as long as it is polled. Without `asks` it only compares.
pub async fn watch(state: Arc<State>, asks: bool) {
    let ticker = Ticker::new(state.clock.clone());
    let rounds = async {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut running, mut first) = (FuturesUnordered::new(), 0);
        loop {
            tokio::select! {
                _ = every.tick() => {
                    let policy = state.policy();
                    let now = ticker.now();
                    let all: Vec<_> = remotes(&policy).collect();
                    for (_, remote) in &all {
                        remote.endpoints.sweep(now);
                        remote.rpc.sweep(now);
                    }
                    // Whoever had to wait the last time is first now: many that hang must not starve the rest.
                    let begin = first % all.len().max(1);
                    for at in (begin..all.len()).chain(0..begin) {
                        let Some((place, remote)) = all.get(at) else { continue };
                        let Some(plan) = remote.health.as_ref().filter(|_| asks) else { continue };
                        for endpoint in 0..remote.endpoints.len() {
                            if running.len() < MOST && remote.endpoints.is_due(endpoint, now, plan.timeout) {
                                first = at;
                                let models = models(&policy, *place);
                                running.push(check(Arc::clone(remote), endpoint, models, &ticker));
                            }
                        }
                    }
                }
                Some(()) = running.next(), if !running.is_empty() => {}
            }
        }
    };
    tokio::join!(rounds, Arc::clone(&ticker).run(EVERY));
}

fn remotes(policy: &Policy) -> impl Iterator<Item = (usize, &Arc<Remote>)> {
    policy.upstreams.iter().enumerate().filter_map(|(place, upstream)| match &upstream.target {
        Target::Remote(remote) => Some((place, remote)),
        Target::Local(_) => None,
    })
}

/// The models that an upstream serves: as their own, as one of their versions, or in place of another.
fn models(policy: &Policy, upstream: usize) -> Vec<Box<str>> {
    let served = policy.models.iter().filter(|model| model.is_served_by(upstream));
    served.map(|model| model.name.clone()).take(MOST_MODELS).collect()
}

async fn check(remote: Arc<Remote>, endpoint: usize, models: Vec<Box<str>>, ticker: &Arc<Ticker>) {
    let Some(plan) = &remote.health else { return };
    let found = ask(&remote, endpoint, (plan, &models), ticker).await;
    let now = ticker.now();
    let ready = matches!(found, Checked::Ready(_));
    remote.endpoints.checked(endpoint, found, now);
    remote.endpoints.next_check(endpoint, next(&remote, ready, now));
}

/// When an endpoint is asked again: sooner where it is not ready, and never all of them at once.
fn next(remote: &Remote, ready: bool, now: Tick) -> Tick {
    let every = remote.endpoints.rules().check_every;
    let wait = if ready { every } else { every.min(ANXIOUS) };
    now.after(wait - wait * remote.endpoints.jitter() / 1024 / 10)
}

async fn ask(
    remote: &Remote,
    endpoint: usize,
    (plan, models): (&HealthPlan, &[Box<str>]),
    ticker: &Arc<Ticker>,
) -> Checked {
    let asked = |path: String| async move { ask_endpoint(remote, (endpoint, &path), plan.timeout, ticker).await };
    if let Some(path) = &plan.path {
        return match asked(path.clone()).await {
            Ok(_) => Checked::Ready(BTreeSet::new()),
            Err(Unanswered { why, .. }) => Checked::Unready(why),
        };
    }
    let Some(preset) = plan.preset else { return Checked::Ready(BTreeSet::new()) };
    match asked(preset.ready_path().to_owned()).await {
        Ok(_) => {}
        // Nobody wrote that this server has such a path, or that it answers without a key.
        Err(Unanswered { status: Some(status), .. }) if says_nothing(status) => {}
        Err(Unanswered { why, .. }) => return Checked::Unready(why),
    }
    let mut lacks = BTreeSet::new();
    if let Some(path) = preset.list_path() {
        if let Ok(list) = asked(path.to_owned()).await {
            lacks.extend(missing(&list, preset, models));
        }
    } else {
        for model in models {
            let Some(path) = preset.model_ready_path(model) else { break };
            match asked(path).await {
                Ok(_) => {}
                Err(Unanswered { status: Some(_), .. }) => _ = lacks.insert(model.clone()),
                // It answered a moment ago: it is asked anew.
                Err(Unanswered { status: None, why }) => return Checked::Unready(why),
            }
        }
    }
    Checked::Ready(lacks)
}

const fn says_nothing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 404 | 405 | 501)
}

/// Models that a server does not list. A list that cannot be read says nothing.
fn missing(list: &[u8], preset: Preset, models: &[Box<str>]) -> Vec<Box<str>> {
    let told = serde_json::from_slice(list).ok().and_then(|list| metadata::read(&list).ok());
    let Some(Told::List(list)) = told else { return Vec::new() };
    let listed = |model: &str| {
        // To Ollama, a name without a tag is the newest.
        let newest = format!("{model}:latest");
        list.iter().any(|listed| listed.name == model || (preset == Preset::Ollama && listed.name == newest))
    };
    models.iter().filter(|model| !listed(model)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_listed_is_missing_and_a_list_that_is_none_says_nothing() {
        let models = ["llama3".into(), "other".into()];
        let missed = |list: &str, preset| missing(list.as_bytes(), preset, &models);
        let tags = r#"{"models":[{"name":"llama3:latest","model":"llama3:latest"}]}"#;
        assert_eq!(missed(tags, Preset::Ollama), [Box::<str>::from("other")]);
        let list = r#"{"object":"list","data":[{"id":"llama3","object":"model"},{"id":"other","object":"model"}]}"#;
        assert!(missed(list, Preset::Vllm).is_empty());
        for nothing in ["", "null", "[1]", "{\"error\":1}"] {
            assert!(missed(nothing, Preset::Vllm).is_empty(), "{nothing}");
        }
    }
}
