//! Reading request bodies: bounded in bytes, rate, time and ratio, against one budget for all bytes in flight.
//!
//! It executes the plan of layer `intake` and decides nothing about content.

mod pace;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_core::call::Edit;
use tollgate_core::identity::Identity;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal, Ruling, Stop};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::intake::{Coding, DecodeError, Framing, Limits, Plan, decode};
use tollgate_layers::protocol::frames::grpc;
use tollgate_layers::routes::IntakeClass;

pub use self::pace::{Pace, Pacing};
use crate::compute::Compute;
use crate::tick::{Alarm, Ticker, within};
use crate::upstream::Answer;

/// The unit in which the budget counts.
const GRAIN: usize = 4096;
/// The most room that is made on the word of a Content-Length.
const MOST_AT_ONCE: usize = 16 << 20;
/// How much larger than sent a coded reply may be read.
pub const REPLY_RATIO: u32 = 20;
/// Coded bodies above this many bytes are decoded on the compute pool.
const DECODE_INLINE: usize = 4096;

/// The gateway-wide budget for buffered bytes.
pub struct Budget {
    free: Arc<Semaphore>,
    total: usize,
    tenant_share: usize,
    wait: Duration,
    tenants: Mutex<HashMap<u64, usize>>,
}

/// Bytes taken from the budget; given back when dropped.
#[derive(Default)]
pub struct Hold {
    budget: Option<Arc<Budget>>,
    permit: Option<OwnedSemaphorePermit>,
    tenant: u64,
    bytes: usize,
}

/// A request body, ready to be forwarded.
pub enum Payload {
    /// Read whole: exactly these bytes go upstream.
    Held(Bytes, Hold),
    /// Streamed as it comes, under the plan's cap.
    Streamed(Incoming, u64),
}

impl Payload {
    /// With the changes of the gateway made: the rest stays as it was judged.
    #[must_use]
    pub fn edited(self, edits: &[Edit]) -> Self {
        match self {
            Self::Held(body, hold) => Self::Held(with_edits(&body, edits), hold),
            other @ Self::Streamed(..) => other,
        }
    }
}

/// A body with the changes of the gateway made.
#[must_use]
pub fn with_edits(body: &Bytes, edits: &[Edit]) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    let added: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut edited = BytesMut::with_capacity(body.len() + added);
    let mut from = 0;
    for edit in edits {
        edited.extend_from_slice(body.get(from..edit.at.start).unwrap_or_default());
        edited.extend_from_slice(&edit.with);
        from = edit.at.end;
    }
    edited.extend_from_slice(body.get(from..).unwrap_or_default());
    edited.freeze()
}

/// How much of a reply is read.
#[derive(Clone, Copy, Debug)]
pub enum Share {
    /// At most about so many bytes. A reply of unknown length that pauses is a stream, whatever it calls itself: it is not
    /// waited for.
    Beginning(usize),
    /// All of it, until it is larger than so many bytes.
    Whole(usize),
}

/// A reply, or its beginning.
pub struct Begun {
    /// Its bytes.
    pub bytes: Bytes,
    /// What they hold of the budget.
    pub hold: Hold,
    /// They are all of it.
    pub whole: bool,
}

/// What the reader of a body needs of its worker.
pub struct Reader<'a> {
    /// The budget.
    pub budget: &'a Arc<Budget>,
    /// The worker's timer.
    pub ticker: &'a Arc<Ticker>,
    /// Where large bodies are decoded.
    pub compute: &'a Compute,
    /// How slowly a body may come.
    pub pace: Pace,
    /// When the request began.
    pub started: Tick,
}

impl Budget {
    /// A budget of `total` bytes, of which one tenant may hold `tenant_share`.
    #[must_use]
    pub fn new(total: usize, tenant_share: usize, wait: Duration) -> Arc<Self> {
        let grains = (total / GRAIN).clamp(1, Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(grains));
        Arc::new(Self { free, total, tenant_share, wait, tenants: Mutex::default() })
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        (self.total / GRAIN).saturating_sub(self.free.available_permits()) * GRAIN
    }

    /// Bytes that may be held.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Whether a tenant may hold less than all of it; if not, nobody counts by tenant.
    const fn has_shares(&self) -> bool {
        self.tenant_share < self.total
    }

    fn held_by(&self, tenant: u64) -> usize {
        self.tenants.lock().get(&tenant).copied().unwrap_or(0)
    }

    fn share_is_taken(&self) -> Stop {
        self.refuse("the tenant's share of the budget for bytes in flight is taken")
    }

    fn refuse(&self, why: &str) -> Stop {
        Refusal::new(Code::Overloaded).retry_after(Duration::from_secs(1)).because(why).into()
    }
}

impl Hold {
    fn new(budget: &Arc<Budget>, who: &Identity) -> Self {
        Self { budget: Some(Arc::clone(budget)), permit: None, tenant: who.tenant_id, bytes: 0 }
    }

    /// Takes room up to `bytes` in all, if it is there now.
    fn try_reach(&mut self, bytes: usize) -> Result<bool, Stop> {
        let Some(missing) = self.missing(bytes)? else { return Ok(true) };
        let budget = self.budget.as_ref().expect("a hold that is read into has a budget");
        match Arc::clone(&budget.free).try_acquire_many_owned(missing) {
            Ok(permit) => self.add(permit, missing).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Takes room up to `bytes` in all, waiting for it for a while. Nothing is read meanwhile.
    async fn reach(&mut self, bytes: usize, ticker: &Arc<Ticker>) -> Ruling<()> {
        if self.try_reach(bytes)? {
            return Ok(());
        }
        let Some(missing) = self.missing(bytes)? else { return Ok(()) };
        let budget = Arc::clone(self.budget.as_ref().expect("a hold that is read into has a budget"));
        let waiting = pin!(Arc::clone(&budget.free).acquire_many_owned(missing));
        let alarm = ticker.alarm(ticker.now().after(budget.wait));
        match within(alarm, waiting).await {
            Ok(Ok(permit)) => self.add(permit, missing),
            _ => Err(budget.refuse("the budget for bytes in flight is taken")),
        }
    }

    /// Grains that are missing for `bytes`; refuses what the tenant's share cannot hold.
    fn missing(&self, bytes: usize) -> Result<Option<u32>, Stop> {
        let grains = bytes.div_ceil(GRAIN).saturating_sub(self.bytes / GRAIN);
        if grains == 0 {
            return Ok(None);
        }
        let budget = self.budget.as_ref().expect("a hold that is read into has a budget");
        if budget.has_shares() && budget.held_by(self.tenant) + grains * GRAIN > budget.tenant_share {
            return Err(budget.share_is_taken());
        }
        Ok(u32::try_from(grains).ok())
    }

    /// Gives back what it holds above `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let grains = (self.bytes / GRAIN).saturating_sub(bytes.div_ceil(GRAIN));
        let Some(given_back) = self.permit.as_mut().filter(|_| grains > 0).and_then(|held| held.split(grains)) else {
            return;
        };
        self.forget(grains * GRAIN);
        drop(given_back);
    }

    /// They are no longer the tenant's.
    fn forget(&mut self, bytes: usize) {
        self.bytes -= bytes;
        let Some(budget) = self.budget.as_ref().filter(|budget| bytes > 0 && budget.has_shares()) else { return };
        let mut tenants = budget.tenants.lock();
        if let Some(held) = tenants.get_mut(&self.tenant) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }

    /// Takes what was got, if it still fits the tenant's share: others may have taken from that since it was looked at.
    fn add(&mut self, permit: OwnedSemaphorePermit, grains: u32) -> Ruling<()> {
        let bytes = grains as usize * GRAIN;
        if let Some(budget) = self.budget.as_ref().filter(|budget| budget.has_shares()) {
            let mut tenants = budget.tenants.lock();
            let held = tenants.get(&self.tenant).copied().unwrap_or(0) + bytes;
            if held > budget.tenant_share {
                return Err(budget.share_is_taken());
            }
            tenants.insert(self.tenant, held);
        }
        self.bytes += bytes;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.forget(self.bytes);
    }
}

impl Reader<'_> {
    /// Reads a body by its plan. Refusals and faults go to the journal under `intake`.
    ///
    /// # Errors
    /// `too_large`, `too_slow`, `overloaded`, `bad_request`, or a fault of the client's connection.
    pub async fn read(
        &self,
        body: Incoming,
        plan: &Plan,
        who: &Identity,
        log: &mut Journal,
    ) -> Result<(Payload, u64), Denial> {
        if plan.class != IntakeClass::Inspect {
            return Ok((Payload::Streamed(body, plan.max_bytes), plan.declared.unwrap_or(0)));
        }
        match self.whole(body, plan, who).await {
            Ok((bytes, hold, sent)) => Ok((Payload::Held(bytes, hold), sent)),
            Err(stop) => Err(log.stop(Stage::Intake, stop)),
        }
    }

    /// Nothing of the budget yet.
    #[must_use]
    pub fn empty_hold(&self, who: &Identity) -> Hold {
        Hold::new(self.budget, who)
    }

    /// Takes room up to `bytes` in all, waiting for it for a while.
    ///
    /// # Errors
    /// `overloaded`.
    pub async fn keep(&self, hold: &mut Hold, bytes: usize) -> Ruling<()> {
        hold.reach(bytes, self.ticker).await
    }

    /// The pace of a message of a stream, which begins now: that of a body.
    #[must_use]
    pub fn paced(&self) -> Pacing {
        Pacing::new(self.pace, self.ticker.now())
    }

    /// One message of a stream, decoded if it is compressed.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn open(&self, message: grpc::Message, hold: Hold, plan: &Plan) -> Ruling<(Bytes, Hold)> {
        match (message.compressed, plan.coding) {
            (false, _) => Ok((message.bytes, hold)),
            (true, Coding::Identity) => Err(unnamed_coding()),
            (true, _) => self.decoded(message.bytes, hold, plan).await,
        }
    }

    /// Reads a reply, or its beginning, paid for out of the budget.
    ///
    /// # Errors
    /// A fault of the model server; `overloaded` where there is no room.
    pub async fn begin(&self, body: &mut Answer, share: Share, who: &Identity, until: &Alarm) -> Ruling<Begun> {
        let mut begun = Begun { bytes: Bytes::new(), hold: Hold::new(self.budget, who), whole: body.is_end_stream() };
        let mut gathered = BytesMut::new();
        let length = body.size_hint();
        let (most, pause) = match share {
            Share::Beginning(most) => {
                (most, length.exact().is_none().then(|| self.ticker.alarm(self.ticker.after(PAUSE))))
            }
            // One byte more tells that it is too large; a length tells it before the first.
            Share::Whole(most) if length.lower() > most as u64 => return Ok(begun),
            Share::Whole(most) => (most.saturating_add(1), None),
        };
        if begun.whole {
            return Ok(begun);
        }
        while begun.bytes.len() + gathered.len() < most {
            let frame = std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending if until.poll_rung(cx).is_ready() => Poll::Ready(Err(Waited::TooLong)),
                Poll::Pending => match &pause {
                    Some(pause) => pause.poll_rung(cx).map(|()| Err(Waited::Enough)),
                    None => Poll::Pending,
                },
            });
            let data = match frame.await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => {
                    return Err(Fault::new(Origin::Upstream, format_args!("the answer broke off: {error}")).into());
                }
                Ok(None) => {
                    begun.whole = true;
                    break;
                }
                Err(Waited::Enough) => break,
                Err(Waited::TooLong) => {
                    return Err(Fault::new(Origin::UpstreamLate, "the answer outlived the route's deadline").into());
                }
            };
            if let Some(pause) = &pause {
                pause.reset(self.ticker.after(PAUSE));
            }
            begun.hold.reach(begun.bytes.len() + gathered.len() + data.len(), self.ticker).await?;
            if begun.bytes.is_empty() && gathered.is_empty() {
                begun.bytes = data;
            } else {
                gathered.extend_from_slice(&std::mem::take(&mut begun.bytes));
                gathered.extend_from_slice(&data);
            }
            if body.is_end_stream() {
                begun.whole = true;
                break;
            }
        }
        if !gathered.is_empty() {
            begun.bytes = gathered.freeze();
        }
        Ok(begun)
    }

    /// What a reply that was read whole says without its coding; `None` where that is no such coding, or a bomb. What is
    /// decoded is paid for until it is dropped.
    ///
    /// # Errors
    /// `overloaded` where there is no room.
    pub async fn plain(
        &self,
        coded: &Bytes,
        coding: Coding,
        max_decoded: u64,
        who: &Identity,
    ) -> Ruling<Option<(Bytes, Hold)>> {
        let hold = Hold::new(self.budget, who);
        if coding == Coding::Identity {
            return Ok(Some((coded.clone(), hold)));
        }
        let (class, max_bytes) = (IntakeClass::Inspect, max_decoded);
        let plan = Plan {
            class,
            max_bytes,
            declared: None,
            framing: Framing::Bare,
            coding,
            max_decoded,
            max_ratio: REPLY_RATIO,
            timeout: None,
        };
        match self.decoded(coded.clone(), hold, &plan).await {
            Ok(decoded) => Ok(Some(decoded)),
            Err(Stop::Refuse(refusal)) if refusal.code == Code::Overloaded => Err(Stop::Refuse(refusal)),
            Err(_) => Ok(None),
        }
    }

    async fn whole(&self, mut body: Incoming, plan: &Plan, who: &Identity) -> Ruling<(Bytes, Hold, u64)> {
        let mut hold = Hold::new(self.budget, who);
        let mut clock = Pacing::new(self.pace.within(plan.timeout), self.started);
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        while !body.is_end_stream() {
            let Some(data) = clock.next(&mut body, self.ticker).await? else { break };
            let total = first.len() + whole.len() + data.len();
            if total as u64 > plan.max_bytes {
                return Err(Refusal::new(Code::TooLarge).because("the body outgrew the route's cap").into());
            }
            if first.is_empty() && whole.is_empty() {
                self.hold(&mut hold, total, &mut clock).await?;
                first = data;
                continue;
            }
            if total > whole.capacity() {
                // Paid for before it is there, whether it is written or not: huge pages make a touched block a whole one.
                let room = room(total, whole.capacity(), plan);
                if !hold.try_reach(room).unwrap_or(false) {
                    let needed = if plan.declared.is_some() { room } else { total };
                    self.hold(&mut hold, needed, &mut clock).await?;
                }
                let mut grown = BytesMut::with_capacity(hold.bytes.min(room).max(total));
                grown.extend_from_slice(&first);
                grown.extend_from_slice(&whole);
                (first, whole) = (Bytes::new(), grown);
            }
            whole.extend_from_slice(&data);
        }
        let bytes = if whole.is_empty() { first } else { whole.freeze() };
        let sent = bytes.len() as u64;
        let (bytes, coding) = message(bytes, plan)?;
        if coding == Coding::Identity {
            return Ok((bytes, hold, sent));
        }
        let (decoded, hold) = self.decoded(bytes, hold, plan).await?;
        Ok((decoded, hold, sent))
    }

    /// Takes room up to `bytes` in all. Nothing is read while it waits, and the client's clock stands still.
    ///
    /// # Errors
    /// `overloaded`.
    pub async fn hold(&self, hold: &mut Hold, bytes: usize, clock: &mut Pacing) -> Ruling<()> {
        if !hold.try_reach(bytes)? {
            let began = self.ticker.now();
            hold.reach(bytes, self.ticker).await?;
            clock.pause(self.ticker.now().since(began));
        }
        Ok(())
    }

    async fn decoded(&self, coded: Bytes, mut hold: Hold, plan: &Plan) -> Ruling<(Bytes, Hold)> {
        let coding = plan.coding;
        let limits = Limits { max_decoded: plan.max_decoded, max_ratio: plan.max_ratio };
        let inline = coded.len() <= DECODE_INLINE;
        let job = move || {
            let mut taken = coded.len();
            let mut grow = |more: usize| {
                taken += more;
                hold.try_reach(taken).unwrap_or(false)
            };
            let decoded = decode(coding, &coded, limits, &mut grow);
            (decoded, hold)
        };
        let (decoded, hold) = if inline {
            job()
        } else {
            let full =
                |_| Refusal::new(Code::Overloaded).retry_after(Duration::from_secs(1)).because("compute is full");
            let waiting = self.compute.run(job).map_err(full)?;
            waiting.await.map_err(|_| Fault::new(Origin::Own, "a decoding job was lost"))?
        };
        match decoded {
            Ok(decoded) => Ok((decoded.body, hold)),
            Err(DecodeError::NoRoom) => Err(self.budget.refuse("no room for the decoded body")),
            Err(error) => Err(error.into()),
        }
    }
}

fn unnamed_coding() -> Stop {
    Refusal::new(Code::BadRequest).because("a compressed message without a `grpc-encoding`").into()
}

/// What of a body is judged and goes on, and how that is coded: all of it, or the message in it.
fn message(body: Bytes, plan: &Plan) -> Ruling<(Bytes, Coding)> {
    if plan.framing == Framing::Bare {
        return Ok((body, plan.coding));
    }
    let wrong = |why: &dyn std::fmt::Display| Stop::from(Refusal::new(Code::BadRequest).because(why));
    let message = grpc::only(&body).map_err(|unframed| wrong(&unframed))?;
    match (message.compressed, plan.coding) {
        (false, _) => Ok((message.bytes, Coding::Identity)),
        (true, Coding::Identity) => Err(unnamed_coding()),
        (true, coding) => Ok((message.bytes, coding)),
    }
}

/// How large a buffer of `capacity` becomes that must hold `total` bytes: as large as declared, in steps if that is
/// very much; of an undeclared body twice as large as needed.
fn room(total: usize, capacity: usize, plan: &Plan) -> usize {
    let most = usize::try_from(plan.max_bytes).unwrap_or(usize::MAX);
    let declared = plan.declared.and_then(|declared| usize::try_from(declared).ok());
    let wanted = declared.unwrap_or(total.saturating_mul(2)).min(most);
    wanted.min(MOST_AT_ONCE.max(capacity.saturating_mul(2))).max(total)
}

/// Why a reply is not waited for.
enum Waited {
    /// It paused: it is a stream.
    Enough,
    /// The route's deadline has passed.
    TooLong,
}

/// A reply of unknown length that says nothing for so long is a stream.
const PAUSE: Duration = Duration::from_millis(100);
