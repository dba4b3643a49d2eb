//! Versions of a model, and the release of a new one: which version serves a call, what becomes of it, and what follows.
//!
//! Whatever serves calls asks [`upstream_of`] for the upstream of a model; what became of a call is a fold over its journal
//! ([`learn`]), like metrics. The rest stands below: `evidence` is the test, `course` what moves by itself, `levers` what
//! operators do, `shadow` mirrors calls, `compare` compares answers, `told` says how things stand.

pub mod compare;
pub mod course;
pub mod evidence;
pub mod levers;
pub mod pace;
pub mod shadow;
pub mod terms;
pub mod told;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tollgate_core::call::ModelId;
use tollgate_core::identity::ExchangeId;
use tollgate_core::journal::{Event, Fact};
use tollgate_core::ruling::{Code, Origin};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_limit::hash_key;

use crate::exchange::{Exchange, Outcome as Ended};
use crate::pipeline::Admitted;
use crate::record::Recorder;
use crate::snapshot::Policy;
use crate::state::State;
use crate::upstream::Upstream;
use crate::worker::Worker;
use course::{Choice, Latency, Lot, Outcome, Progress, Turn};
use levers::{Order, Wrong};
use terms::{Sticky, Terms};

/// Names the version that a call went to, for callers who proved who they are.
const VERSION: HeaderName = HeaderName::from_static("x-tollgate-version");

/// The release of one model, as one policy sees it.
pub struct Release {
    /// The model.
    pub model: Box<str>,
    /// What the configuration says.
    pub terms: Terms,
    /// How far it has come: outlives the policy.
    pub course: Arc<Course>,
}

/// How far a release has come.
#[derive(Debug)]
pub struct Course {
    progress: Mutex<Progress>,
    /// Mirrored calls that run.
    mirrors: AtomicU32,
}

/// The version that an exchange was given.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    model: ModelId,
    choice: Choice,
}

/// Every release that outlives a policy.
#[derive(Default)]
pub struct Releases {
    courses: Mutex<HashMap<(String, String), Arc<Course>>>,
    /// What earlier runs left, until somebody asks for it.
    left: Mutex<BTreeMap<String, Saved>>,
    /// What was written down last.
    written: Mutex<Vec<u8>>,
}

/// One release, as it is written down.
#[derive(Debug, Deserialize, Serialize)]
struct Saved {
    /// What of the configuration it belongs to.
    of: String,
    progress: Progress,
}

/// The upstream that serves calls of a model. Where it has versions, the choice is made once for each exchange.
pub fn upstream_of<'a>(
    p: &'a Policy,
    w: &Worker,
    ex: &mut Exchange,
    (model, headers): (ModelId, &HeaderMap),
) -> Option<&'a Upstream> {
    let Some(release) = &p.models.get(model.index())?.release else { return p.upstream_of(model) };
    let given = match ex.seen.release {
        Some(given) if given.model == model => given,
        _ => {
            let choice = release.choose(w, ex, headers);
            *ex.seen.release.insert(Given { model, choice })
        }
    };
    p.upstreams.get(release.terms.versions.get(given.choice.version)?.upstream)
}

/// The version that will serve a call, and since when it has the weight that it has; the same for every call of a model
/// without versions.
pub fn edition(p: &Policy, w: &Worker, ex: &mut Exchange, job: &Admitted) -> (usize, u64) {
    let asked = job.call.model.map(|model| (model, &job.head.headers));
    // The choice is made here, and holds for the exchange.
    let _ = asked.and_then(|asked| upstream_of(p, w, ex, asked));
    let Some((release, given)) = given(p, ex) else { return (0, 0) };
    (given.choice.version, release.course.progress.lock().since(given.choice.version))
}

/// The version that an exchange was given, by name.
#[must_use]
pub fn version_of(ex: &Exchange) -> Option<&str> {
    let (release, given) = given(ex.policy(), ex)?;
    Some(release.terms.name(given.choice.version))
}

/// Says which version a call went to, to callers who proved who they are.
pub fn announce(ex: &Exchange, fields: &mut HeaderMap) {
    let known = ex.seen.who.as_ref().is_some_and(|who| !who.is_anonymous());
    let version = version_of(ex).filter(|_| known).and_then(|name| HeaderValue::from_str(name).ok());
    if let Some(version) = version {
        fields.insert(VERSION, version);
    }
}

/// Learns from an exchange that ends `now`. What that moves is written down and noted in the journal.
pub fn learn(ex: &mut Exchange, now: Tick, ended: Ended, recorder: &Recorder) {
    shadow::close(ex, ended);
    let policy = Arc::clone(ex.policy());
    let Some((release, given)) = given(&policy, ex) else { return };
    let Some(outcome) = outcome(ex, now, ended) else { return };
    let passed = u64::try_from(now.since(ex.facts.started).as_millis()).unwrap_or(u64::MAX);
    let now_ms = ex.facts.unix_ms.saturating_add(passed);
    let turn = release.course.progress.lock().see(&release.terms, &given.choice, outcome, now_ms);
    if let Some(turn) = turn {
        let place = u32::try_from(turn.version).unwrap_or(u32::MAX);
        ex.log.note(Stage::Upstream, Event::Noted(Fact::Regressed, place));
        let at = (ex.facts.id, String::new(), policy.generation);
        recorder.hand_over(told::act(release, &turn, at).line());
    }
}

fn given<'a>(p: &'a Policy, ex: &Exchange) -> Option<(&'a Release, Given)> {
    let given = ex.seen.release?;
    Some((p.models.get(given.model.index())?.release.as_deref()?, given))
}

/// What became of a call, as its journal tells; `None` where it never came before its version.
fn outcome(ex: &Exchange, now: Tick, ended: Ended) -> Option<Outcome> {
    let entries = ex.log.entries();
    let placed = entries.iter().find(|entry| entry.stage == Stage::Queue && matches!(entry.event, Event::Passed))?;
    let told = entries.iter().filter(|entry| entry.stage == Stage::Upstream);
    let spoke = ex.log.fact(Fact::UpstreamStatus).is_some();
    let (mut failed, mut answered) = (false, None);
    for entry in told {
        failed |= match &entry.event {
            Event::Faulted(fault) => matches!(fault.origin, Origin::Upstream | Origin::UpstreamLate),
            // A server that says it is full is not broken; where nobody is left who could say so, it is.
            Event::Refused(refusal) => refusal.code != Code::Overloaded || !spoke,
            // A route may relay refusals of the server.
            Event::Noted(Fact::UpstreamStatus, status) => *status >= 400 && !matches!(status, 429 | 503),
            _ => false,
        };
        if matches!(entry.event, Event::Passed | Event::Noted(Fact::UpstreamStatus, _)) {
            answered = answered.or(Some(entry.at_us));
        }
    }
    let broken = ex.log.fact(Fact::ReplyBroken).is_some();
    let took = u32::try_from(now.since(ex.facts.started).as_micros()).unwrap_or(u32::MAX);
    let latency = match answered {
        _ if failed => Latency::Unknown,
        Some(at) => Latency::Exactly(at.saturating_sub(placed.at_us)),
        None if ended == Ended::ClientLeft => Latency::AtLeast(took.saturating_sub(placed.at_us)),
        None => Latency::Unknown,
    };
    Some(Outcome { failed, broken, latency })
}

impl Release {
    fn choose(&self, w: &Worker, ex: &Exchange, headers: &HeaderMap) -> Choice {
        let coin = w.random();
        let key = self.key(ex, headers);
        let seed = w.state.seed;
        let draw = |place: usize| hash_key(seed, (&self.model, self.terms.name(place)), key.unwrap_or(coin));
        self.course.progress.lock().choose(&Lot { draw, sticky: key.is_some(), coin: coin.rotate_left(32) })
    }

    /// What makes a call stay with a version, as a number.
    fn key(&self, ex: &Exchange, headers: &HeaderMap) -> Option<u64> {
        let caller = || {
            let who = ex.seen.who.as_ref().filter(|who| !who.is_anonymous());
            who.map_or_else(
                || hash_key((0, 0), "address", ex.seen.from.unwrap_or(ex.facts.peer.ip)),
                |who| who.principal_id,
            )
        };
        match &self.terms.sticky {
            Sticky::Header(name) => {
                Some(headers.get(name).map_or_else(caller, |value| hash_key((0, 0), "header", value.as_bytes())))
            }
            Sticky::Principal => Some(caller()),
            Sticky::Request => None,
        }
    }

    /// What [`Release::pull`] would do now.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn foresee(&self, order: &Order, now_ms: u64) -> Result<Turn, Wrong> {
        let mut progress = self.course.progress.lock().clone();
        progress.pull(&self.terms, order, now_ms)
    }

    /// Does what an operator asks for.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn pull(&self, order: &Order, now_ms: u64) -> Result<Turn, Wrong> {
        self.course.progress.lock().pull(&self.terms, order, now_ms)
    }
}

impl Course {
    fn new(progress: Progress) -> Arc<Self> {
        Arc::new(Self { progress: Mutex::new(progress), mirrors: AtomicU32::new(0) })
    }

    /// Takes a place for a mirrored call, if fewer than `most` run.
    fn mirror(&self, most: u32) -> bool {
        let more = |running: u32| (running < most).then(|| running + 1);
        self.mirrors.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

impl Releases {
    /// The release of a model: kept, if it has begun from the same versions, else begun anew.
    #[must_use]
    pub fn of(&self, model: &str, terms: &Terms, now_ms: u64) -> Arc<Course> {
        let mut courses = self.courses.lock();
        let left = || {
            let left = self.left.lock();
            let saved = left.get(model).filter(|saved| saved.of == terms.of)?;
            saved.progress.is_sound(terms.versions.len()).then(|| saved.progress.clone())
        };
        let begin = || Course::new(left().unwrap_or_else(|| Progress::begin(terms, now_ms)));
        Arc::clone(courses.entry((model.to_owned(), terms.of.clone())).or_insert_with(begin))
    }

    /// Forgets what `policy` does not hold.
    pub fn keep(&self, policy: &Policy) {
        let held = |course: &Arc<Course>| {
            let mut releases = policy.models.iter().filter_map(|model| model.release.as_ref());
            releases.any(|release| Arc::ptr_eq(&release.course, course))
        };
        self.courses.lock().retain(|_, course| held(course));
        self.left.lock().clear();
    }

    /// Takes over what an earlier run wrote down.
    ///
    /// # Errors
    /// It was not written by a gateway.
    pub fn restore(&self, written: &[u8]) -> Result<(), serde_json::Error> {
        *self.left.lock() = serde_json::from_slice(written)?;
        Ok(())
    }

    /// Writes down how far releases have come, where that has changed. One at a time: the older state must never be the
    /// last that is written.
    ///
    /// # Errors
    /// What `write` says; the next call tries again.
    pub fn write(&self, policy: &Policy, write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut written = self.written.lock();
        let releases = policy.models.iter().filter_map(|model| model.release.as_ref());
        let saved = |release: &Arc<Release>| {
            let progress = release.course.progress.lock().clone();
            (release.model.to_string(), Saved { of: release.terms.of.clone(), progress })
        };
        let all: BTreeMap<String, Saved> = releases.map(saved).collect();
        let text = serde_json::to_vec(&all)?;
        if *written == text || (all.is_empty() && written.is_empty()) {
            return Ok(());
        }
        write(&text)?;
        *written = text;
        Ok(())
    }
}

/// Moves releases on that are due, for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let policy = state.policy();
        for release in policy.models.iter().filter_map(|model| model.release.as_ref()) {
            let turn = release.course.progress.lock().advance(&release.terms, state.clock.unix_ms());
            if let Some(turn) = turn {
                let at = (ExchangeId::default(), String::new(), policy.generation);
                state.recorder.hand_over(told::act(release, &turn, at).line());
            }
        }
    }
}

#[cfg(test)]
mod tests;
