//! A stream of inferences: each message is a call of its own, judged and charged before it goes up, and settled when it
//! is answered. Whatever is refused ends the stream, with the trailers that say so.
//!
//! The work is done by whoever writes the answer: no task stands between a client and its model server, and a client that
//! does not read is not read from.

mod books;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tollgate_core::call::{Call, ModelId};
use tollgate_core::guard::Mode;
use tollgate_core::identity::Identity;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal, Ruling, Stop};
use tollgate_core::stage::Stage;
use tollgate_layers::hygiene::Head;
use tollgate_layers::intake::Plan;
use tollgate_layers::limits::{Demand, Payer};
use tollgate_layers::output::rpc;
use tollgate_layers::protocol::frames::grpc::{Message, Messages, Unframed, prefix};
use tollgate_layers::protocol::oip::grpc::heard;
use tollgate_layers::routes::{Found, Route, Verb};
use tollgate_layers::waf::{Asked, Turn};

use self::books::{Bill, Books, Due};
use crate::body::{Hold, Payload, Reader};
use crate::exchange::{Exchange, Outcome};
use crate::firewall;
use crate::inspect::{INLINE, Parts, inspect, on_pool};
use crate::pipeline::Admitted;
use crate::problem::{Figures, GRPC, good_trailers, trailers};
use crate::release;
use crate::reply::unread;
use crate::send::upward;
use crate::snapshot::Policy;
use crate::tab::Tab;
use crate::tick::{Alarm, within};
use crate::turn::{self, deadline};
use crate::upstream::talk::{Down, Up};
use crate::upstream::{Caller, Remote, Target};
use crate::worker::Worker;

/// The largest message of an answer.
const MAX_ANSWER: usize = 16 << 20;

/// A stream that has not begun.
pub struct Talk {
    policy: Arc<Policy>,
    worker: Arc<Worker>,
    head: Head,
    route: Arc<Route>,
    who: Identity,
    body: Incoming,
    plan: Plan,
}

/// The body of an answer that is made while it is written.
pub struct Spoken {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    said: mpsc::Receiver<Frame<Bytes>>,
    /// Its client does not take it.
    unread: Arc<AtomicBool>,
}

/// Begins a stream for an admitted head.
///
/// # Errors
/// A fault of ours if it is no stream.
pub fn open(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, job: Admitted) -> Result<Box<Talk>, Denial> {
    let Admitted { head, route, who, body, .. } = job;
    let plan = p.intake.demand(&mut ex.log, |intake, _| intake.plan(&head, &route))?;
    let Payload::Streamed(body, _) = body else {
        return Err(ex.log.stop(Stage::Intake, Fault::new(Origin::Own, "a stream that was held").into()));
    };
    Ok(Box::new(Talk { policy: Arc::clone(p), worker: Arc::clone(w), head, route, who, body, plan }))
}

impl Talk {
    /// The head of the answer, which says nothing yet.
    #[must_use]
    pub fn head(&self) -> Response<()> {
        let mut response = Response::new(());
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response
    }

    /// Its body: owns the exchange, and ends it.
    #[must_use]
    pub fn spoken(self, exchange: Box<Exchange>) -> Spoken {
        let (out, said) = mpsc::channel(2);
        let unread = Arc::new(AtomicBool::new(false));
        Spoken { work: Some(Box::pin(self.run(exchange, out, Arc::clone(&unread)))), said, unread }
    }

    async fn run(mut self, ex: Box<Exchange>, out: mpsc::Sender<Frame<Bytes>>, unread: Arc<AtomicBool>) {
        let books = Mutex::default();
        let mut session = Session { ex: Some(ex), books: &books, worker: Arc::clone(&self.worker), unread };
        let Some(ex) = &mut session.ex else { return };
        let alarm = self.worker.ticker.alarm(deadline(ex));
        let ended = match within(&alarm, Box::pin(self.both(ex, (&books, &alarm), &out))).await {
            Ok(ended) => ended,
            Err(_late) => Err(ex.log.stop(Stage::Upstream, late())),
        };
        let Some(mut ex) = session.close(false) else { return };
        self.worker.tick(&ex.facts, &mut ex.log);
        let denial = ended.as_ref().err().cloned();
        let end = ended.unwrap_or_else(|denial| trailers(&denial, ex.facts.id, Figures::of(&denial, &ex.seen)));
        ex.seen.rpc_status = rpc::status_of(&end);
        let outcome = if denial.is_some() { Outcome::Cut } else { Outcome::Answered };
        ex.finish(outcome, denial.as_ref());
        // Whoever has left is told nothing.
        drop(out.send(Frame::trailers(end)).await);
    }

    /// Judges the first message, opens the way to the model server, and then lets both ways run.
    async fn both(
        &mut self,
        ex: &mut Exchange,
        (books, alarm): (&Mutex<Books>, &Alarm),
        out: &mpsc::Sender<Frame<Bytes>>,
    ) -> Result<HeaderMap, Denial> {
        let mut inbox = self.inbox();
        let Some(first) = self.judged(ex, &mut inbox).await? else { return Ok(good_trailers()) };
        let remote = self.upstream(ex, first.model).map_err(|stop| ex.log.stop(Stage::Upstream, stop))?;
        let head = upward(ex, self.head.clone(), true);
        let (w, now) = (Arc::clone(&self.worker), self.worker.ticker.now());
        let by = Caller { worker: w.index, ticker: &w.ticker, tasks: &w.tasks, now, until: deadline(ex) };
        let policy = Arc::clone(&self.policy);
        let talk = remote.talk(&head, policy.model_name(first.model), by).await;
        let (up, down) = talk.map_err(|stop| ex.log.stop(Stage::Upstream, stop))?;
        let ended = {
            let policy = Arc::clone(&self.policy);
            let reader = w.reader(&policy, ex.facts.started);
            let hides = policy.output.hides_errors();
            let judge = Judge { policy: Arc::clone(&policy), worker: Arc::clone(&w), route: Arc::clone(&self.route) };
            let ear = Ear { books, alarm, reader, who: self.who.clone(), judge, hides };
            let mut answers = pin!(listen(down, ear, out));
            let mut asks = pin!(self.speak(ex, &mut inbox, up, (first, &remote, books)));
            let mut speaking = true;
            loop {
                tokio::select! {
                    biased;
                    ended = &mut answers => break ended,
                    spoken = &mut asks, if speaking => match spoken {
                        Ok(()) => speaking = false,
                        Err(denial) => break Err(Cut::Denied(denial)),
                    },
                }
            }
        };
        let ended = ended.and_then(|mut end| {
            self.policy.output.rpc_verdict(&end).map_err(Cut::Upstream)?;
            self.policy.output.clean_end(&mut end);
            Ok(end)
        });
        let failed = matches!(ended, Err(Cut::Broken(_) | Cut::Upstream(_)));
        books.lock().close(self.worker.ticker.now(), failed);
        ended.map_err(|cut| match cut {
            Cut::Broken(denial) | Cut::Denied(denial) => denial,
            Cut::Upstream(stop) => ex.log.stop(Stage::Upstream, stop),
        })
    }

    fn inbox(&self) -> Inbox {
        let cap = usize::try_from(self.plan.max_decoded).unwrap_or(usize::MAX);
        let hold = self.worker.reader(&self.policy, self.worker.ticker.now()).empty_hold(&self.who);
        Inbox { messages: Messages::new(cap), hold, number: 0 }
    }

    /// The model server of the first message: a stream has one.
    fn upstream(&self, ex: &mut Exchange, model: ModelId) -> Ruling<Arc<Remote>> {
        let upstream = release::upstream_of(&self.policy, &self.worker, ex, (model, &self.head.headers));
        match upstream.map(|upstream| &upstream.target) {
            Some(Target::Remote(remote)) => Ok(Arc::clone(remote)),
            _ => Err(Refusal::new(Code::Unsupported).because("a stream for a model that is no model server's").into()),
        }
    }

    /// Sends what was judged, and judges what comes, until the client has said all.
    async fn speak(
        &mut self,
        ex: &mut Exchange,
        inbox: &mut Inbox,
        mut up: Up,
        (first, remote, books): (Judged, &Arc<Remote>, &Mutex<Books>),
    ) -> Result<(), Denial> {
        let mut next = Some(first);
        while let Some(Judged { model, id, message, mut bill }) = next {
            let of = self.upstream(ex, model).map_err(|stop| ex.log.stop(Stage::Upstream, stop))?;
            if !Arc::ptr_eq(&of, remote) {
                let why = "a stream for models of two model servers";
                return Err(ex.log.stop(Stage::Upstream, Refusal::new(Code::Unsupported).because(why).into()));
            }
            bill.tab.begin(self.worker.ticker.now());
            books.lock().asked(id, bill);
            let prefix = prefix(message.len()).unwrap_or_default();
            if !(up.send(Bytes::copy_from_slice(&prefix)).await && up.send(message).await) {
                // The way down knows why.
                return std::future::pending().await;
            }
            if !ex.waf.holds_body() {
                inbox.hold.shrink(inbox.messages.held());
            }
            next = self.judged(ex, inbox).await?;
        }
        up.end();
        Ok(())
    }

    /// The next message, judged, paid for and with a place; `None` where the client has said all.
    async fn judged(&mut self, ex: &mut Exchange, inbox: &mut Inbox) -> Result<Option<Judged>, Denial> {
        let (policy, w) = (Arc::clone(&self.policy), Arc::clone(&self.worker));
        let reader = w.reader(&policy, ex.facts.started);
        let message = self.next_message(inbox, &reader).await.map_err(|stop| ex.log.stop(Stage::Intake, stop))?;
        let Some(message) = message else { return Ok(None) };
        ex.seen.bytes_in += message.bytes.len() as u64;
        let opened = reader.open(message, std::mem::take(&mut inbox.hold), &self.plan).await;
        let (bytes, hold) = opened.map_err(|stop| ex.log.stop(Stage::Intake, stop))?;
        let body = Payload::Held(bytes, hold);
        let looked = self.look(ex, inbox.number, &body).await;
        inbox.number += 1;
        let Payload::Held(bytes, hold) = body else { return Ok(None) };
        inbox.hold = hold;
        let call = looked?;
        let Some(model) = call.model else { return Ok(None) };
        ex.seen.model = Some(model);
        // Boxed: its wait for a place would be carried about by the whole stream.
        let bill = Box::pin(self.pay(ex, &call)).await?;
        Ok(Some(Judged { model, id: call.id, message: bytes, bill }))
    }

    /// Everything that reads the message, each under a journal of its own: the exchange keeps what was said against it.
    async fn look(&self, ex: &mut Exchange, number: u64, body: &Payload) -> Result<Call, Denial> {
        let Self { policy: p, worker: w, head, route, who, .. } = self;
        let mut log = Journal::default();
        log.override_switches(route.switches);
        log.set_time(w.ticker.now().since(ex.facts.started));
        let Exchange { facts, seen, waf, log: kept, .. } = ex;
        let asked = match number {
            0 => Ok(()), // The rules have seen the head.
            _ => {
                *waf = Turn::default();
                let from = seen.from.unwrap_or(facts.peer.ip);
                let asked = Asked { facts, from, route: Some(route.index), thread: w.index };
                let heads = (seen.raw.as_ref(), Some(head));
                p.waf.ask(&mut log, |f, notes| firewall::head(f, waf, &asked, heads, notes))
            }
        };
        let found = Found { route, verb: Verb::Stream, model: None };
        let looked = match asked {
            Ok(()) => inspect(p, w, (&mut log, waf), Parts { head, found: &found, body, who }).await,
            Err(denial) => Err(denial),
        };
        kept.absorb(log);
        looked
    }

    /// Charges a message and waits for its place before the model server.
    async fn pay(&self, ex: &mut Exchange, call: &Call) -> Result<Bill, Denial> {
        let Self { policy: p, worker: w, route, who, .. } = self;
        let found = Found { route, verb: Verb::Stream, model: None };
        let now = w.tick(&ex.facts, &mut ex.log);
        let estimate = p.estimate(&found, call, who);
        let from = ex.seen.from.unwrap_or(ex.facts.peer.ip);
        let payer = Payer { who, model: call.model, from, unix_ms: w.unix_ms(now) };
        let mut log = Journal::default();
        log.override_switches(route.switches);
        let held = p.limits.ask_store(&mut log, |l| l.reserve(payer, Demand::of(estimate, call), now)).await;
        ex.log.absorb(log);
        let mut held = held?;
        held.tell(&mut ex.log);
        let mut tab = Tab::open(p, &w.state.clock, held).of(call, route, (who, estimate));
        if !estimate.exempt {
            ex.seen.reserved.0 = ex.seen.reserved.0.saturating_add(estimate.cost.0);
        }
        let model = call.model.map(|model| (model, &self.head.headers));
        let upstream = model.and_then(|model| release::upstream_of(p, w, ex, model));
        let Some(upstream) = upstream else {
            return Err(ex.log.stop(Stage::Queue, Fault::new(Origin::Own, "the model has no upstream").into()));
        };
        tab.served_by(upstream);
        let ask = turn::ask(p, ex, &estimate, call.body_bytes, now);
        let slot = upstream.queue.enter(ask, &w.ticker).await.map_err(|away| turn::away(w, ex, away))?;
        let judged = p.contract.mode(&ex.log) != Mode::Off;
        let awaited = p.contract.layer.as_ref().filter(|_| judged).and_then(|contracts| contracts.awaits(call));
        Ok(Bill::new(tab, slot, awaited))
    }

    /// The next message as it was sent, held within the budget while it comes. A client may say nothing for as long as it
    /// likes, but a message that has begun comes as fast as a body.
    async fn next_message(&mut self, inbox: &mut Inbox, reader: &Reader<'_>) -> Ruling<Option<Message>> {
        let mut pace = None;
        loop {
            if let Some(message) = inbox.messages.take().map_err(malformed)? {
                return Ok(Some(message));
            }
            let data = if inbox.messages.is_clear() {
                match self.body.frame().await {
                    Some(Ok(frame)) => Some(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) => return Err(Fault::new(Origin::Client, "the stream broke off").into()),
                    None => None,
                }
            } else {
                pace.get_or_insert_with(|| reader.paced()).next(&mut self.body, reader.ticker).await?
            };
            let data = match data {
                Some(data) => data,
                None if inbox.messages.is_clear() => return Ok(None),
                None => return Err(malformed(Unframed::NotOne)),
            };
            let needed = inbox.messages.held() + data.len();
            match &mut pace {
                Some(pace) => reader.hold(&mut inbox.hold, needed, pace).await?,
                None => reader.keep(&mut inbox.hold, needed).await?,
            }
            inbox.messages.push(&data);
        }
    }
}

/// An exchange while messages pass. However it ends, what was answered is settled, and the record says what it cost.
struct Session<'a> {
    ex: Option<Box<Exchange>>,
    books: &'a Mutex<Books>,
    worker: Arc<Worker>,
    /// The client does not take what is said.
    unread: Arc<AtomicBool>,
}

impl Session<'_> {
    fn close(&mut self, failed: bool) -> Option<Box<Exchange>> {
        let mut ex = self.ex.take()?;
        let mut books = self.books.lock();
        books.close(self.worker.ticker.now(), failed);
        (ex.seen.spent, ex.seen.bytes_out) = (books.spent, books.bytes_out);
        ex.log.absorb(std::mem::take(&mut books.log));
        Some(ex)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // An exchange that nobody finished is one whose client left.
        let Some(mut ex) = self.close(false) else { return };
        if self.unread.load(Ordering::Relaxed) {
            let denial = ex.log.stop(Stage::Output, unread());
            ex.finish(Outcome::Cut, Some(&denial));
        }
    }
}

/// What comes from the client.
struct Inbox {
    messages: Messages,
    hold: Hold,
    /// Messages that were judged.
    number: u64,
}

/// A message that may go up.
struct Judged {
    model: ModelId,
    id: Option<Box<str>>,
    message: Bytes,
    bill: Bill,
}

/// Why a stream ends before its end.
enum Cut {
    /// An answer breaks its contract.
    Broken(Denial),
    Denied(Denial),
    Upstream(Stop),
}

/// What the way down is listened to with.
struct Ear<'a> {
    books: &'a Mutex<Books>,
    /// Rings when the stream must have ended.
    alarm: &'a Alarm,
    reader: Reader<'a>,
    who: Identity,
    judge: Judge,
    /// The model server's own words stay inside.
    hides: bool,
}

/// Holds answers to the contracts of their models.
struct Judge {
    policy: Arc<Policy>,
    worker: Arc<Worker>,
    route: Arc<Route>,
}

impl Judge {
    /// What it says against an answer goes to `log`.
    async fn ask(&self, log: &mut Journal, due: Due, answer: &Bytes) -> Result<(), Denial> {
        log.override_switches(self.route.switches);
        if answer.len() <= INLINE {
            return judged(&self.policy, log, &due, answer);
        }
        let (policy, answer) = (Arc::clone(&self.policy), answer.clone());
        let lent = (log, &mut Turn::default());
        on_pool(&self.worker, Stage::Contract, lent, move |log, _| judged(&policy, log, &due, &answer)).await
    }
}

fn judged(p: &Policy, log: &mut Journal, due: &Due, answer: &Bytes) -> Result<(), Denial> {
    p.contract.ask(log, |contracts, notes| match due {
        Due::Free => Ok(()),
        Due::One(awaited) => contracts.judge_message(awaited, answer, notes),
        Due::Any(each) => {
            let mut broken = Ok(());
            for awaited in each {
                broken = contracts.judge_message(awaited, answer, notes);
                if broken.is_ok() {
                    break;
                }
            }
            broken
        }
    })
}

/// Passes answers on until the model server ends the stream, and gives the trailers.
async fn listen(mut down: Down, ear: Ear<'_>, out: &mpsc::Sender<Frame<Bytes>>) -> Result<HeaderMap, Cut> {
    let Ear { books, alarm, reader, who, judge, hides } = ear;
    let mut messages = Messages::new(MAX_ANSWER);
    let mut hold = reader.empty_hold(&who);
    // What was passed on last may still wait for the client.
    let mut last = 0;
    let broken = |why: Unframed| Cut::from(Fault::new(Origin::Upstream, format_args!("the answer is {why}")));
    loop {
        let Ok(next) = within(alarm, down.next()).await else {
            if books.lock().waits() {
                // Nobody knows whether the server still lives.
                down.suspect();
            }
            return Err(Cut::Upstream(late()));
        };
        let Some(bytes) = next? else { break };
        reader.keep(&mut hold, messages.held() + bytes.len()).await.map_err(Cut::Upstream)?;
        messages.push(&bytes);
        while let Some(Message { compressed, mut bytes }) = messages.take().map_err(broken)? {
            if compressed {
                return Err(Fault::new(Origin::Upstream, "an answer that is compressed unasked").into());
            }
            let heard = heard(&bytes);
            let due = books.lock().due(&heard);
            if !matches!(due, Due::Free) {
                let mut log = Journal::default();
                let ruling = Box::pin(judge.ask(&mut log, due, &bytes.slice_ref(heard.answer))).await;
                books.lock().log.absorb(log);
                ruling.map_err(Cut::Broken)?;
            }
            let clean = (hides && heard.failed).then(|| heard.without_error());
            books.lock().answered(&heard, reader.ticker.now());
            bytes = clean.map_or(bytes, Bytes::from);
            books.lock().bytes_out += bytes.len() as u64;
            let before = std::mem::replace(&mut last, bytes.len());
            let prefix = prefix(bytes.len()).unwrap_or_default();
            for piece in [Bytes::copy_from_slice(&prefix), bytes] {
                if !piece.is_empty() && out.send(Frame::data(piece)).await.is_err() {
                    return std::future::pending().await;
                }
            }
            hold.shrink(messages.held() + last + before);
        }
    }
    if !messages.is_clear() {
        return Err(Fault::new(Origin::Upstream, "the answer ended within a message").into());
    }
    Ok(down.trailers().await?)
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        Self::Upstream(fault.into())
    }
}

fn late() -> Stop {
    Fault::new(Origin::UpstreamLate, "the stream outlived its deadline").into()
}

fn malformed(why: Unframed) -> Stop {
    let code = if matches!(why, Unframed::Large(_)) { Code::TooLarge } else { Code::BadRequest };
    Refusal::new(code).because(why).into()
}

impl Spoken {
    /// Its client does not take it: what is dropped next ends for that.
    pub fn is_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// The next piece of the answer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if let Poll::Ready(said) = self.said.poll_recv(cx) {
            return Poll::Ready(said);
        }
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        // Once, not until there is something: a task that has used up its share of the runtime is told `Pending` whatever is
        // there, and gets its next share only when it has let others go first.
        self.said.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests;
