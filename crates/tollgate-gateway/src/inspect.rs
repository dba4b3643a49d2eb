//! Runs `look` where it belongs: in place, or on the compute pool when the body is large enough to stall a worker.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_core::call::Call;
use tollgate_core::identity::Identity;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal};
use tollgate_core::stage::Stage;
use tollgate_layers::hygiene::Head;
use tollgate_layers::routes::{Found, Route, Verb};

use crate::body::Payload;
use crate::pipeline::{View, look};
use crate::snapshot::Policy;
use crate::worker::Worker;

/// Bodies above this many bytes take longer than about 200 µs to judge.
const INLINE: usize = 32 * 1024;

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
}

/// Inspects a request by its verb.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub async fn inspect(p: &Arc<Policy>, w: &Worker, log: &mut Journal, x: Parts<'_>) -> Result<Call, Denial> {
    let Payload::Held(bytes, _) = x.body else { return Ok(Call::default()) };
    if bytes.len() > INLINE {
        return elsewhere(p, w, log, &x, bytes).await;
    }
    look(p, log, &View { head: x.head, found: x.found, body: bytes, who: x.who })
}

/// Moves everything that `look` needs to the compute pool and back.
async fn elsewhere(
    p: &Arc<Policy>,
    w: &Worker,
    log: &mut Journal,
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
    };
    // The place in the pool is taken before the journal moves, so that a full pool's refusal is recorded.
    let (sender, journal) = std::sync::mpsc::sync_channel::<Journal>(1);
    let waiting = w.state.compute.run(move || {
        let mut log = journal.recv().unwrap_or_default();
        let call = job.look(&mut log);
        (call, log)
    });
    let Ok(waiting) = waiting else {
        let full = Refusal::new(Code::Overloaded).retry_after(std::time::Duration::from_secs(1));
        return Err(log.stop(Stage::Parse, full.because("the compute pool is full").into()));
    };
    // The channel has room for the one journal that it will ever carry.
    drop(sender.try_send(std::mem::take(log)));
    match waiting.await {
        Ok((call, journal)) => {
            *log = journal;
            call
        }
        Err(_lost) => Err(log.stop(Stage::Parse, Fault::new(Origin::Own, "an inspection was lost").into())),
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
}

impl Moved {
    fn look(&self, log: &mut Journal) -> Result<Call, Denial> {
        let found = Found { route: &self.route, verb: self.verb, model: self.model.as_deref() };
        look(&self.policy, log, &View { head: &self.head, found: &found, body: &self.body, who: &self.who })
    }
}
