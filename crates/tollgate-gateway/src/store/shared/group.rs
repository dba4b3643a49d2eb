//! One request's charges, all or none: leases and this node's own balances first, then what the store itself must judge.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use arrayvec::ArrayVec;
use futures_util::future::poll_fn;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tollgate_limit::{
    Charge, Demand, Granted, KeyClass, LedgerFault, Limit, MAX_LEVELS, Memory, Mode, Over, Spent, Taken, Tick, Without,
};

use super::table::Slot;
use super::{Place, Question, Shared, is_strict};
use crate::store::meters::How;
use crate::store::{Charged, Claim};

/// A timer rings up to two milliseconds late, for it and the wait of the thread are rounded up to whole ones: it is set so
/// much earlier than patience ends.
const SLACK: std::time::Duration = std::time::Duration::from_millis(2);

/// What became of one charge.
struct Judged {
    taken: Taken,
    /// It was judged without the store.
    apart: bool,
}

/// A group in the making. Dropped before it is complete, it gives back what it holds.
struct Taking<'a> {
    shared: &'a Shared,
    memory: &'a Memory,
    charges: &'a [Charge],
    held: ArrayVec<usize, MAX_LEVELS>,
    over: Over,
    now: Tick,
    /// Rings when the request has waited for long enough, whatever for.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Units that somebody waits for.
struct Waiting<'a> {
    shared: &'a Shared,
    place: Place,
    units: u64,
    began: Tick,
}

impl Shared {
    pub(in crate::store) async fn charge_all(
        &self,
        memory: &Memory,
        charges: &[Charge],
        now: Tick,
    ) -> Result<Granted, LedgerFault> {
        if charges.len() > MAX_LEVELS {
            // More are never granted, and nobody has more.
            return Ok(memory.take_all(charges, now));
        }
        let (held, over) = (ArrayVec::new(), Over::default());
        let mut taking = Taking { shared: self, memory, charges, held, over, now, patience: None };
        let granted = taking.all().await;
        if matches!(granted, Ok(Granted::Yes { .. })) {
            taking.held.clear();
        }
        granted
    }
}

impl Taking<'_> {
    async fn all(&mut self) -> Result<Granted, LedgerFault> {
        for (at, charge) in self.charges.iter().enumerate() {
            if goes_to_the_store(charge) {
                continue;
            }
            let judged = match charge.key.class {
                KeyClass::Shared { .. } => self.lease(at, charge).await?,
                _ => Judged { taken: self.memory.take(charge.key, charge.limit, charge.units, self.now), apart: false },
            };
            if let Some(refused) = self.note(at, &judged) {
                return Ok(refused);
            }
        }
        if self.charges.iter().any(goes_to_the_store)
            && let Some(refused) = self.ask_the_store().await?
        {
            return Ok(refused);
        }
        Ok(Granted::Yes { over: self.over })
    }

    /// Takes down what became of the charge at `at`; a refusal that ends the group.
    fn note(&mut self, at: usize, judged: &Judged) -> Option<Granted> {
        let charge = self.charges.get(at)?;
        if judged.apart {
            self.over = self.over.without_store(at);
        }
        match judged.taken {
            Taken::Yes => self.held.push(at),
            Taken::No { wait } if charge.mode == Mode::Enforce => {
                return Some(Granted::No { at, wait, apart: judged.apart });
            }
            Taken::No { .. } => {
                self.over = self.over.with(at);
                if matches!(charge.limit, Limit::Quota(_)) {
                    self.held.push(at);
                    self.debit(charge);
                }
            }
        }
        None
    }

    /// Spends from a lease, and waits for it to be filled.
    async fn lease(&mut self, at: usize, charge: &Charge) -> Result<Judged, LedgerFault> {
        let (shared, place) = (self.shared, Place::of(charge.key, &charge.limit));
        let mut how = (How::Leased, How::Recalled);
        loop {
            if !shared.is_up() {
                return self.alone(charge, How::Away);
            }
            let mut waiting = None;
            let step = shared.table.with(place, &charge.limit, |slot| match slot {
                Some(slot) => Some(shared.spend(slot, (place, charge), self.now, &mut waiting)),
                None => None,
            });
            let Some((spent, question)) = step else { return self.alone(charge, How::Late) };
            let asked = question.is_none_or(|question| shared.ask(question));
            match spent {
                Spent::Yes => {
                    shared.meters.judged(how.0);
                    return Ok(Judged { taken: Taken::Yes, apart: false });
                }
                Spent::No { wait } => {
                    shared.meters.judged(how.1);
                    return Ok(Judged { taken: Taken::No { wait }, apart: false });
                }
                Spent::Ask => {}
            }
            let guard = Waiting { shared, place, units: charge.units, began: shared.now() };
            if how.0 == How::Leased {
                how = (How::Waited, How::Waited);
                self.ask_for_the_others(at);
            }
            let news = waiting.filter(|_| asked);
            let came = match news {
                Some(news) => self.before_patience_ends(news).await.is_some(),
                None => false,
            };
            drop(guard);
            self.now = shared.now();
            if !came {
                return self.alone(charge, How::Late);
            }
        }
    }

    /// A group waits once: what its other leases lack is asked for at the same time.
    fn ask_for_the_others(&self, at: usize) {
        for charge in self.charges.iter().skip(at + 1) {
            if goes_to_the_store(charge) || !matches!(charge.key.class, KeyClass::Shared { .. }) {
                continue;
            }
            let (place, terms) = (Place::of(charge.key, &charge.limit), self.shared.terms());
            let question = self.shared.table.with(place, &charge.limit, |slot| {
                let demand = slot?.lease.ask(&charge.limit, &terms, charge.units, self.now)?;
                Some(Question::Lease(place, Claim { name: place.0, demand }))
            });
            question.map(|question| self.shared.ask(question));
        }
    }

    /// Has the store judge the charges that it must judge itself: one call for all of them.
    async fn ask_the_store(&mut self) -> Result<Option<Granted>, LedgerFault> {
        let (shared, now) = (self.shared, self.now);
        let strict = |&(_, charge): &(usize, &Charge)| goes_to_the_store(charge);
        let claim = |(_, charge): (usize, &Charge)| {
            let place = Place::of(charge.key, &charge.limit);
            (place, Claim { name: place.0, demand: Demand::charge(&charge.limit, charge.units, now) })
        };
        let claims = self.charges.iter().enumerate().filter(strict).map(claim).collect();
        let began = shared.now();
        let mut how = How::Away;
        let mut answered = None;
        if shared.is_up() {
            how = How::Late;
            let (answer, answers) = oneshot::channel();
            if shared.ask(Question::Charge { claims, answer }) {
                answered = self.before_patience_ends(answers).await.and_then(Result::ok).flatten();
                shared.meters.waited(std::time::Duration::from_nanos(shared.now().0.saturating_sub(began.0)));
            }
        }
        self.now = shared.now();
        let places: ArrayVec<_, MAX_LEVELS> = self.charges.iter().enumerate().filter(strict).collect();
        let refused = match &answered {
            Some(Charged::No { at, wait, .. }) => Some((*at, *wait)),
            _ => None,
        };
        for (turn, (at, charge)) in places.into_iter().enumerate() {
            let judged = match (&answered, refused) {
                (None, _) => self.alone(charge, how)?,
                (Some(_), Some((no, wait))) if no == turn => {
                    let wait = if let Limit::Quota(quota) = &charge.limit { quota.ends_in(self.now) } else { wait };
                    shared.meters.judged(How::Strict);
                    Judged { taken: Taken::No { wait }, apart: false }
                }
                // None of them was taken.
                (Some(_), Some(_)) => continue,
                (Some(_), None) => {
                    shared.meters.judged(How::Strict);
                    Judged { taken: Taken::Yes, apart: false }
                }
            };
            if let Some(refused) = self.note(at, &judged) {
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// Judges a charge without the store, or hands that to the guard.
    fn alone(&self, charge: &Charge, how: How) -> Result<Judged, LedgerFault> {
        let shared = self.shared;
        if shared.settings.fault_when_down {
            shared.meters.judged(How::Fault);
            let why =
                if how == How::Away { "the store of the limits is away" } else { "the store of the limits is late" };
            return Err(LedgerFault::new(why));
        }
        shared.meters.judged(how);
        let (terms, place) = (shared.terms(), Place::of(charge.key, &charge.limit));
        let without = match how {
            How::Away => Without::Away { since: Tick(shared.went.load(Ordering::Relaxed)) },
            _ => Without::Late,
        };
        let taken = shared.table.with(place, &charge.limit, |slot| {
            slot.map(|slot| slot.lease.share(&charge.limit, &terms, charge.units, (self.now, without)))
        });
        // A million leases are in use: this one is judged as this node's own.
        let taken = taken.unwrap_or_else(|| self.memory.take(charge.key, charge.limit, charge.units, self.now));
        Ok(Judged { taken, apart: true })
    }

    fn debit(&self, charge: &Charge) {
        match charge.key.class {
            KeyClass::Shared { .. } => self.shared.debit(charge.key, &charge.limit, charge.units),
            _ => self.memory.debit(charge.key, charge.limit, charge.units, self.now),
        }
    }

    /// What `work` comes to, unless patience ends before it does. The time counts from the first wait of the request.
    async fn before_patience_ends<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let patience = || Box::pin(tokio::time::sleep(Shared::patience().saturating_sub(SLACK)));
        let alarm = self.patience.get_or_insert_with(patience);
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

impl Shared {
    /// One step of a charge: what became of it, and what to ask the driver for. If it must wait, `waiting` is what for.
    fn spend(
        &self,
        slot: &mut Slot,
        (place, charge): (Place, &Charge),
        now: Tick,
        waiting: &mut Option<OwnedNotified>,
    ) -> (Spent, Option<Question>) {
        let terms = self.terms();
        let spent = slot.lease.spend(&charge.limit, charge.units, now);
        let mut need = 0;
        if spent == Spent::Ask {
            need = charge.units;
            slot.lease.waits(charge.units);
            // Made under the lock, so that no answer is missed. Whoever comes when the answer is overdue does not wait for it.
            let hopes = !slot.lease.is_overdue(Self::patience().saturating_sub(SLACK), now);
            *waiting = hopes.then(|| std::sync::Arc::clone(&slot.news).notified_owned());
        }
        let demand = slot.lease.ask(&charge.limit, &terms, need, now);
        (spent, demand.map(|demand| Question::Lease(place, Claim { name: place.0, demand })))
    }

    /// Hands a question to the driver; false if it has too many.
    fn ask(&self, question: Question) -> bool {
        let Err(unasked) = self.questions.try_send(question) else { return true };
        if let Question::Lease(place, _) = unasked.into_inner() {
            self.leased(place, None);
        }
        false
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        for at in &self.held {
            let Some(charge) = self.charges.get(*at) else { continue };
            match charge.key.class {
                KeyClass::Shared { .. } => self.shared.give_back(charge.key, &charge.limit, charge.units),
                _ => self.memory.give_back(charge.key, charge.limit, charge.units, self.now),
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.table.remember(self.place, |slot| slot.lease.waits_no_more(self.units));
        let waited = self.shared.now().0.saturating_sub(self.began.0);
        self.shared.meters.waited(std::time::Duration::from_nanos(waited));
    }
}

/// What only watches never has the store judge it: nobody waits for that.
fn goes_to_the_store(charge: &Charge) -> bool {
    is_strict(charge.key) && charge.mode == Mode::Enforce
}
