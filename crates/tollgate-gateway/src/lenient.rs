//! Lenient listeners, for conformance runs on loopback: what a head check refuses is shown to the rules all the same.
//!
//! Nothing else is lenient. A head that cannot be served is refused as ever, once the rules have seen it.

use std::sync::Arc;

use tollgate_core::call::Call;
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Denial, Fault, Origin};
use tollgate_core::stage::Stage;
use tollgate_layers::intake::{Coding, Framing, Plan};
use tollgate_layers::routes::IntakeClass;
use tollgate_layers::waf::{Asked, Content};

use crate::body::Payload;
use crate::exchange::Exchange;
use crate::firewall;
use crate::pipeline::{self, Incoming};
use crate::send::Reply;
use crate::snapshot::Policy;
use crate::worker::Worker;

/// The most bytes of the body behind a head that cannot be served.
const BODY: u64 = 1 << 20;

/// Serves what can be served, and shows the rest to the rules before it is refused.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub async fn serve(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, req: Incoming) -> Result<Reply, Denial> {
    let refused = match &req.raw {
        None if p.hygiene.layer.can_serve(&req.parts) => return pipeline::serve(p, w, ex, req).await,
        raw => p.hygiene.layer.clean(req.parts.clone(), *raw).err(),
    };
    show(p, w, ex, req).await?;
    let stop = refused.unwrap_or_else(|| Fault::new(Origin::Own, "a head that was refused and then not").into());
    Err(ex.log.stop(Stage::Hygiene, stop))
}

/// Phases 1 and 2 over a request that goes nowhere.
async fn show(p: &Policy, w: &Worker, ex: &mut Exchange, req: Incoming) -> Result<(), Denial> {
    let Exchange { facts, log, seen, waf, .. } = ex;
    let asked = Asked { facts, from: facts.peer.ip, route: None, thread: w.index };
    p.waf.ask(log, |f, notes| firewall::head(f, waf, &asked, (seen.raw.as_ref(), None), notes))?;
    let plan = Plan {
        class: IntakeClass::Inspect,
        max_bytes: BODY,
        declared: None,
        framing: Framing::Bare,
        coding: Coding::Identity,
        max_decoded: BODY,
        max_ratio: 1,
        timeout: None,
    };
    let (body, sent) = w.reader(p, facts.started).read(req.body, &plan, &Identity::anonymous(), log).await?;
    seen.bytes_in = sent;
    let bytes = if let Payload::Held(bytes, _) = &body { Some(bytes) } else { None };
    p.waf.ask(log, |f, _| f.body(waf, Content { bytes, call: &Call::default() }, w.index))
}
