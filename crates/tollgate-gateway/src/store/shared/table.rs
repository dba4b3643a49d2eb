//! The leases of a node, found by hash, each under the lock of its shard for the time of one step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tollgate_limit::{Key, KeyClass, Lease, Limit, Terms, Tick};

use crate::store::{Claim, Name};

/// So many that a sweep holds each for a fraction of a millisecond.
const SHARDS: usize = 64;

/// Leases of one shard: a million in all, some 200 bytes each. What finds no place is not leased.
const MOST: usize = (1 << 20) / SHARDS;

/// What the store is told, and what it is asked for.
pub(in crate::store) type Due = (Vec<(Place, Claim)>, Vec<(Place, Claim)>);

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Where the next sweep looks.
    hand: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: HashMap<Name, Slot>,
    /// Slots that the store must be told of. Each is here once.
    due: Vec<Name>,
}

/// One lease.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lease: Lease,
    /// What bounds the balance, as it was charged last.
    pub(super) limit: Limit,
    /// Told when an answer of the store is in.
    pub(super) news: Arc<Notify>,
    is_due: bool,
}

/// Where a lease is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) struct Place(pub(in crate::store) Name);

impl Place {
    pub(super) const fn of(key: Key, limit: &Limit) -> Self {
        let tag = match key.class {
            KeyClass::Shared { tag, .. } => tag,
            _ => 0,
        };
        let period = match limit {
            Limit::Quota(quota) => quota.period(),
            _ => 0,
        };
        Self(Name { tag, hash: key.hash, period })
    }
}

impl Table {
    /// Does something with a lease, which is made if it is missing; `None` where there is no room for it.
    pub(super) fn with<T>(&self, Place(name): Place, limit: &Limit, act: impl FnOnce(Option<&mut Slot>) -> T) -> T {
        let mut shard = self.shard(name).lock();
        let Shard { slots, due } = &mut *shard;
        let room = slots.len() < MOST;
        let slot = match slots.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) if room => place.insert(Slot::new(*limit)),
            Entry::Vacant(_) => return act(None),
        };
        slot.limit = *limit;
        let done = act(Some(slot));
        slot.note(name, due);
        done
    }

    /// The same, of one that is there.
    pub(super) fn remember(&self, Place(name): Place, act: impl FnOnce(&mut Slot)) {
        let mut shard = self.shard(name).lock();
        let Shard { slots, due } = &mut *shard;
        if let Some(slot) = slots.get_mut(&name) {
            act(slot);
            slot.note(name, due);
        }
    }

    /// The same, and who waits for it looks again.
    pub(super) fn answer(&self, place: Place, act: impl FnOnce(&mut Slot)) {
        self.remember(place, |slot| {
            act(slot);
            slot.news.notify_waiters();
        });
    }

    pub(super) fn look<T>(&self, Place(name): Place, look: impl FnOnce(&Slot) -> T) -> Option<T> {
        self.shard(name).lock().slots.get(&name).map(look)
    }

    /// What the store is to be told, and what it is to be asked to pay for what was admitted without it.
    pub(super) fn due(&self, most: usize, terms: &Terms, (now, all): (Tick, bool)) -> Due {
        let (mut claims, mut payments) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            let mut shard = shard.lock();
            let Shard { slots, due } = &mut *shard;
            if all {
                due.clear();
                due.extend(slots.keys());
            }
            while claims.len() + payments.len() < most || all {
                let Some(name) = due.pop() else { break };
                let Some(slot) = slots.get_mut(&name) else { continue };
                slot.is_due = false;
                let demand = slot.lease.due(&slot.limit, terms, (now, all));
                claims.extend(demand.map(|demand| (Place(name), Claim { name, demand })));
                let payment = slot.lease.pay(&slot.limit, terms, now);
                payments.extend(payment.map(|demand| (Place(name), Claim { name, demand })));
            }
        }
        (claims, payments)
    }

    /// Whatever is known of a balance is due: the store may have forgotten it.
    pub(super) fn note_what_is_known(&self, now: Tick) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let Shard { slots, due } = &mut *shard;
            for (name, slot) in slots {
                if !slot.lease.is_idle(&slot.limit, now) {
                    slot.due_now(*name, due);
                }
            }
        }
    }

    pub(super) fn wake_everybody(&self) {
        for shard in &self.shards {
            shard.lock().slots.values().for_each(|slot| slot.news.notify_waiters());
        }
    }

    pub(super) fn sweep(&self, now: Tick) {
        let hand = self.hand.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let Some(shard) = self.shards.get(hand) else { return };
        let mut shard = shard.lock();
        let Shard { slots, due } = &mut *shard;
        slots.retain(|_, slot| slot.is_due || !slot.lease.is_idle(&slot.limit, now));
        for (name, slot) in slots {
            if slot.lease.is_unused(now) || slot.lease.is_due() {
                slot.due_now(*name, due);
            }
        }
    }

    fn shard(&self, name: Name) -> &Mutex<Shard> {
        // A hash already; what is picked by its upper bits is as good as random.
        let picked = (name.hash >> 40) as usize % SHARDS;
        &self.shards[picked]
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hand: AtomicUsize::new(0) }
    }
}

impl Slot {
    fn new(limit: Limit) -> Self {
        Self { lease: Lease::default(), limit, news: Arc::default(), is_due: false }
    }

    fn note(&mut self, name: Name, due: &mut Vec<Name>) {
        if self.lease.is_due() {
            self.due_now(name, due);
        }
    }

    fn due_now(&mut self, name: Name, due: &mut Vec<Name>) {
        if !self.is_due {
            self.is_due = true;
            due.push(name);
        }
    }
}
