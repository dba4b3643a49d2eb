//! Mirrors calls to a version that does not serve them, and compares the answers.
//!
//! A mirrored call takes only what is left over: it never waits in line, never more of them run than the configuration
//! allows, none is larger than its cap, nobody pays for it, and nobody waits for it. Calls whose server would remember them
//! (threads, sequences) and calls over gRPC are not mirrored.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use memchr::memmem;
use tokio::sync::oneshot;
use tollgate_core::call::Dialect;
use tollgate_core::time::Tick;
use tollgate_layers::protocol::oip::binary;
use tollgate_layers::routes::Verb;

use super::compare::{How, Side, compare};
use super::{Course, Given, Release, told};
use crate::body::{Payload, with_edits};
use crate::exchange::{Exchange, Outcome as Ended};
use crate::inspect::INLINE;
use crate::pipeline::Admitted;
use crate::send::upward;
use crate::snapshot::Policy;
use crate::tick::within;
use crate::turn::{self, deadline};
use crate::upstream::{Answer, Caller, Order, Over, Patience, Remote, Slot, Target, Upload, Want};
use crate::worker::Worker;

/// Words of calls that the server would remember: a second one would be another call.
const REMEMBERED: [&[u8]; 5] =
    [b"\"conversation\"", b"\"previous_response_id\"", b"\"sequence_id\"", b"\"store\"", b"\"container\""];

/// What listens to the answer of the version that serves, for the comparison.
#[derive(Debug)]
pub struct Tap {
    side: Side,
    most: usize,
    /// It was readable and not too large so far.
    sound: bool,
    to: Option<oneshot::Sender<Side>>,
}

/// Mirrors a call to the first version that wants it and has room.
pub fn mirror(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, job: &Admitted) {
    let Some(given) = ex.seen.release else { return };
    let Some(release) = p.models.get(given.model.index()).and_then(|model| model.release.as_ref()) else { return };
    let Some(place) = release.wanted(given, w) else { return };
    if let Some(mirrored) = Mirrored::of(release, (p, w), ex, (place, job)) {
        let (to, from) = oneshot::channel();
        let most = release.terms.shadow_bytes;
        ex.seen.tap = Some(Box::new(Tap { side: Side::default(), most, sound: true, to: Some(to) }));
        w.tasks.spawn_detached(mirrored.run(from));
    } else {
        release.course.progress.lock().skipped(place);
    }
}

/// Keeps the head of the answer that leaves, for the comparison.
pub fn head<B>(ex: &mut Exchange, response: &Response<B>) {
    if let Some(tap) = &mut ex.seen.tap {
        let headers = response.headers();
        tap.sound &= !headers.contains_key(CONTENT_ENCODING);
        (tap.side.status, tap.side.content_type) = (response.status().as_u16(), kind(headers));
        tap.side.json_length = json_length(headers);
    }
}

/// Keeps a piece of the answer that leaves, for the comparison.
pub fn show(ex: &mut Exchange, data: &[u8]) {
    if ex.seen.tap.as_ref().is_some_and(|tap| tap.to.as_ref().is_none_or(oneshot::Sender::is_closed)) {
        // Nobody will compare it: a mirrored call that was given up keeps no memory.
        ex.seen.tap = None;
    }
    if let Some(tap) = &mut ex.seen.tap {
        tap.sound &= tap.side.body.len() + data.len() <= tap.most;
        if tap.sound {
            tap.side.body.extend_from_slice(data);
        }
    }
}

/// The answer has left, or what there was of it.
pub(super) fn close(ex: &mut Exchange, ended: Ended) {
    let Some(mut tap) = ex.seen.tap.take() else { return };
    let good = ended == Ended::Answered && tap.sound && (200..300).contains(&tap.side.status);
    let latency = super::outcome(ex, ex.facts.started, ended).map(|outcome| outcome.latency);
    if let (true, Some(to), Some(super::Latency::Exactly(latency_us))) = (good, tap.to.take(), latency) {
        tap.side.latency_us = latency_us;
        // The mirrored call may have been given up.
        drop(to.send(tap.side));
    }
}

impl Release {
    /// The version that a call is mirrored to.
    fn wanted(&self, given: Given, w: &Worker) -> Option<usize> {
        let wanting = self.terms.versions.iter().enumerate().filter(|(place, version)| {
            version.shadow > 0 && *place != given.choice.version && w.random() % 100 < u64::from(version.shadow)
        });
        let mut places = wanting.map(|(place, _)| place);
        let progress = self.course.progress.lock();
        places.find(|place| progress.is_on_trial(*place))
    }
}

/// A call that is mirrored.
struct Mirrored {
    release: Arc<Release>,
    worker: Arc<Worker>,
    place: usize,
    /// How often a trial had begun.
    trials: u64,
    how: How,
    remote: Arc<Remote>,
    order: Order<'static>,
    began: Tick,
    until: Tick,
    /// Given back when it ends, however it ends.
    room: Room,
}

/// What a mirrored call takes.
struct Room {
    course: Arc<Course>,
    slot: Option<Slot>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.course.mirrors.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
    }
}

impl Mirrored {
    /// `None` where there is no room, or the call is none that can be mirrored.
    fn of(
        release: &Arc<Release>,
        (p, w): (&Arc<Policy>, &Arc<Worker>),
        ex: &Exchange,
        (place, job): (usize, &Admitted),
    ) -> Option<Self> {
        let body = mirrorable(job, release.terms.shadow_bytes)?;
        let upstream = p.upstreams.get(release.terms.versions.get(place)?.upstream)?;
        let Target::Remote(remote) = &upstream.target else { return None };
        let most = release.terms.shadow_inflight;
        let (running, waiting) = upstream.queue.level();
        if waiting > 0 || running >= most || !release.course.mirror(most) {
            return None;
        }
        let mut room = Room { course: Arc::clone(&release.course), slot: None };
        // Nobody's line: a place that is free now, or none.
        let until = deadline(ex);
        room.slot = Some(upstream.queue.spare(turn::mirrored(&job.estimate, until, w.ticker.now()))?);
        let mut head = upward(ex, job.head.clone(), job.verb == Verb::Infer);
        // Whoever is tried has not been trusted with anybody's key.
        head.credentials = false;
        let want = Want { cost: job.estimate.cost.0, ..Want::default() };
        let upload = Upload::Held(Some(body));
        let order = Order { head, upload, over: Over::Rest, want, patience: Patience::Caller };
        Some(Self {
            release: Arc::clone(release),
            worker: Arc::clone(w),
            place,
            trials: ex.seen.release?.choice.trials(),
            how: How::of(job.call.dialect),
            remote: Arc::clone(remote),
            order,
            began: w.ticker.now(),
            until,
            room,
        })
    }

    async fn run(self, primary: oneshot::Receiver<Side>) {
        let Self { release, worker: w, place, trials, how, remote, order, began, until, mut room } = self;
        let id = order.head.ours.id;
        let most = release.terms.shadow_bytes;
        let by = Caller { worker: w.index, ticker: &w.ticker, tasks: &w.tasks, now: began, until };
        let asked = within(w.ticker.alarm(until), ask(&remote, order, by, (most, began)));
        let Ok(Some(shadow)) = asked.await else {
            // Too large, too late or encoded: nothing that could be compared.
            return release.course.progress.lock().skipped(place);
        };
        // Its place is for somebody else; the answer that leaves may take long.
        room.slot = None;
        let Ok(Ok(primary)) = within(w.ticker.alarm(until), primary).await else { return };
        let tolerance = release.terms.tolerance;
        let found = if primary.body.len().max(shadow.body.len()) <= INLINE {
            compare(how, &primary, &shadow, tolerance)
        } else {
            let Ok(job) = w.state.compute.run(move || compare(how, &primary, &shadow, tolerance)) else {
                return release.course.progress.lock().skipped(place);
            };
            let Ok(found) = job.await else { return };
            found
        };
        drop(room);
        let now_ms = w.unix_ms(w.ticker.now());
        let turn = release.course.progress.lock().compared(&release.terms, (place, trials), &found, now_ms);
        if let Some(turn) = turn {
            let at = (id, String::new(), w.state.generation());
            w.state.recorder.hand_over(told::act(&release, &turn, at).line());
        }
    }
}

/// The body of a call that can be mirrored, as it goes up.
fn mirrorable(job: &Admitted, most: usize) -> Option<Bytes> {
    let Payload::Held(body, _) = &job.body else { return None };
    let asks = job.verb == Verb::Infer && !matches!(job.call.dialect, Dialect::OipGrpc | Dialect::Upload);
    if !asks || body.len() > most || job.head.path().ends_with("/responses") {
        return None;
    }
    if REMEMBERED.iter().any(|word| memmem::find(body, word).is_some()) {
        return None;
    }
    Some(with_edits(body, &job.call.edits))
}

/// Asks the version that is mirrored to, and reads its answer whole.
async fn ask(remote: &Arc<Remote>, order: Order<'_>, by: Caller<'_>, (most, began): (usize, Tick)) -> Option<Side> {
    let sent = remote.send(order, by).await;
    let latency_us = u32::try_from(by.ticker.now().since(began).as_micros()).unwrap_or(u32::MAX);
    let Ok(sent) = sent else {
        // No answer is an answer of another class.
        return Some(Side { status: 502, latency_us, ..Side::default() });
    };
    let (head, mut answer) = sent.response.into_parts();
    if matches!(head.status.as_u16(), 429 | 503) || head.headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let body = whole(&mut answer, most).await?;
    sent.running.done(by.worker, &mut answer, (by.ticker.now(), true));
    let (content_type, json_length) = (kind(&head.headers), json_length(&head.headers));
    Some(Side { status: head.status.as_u16(), content_type, json_length, body, latency_us })
}

async fn whole(answer: &mut Answer, most: usize) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = answer.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        if whole.len() + data.len() > most {
            return None;
        }
        whole.extend_from_slice(&data);
    }
    Some(whole)
}

fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

fn json_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(binary::HEADER)?.to_str().ok()?.parse().ok()
}
