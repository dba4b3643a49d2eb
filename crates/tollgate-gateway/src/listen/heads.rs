//! The heads of one connection, handed from `StrictIo` to the service behind the codec.
//!
//! At most one head is released at a time, and the next one only when the last is answered: so the queue has one
//! place, the service finds the head that belongs to its request, and pipelined heads wait unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::listen::flaw::HeadFlaw;
use crate::listen::head::RawHead;

/// What `StrictIo` and the service of one connection share.
#[derive(Debug, Default)]
pub struct HeadQueue {
    shared: Mutex<Shared>,
    /// What follows from `shared`, for a look without the lock: each read asks more than once.
    gate: AtomicU8,
    /// Bytes received behind the head being served.
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shared {
    /// Released to the codec and not yet popped.
    next: Option<RawHead>,
    /// Popped and not yet answered.
    serving: bool,
    switched: bool,
    waiting: Option<Waker>,
    body_flaw: Option<HeadFlaw>,
    ended: Option<Ended>,
}

/// The values of [`Gate`] in a byte; a fresh connection is open.
const OPEN: u8 = 0;
const BUSY: u8 = 1;
const THROUGH: u8 = 2;

/// Why the input of a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The framing of a body is broken; [`HeadQueue::body_flaw`] says how.
    BadBody,
    /// The client closed or the connection broke.
    Left,
    /// A head was refused, also one that came too slowly.
    Refused,
    /// No byte of a head came in time.
    Silent,
}

impl HeadQueue {
    /// The queue of a fresh connection.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The head of the request that the service was called with. The turn is kept until its response is written or
    /// dropped. `None` is a fault of ours: the codec saw another request than `StrictIo`.
    pub fn pop(self: &Arc<Self>) -> Option<(RawHead, Turn)> {
        let mut shared = self.shared.lock();
        let head = shared.next.take()?;
        shared.serving = true;
        self.settle(&shared);
        drop(shared);
        Some((head, Turn { queue: Arc::clone(self) }))
    }

    /// Takes the head that the codec refused by itself, if there is one: asked once the connection is over, so that
    /// each head ends in a record.
    #[must_use]
    pub fn unserved(&self) -> Option<RawHead> {
        let mut shared = self.shared.lock();
        let head = shared.next.take();
        self.settle(&shared);
        head
    }

    /// Says that the response being written switches protocols: what follows passes unread.
    pub fn switch(&self) {
        let waiting = {
            let mut shared = self.shared.lock();
            shared.switched = true;
            self.settle(&shared);
            shared.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How many bytes have been received behind the request being served: before a switch of protocols there must be
    /// none.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// What was wrong with the body being read: says why the codec reports an error, if the client did not just leave.
    #[must_use]
    pub fn body_flaw(&self) -> Option<HeadFlaw> {
        self.shared.lock().body_flaw
    }

    /// Why the input ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.shared.lock().ended
    }

    /// Whether a head was released whose response is not finished.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.gate() == Gate::Busy
    }

    pub(super) fn push(&self, head: RawHead) {
        let mut shared = self.shared.lock();
        shared.next = Some(head);
        self.settle(&shared);
    }

    pub(super) fn gate(&self) -> Gate {
        match self.gate.load(Ordering::Acquire) {
            OPEN => Gate::Open,
            THROUGH => Gate::Through,
            _ => Gate::Busy,
        }
    }

    /// Says what follows from `shared`, which has just changed.
    fn settle(&self, shared: &Shared) {
        let gate = match (shared.switched, shared.serving || shared.next.is_some()) {
            (true, _) => THROUGH,
            (false, true) => BUSY,
            (false, false) => OPEN,
        };
        self.gate.store(gate, Ordering::Release);
    }

    pub(super) fn end(&self, why: Ended, body_flaw: Option<HeadFlaw>) {
        let mut shared = self.shared.lock();
        shared.ended.get_or_insert(why);
        shared.body_flaw = shared.body_flaw.or(body_flaw);
    }

    /// Notes that `held` bytes cannot pass and, if they are `withheld` for a head being served, whom to wake when it
    /// is answered; false if it was answered meanwhile.
    pub(super) fn wait(&self, held: usize, withheld: bool, waker: &Waker) -> bool {
        self.held.store(held, Ordering::Release);
        if !withheld {
            return true;
        }
        let mut shared = self.shared.lock();
        if shared.switched || !(shared.serving || shared.next.is_some()) {
            return false;
        }
        if !shared.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(waker)) {
            shared.waiting = Some(waker.clone());
        }
        true
    }
}

/// What may pass where a head is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// Nothing before the head being served is answered.
    Busy,
    /// A head.
    Open,
    /// Anything.
    Through,
}

/// One request being served. Dropping it lets the next head through.
#[derive(Debug)]
#[must_use = "dropped at once, it says that the request is answered"]
pub struct Turn {
    queue: Arc<HeadQueue>,
}

impl Turn {
    /// The queue it belongs to.
    #[must_use]
    pub const fn queue(&self) -> &Arc<HeadQueue> {
        &self.queue
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let waiting = {
            let mut shared = self.queue.shared.lock();
            shared.serving = false;
            self.queue.settle(&shared);
            // Only withheld bytes have somebody waiting: otherwise the codec asks for its next head by itself.
            shared.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
