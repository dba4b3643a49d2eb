//! Runs `look` where it belongs: in place, or on the compute pool when body or head are large enough to stall a worker.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use tollgate_core::call::{Call, Dialect};
use tollgate_core::guard::Mode;
use tollgate_core::identity::Identity;
use tollgate_core::journal::{Event, Fact, Journal};
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal};
use tollgate_core::stage::Stage;
use tollgate_layers::authz::Occasion;
use tollgate_layers::hygiene::Head;
use tollgate_layers::routes::{Found, Route, Verb};
use tollgate_layers::waf::{Content, Turn};

use crate::body::Payload;
use crate::firewall::{TEXT, text_bytes};
use crate::pipeline::{View, look};
use crate::snapshot::Policy;
use crate::worker::Worker;

/// Bodies above this many bytes take longer than about 200 µs to judge.
pub const INLINE: usize = 32 * 1024;

/// A head above this many bytes takes the rules of phase 2 longer: 16 KiB of cookies, some milliseconds.
const LONG_HEAD: usize = 4 * 1024;

/// What is inspected.
pub struct Parts<'a> {
    /// Its head.
    pub head: &'a Head,
    /// Its route and what the path said.
    pub found: &'a Found<'a>,
    /// Its body.
    pub body: &'a Payload,
    /// Who asks.
    pub who: &'a Identity,
    /// From where, and when.
    pub at: Occasion,
}

/// Inspects a request by its verb.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub async fn inspect(
    p: &Arc<Policy>,
    w: &Worker,
    (log, waf): (&mut Journal, &mut Turn),
    x: Parts<'_>,
) -> Result<Call, Denial> {
    if x.found.verb == Verb::Stream && matches!(x.body, Payload::Streamed(..)) {
        return Ok(Call { dialect: Dialect::OipGrpc, ..Call::default() }); // each message is looked at by itself
    }
    let scanned = p.waf.layer.is_some() && p.waf.mode(log) != Mode::Off;
    let long_head = scanned && is_long(&x.head.uri, &x.head.headers);
    let Payload::Held(bytes, _) = x.body else {
        return streamed(p, w, (log, waf), long_head).await;
    };
    if bytes.len() > INLINE || long_head || (scanned && bytes.len() > TEXT && text_bytes(bytes) > TEXT) {
        return elsewhere(p, w, (log, waf), &x, bytes).await;
    }
    look_and_note(
        p,
        log,
        waf,
        &View { head: x.head, found: x.found, body: bytes, who: x.who, at: x.at, thread: w.index },
    )
}

/// Looks at a request; of one that is refused, the model that it was about is noted for the record.
fn look_and_note(p: &Policy, log: &mut Journal, waf: &mut Turn, view: &View<'_>) -> Result<Call, Denial> {
    let looked = look(p, log, waf, view);
    if looked.is_err()
        && let Some(model) = p.parse.layer.about(view.given())
    {
        log.note(Stage::Parse, Event::Noted(Fact::Model, model.0));
    }
    looked
}

/// Phase 2 of a request whose body streams past us: the rules see its head.
async fn streamed(
    p: &Arc<Policy>,
    w: &Worker,
    (log, waf): (&mut Journal, &mut Turn),
    long_head: bool,
) -> Result<Call, Denial> {
    let ask = |p: &Policy, log: &mut Journal, waf: &mut Turn, thread: usize| {
        let call = Call::default();
        p.waf.ask(log, |f, _| f.body(waf, Content { bytes: None, call: &call }, thread))?;
        Ok(call)
    };
    if !long_head {
        return ask(p, log, waf, w.index);
    }
    let (policy, thread) = (Arc::clone(p), w.state.workers);
    on_pool(w, Stage::Waf, (log, waf), move |log, waf| ask(&policy, log, waf, thread)).await
}

fn is_long(target: &Uri, headers: &HeaderMap) -> bool {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    target + fields.sum::<usize>() > LONG_HEAD
}

/// Moves everything that `look` needs to the compute pool and back.
async fn elsewhere(
    p: &Arc<Policy>,
    w: &Worker,
    (log, waf): (&mut Journal, &mut Turn),
    x: &Parts<'_>,
    body: &Bytes,
) -> Result<Call, Denial> {
    let job = Moved {
        policy: Arc::clone(p),
        head: x.head.clone(),
        route: Arc::clone(x.found.route),
        verb: x.found.verb,
        model: x.found.model.map(str::to_owned),
        body: body.clone(),
        who: x.who.clone(),
        at: x.at,
        thread: w.state.workers,
    };
    on_pool(w, Stage::Parse, (log, waf), move |log, waf| job.look(log, waf)).await
}

/// Runs `job` on the compute pool, lending it what belongs to the exchange. Refused under `stage` where the pool is full.
///
/// # Errors
/// `overloaded`, a fault of ours if the job was lost, and whatever the job says.
pub async fn on_pool<T: Send + 'static>(
    w: &Worker,
    stage: Stage,
    (log, waf): (&mut Journal, &mut Turn),
    job: impl FnOnce(&mut Journal, &mut Turn) -> Result<T, Denial> + Send + 'static,
) -> Result<T, Denial> {
    // The place in the pool is taken before the journal moves, so that a full pool's refusal is recorded.
    let (sender, lent) = std::sync::mpsc::sync_channel::<(Journal, Turn)>(1);
    let waiting = w.state.compute.run(move || {
        let (mut log, mut waf) = lent.recv().unwrap_or_default();
        let done = job(&mut log, &mut waf);
        (done, log, waf)
    });
    let Ok(waiting) = waiting else {
        let full = Refusal::new(Code::Overloaded).retry_after(std::time::Duration::from_secs(1));
        return Err(log.stop(stage, full.because("the compute pool is full").into()));
    };
    // The channel has room for the one pair that it will ever carry.
    drop(sender.try_send((std::mem::take(log), std::mem::take(waf))));
    match waiting.await {
        Ok((done, journal, turn)) => {
            (*log, *waf) = (journal, turn);
            done
        }
        Err(_lost) => Err(log.stop(stage, Fault::new(Origin::Own, "an inspection was lost").into())),
    }
}

/// Everything that `look` needs, owned, to cross to another thread.
struct Moved {
    policy: Arc<Policy>,
    head: Head,
    route: Arc<Route>,
    verb: Verb,
    model: Option<String>,
    body: Bytes,
    who: Identity,
    at: Occasion,
    thread: usize,
}

impl Moved {
    fn look(&self, log: &mut Journal, waf: &mut Turn) -> Result<Call, Denial> {
        let found = Found { route: &self.route, verb: self.verb, model: self.model.as_deref() };
        let Self { head, body, who, at, thread, .. } = self;
        look_and_note(&self.policy, log, waf, &View { head, found: &found, body, who, at: *at, thread: *thread })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri};

    use super::is_long;

    #[test]
    fn fields_and_target_together_make_a_head_long() {
        let field = |bytes: usize| HeaderValue::try_from("a".repeat(bytes)).expect("a value");
        let long = |target: usize, cookie: usize, note: usize| {
            let target = Uri::try_from(format!("/{}", "a".repeat(target))).expect("a target");
            let headers =
                [("cookie", cookie), ("note", note)].map(|(name, bytes)| (name.parse().expect("a name"), field(bytes)));
            is_long(&target, &HeaderMap::from_iter(headers))
        };
        assert!(!long(10, 600, 1_500));
        assert!(long(10, 6_000, 0) && long(5_000, 0, 0) && long(1_500, 1_500, 1_500));
    }
}
