//! The streams of one HTTP/2 connection: how many run, and which of them no longer moves because its client does not
//! read.
//!
//! The codec asks for more of an answer only while the client's window has room, so an answer whose client reads nothing
//! is never polled and cannot time out by itself (CVE-2019-9511, CVE-2019-9517). The task that the codec runs for a stream
//! is therefore wrapped here: the wrapper sees whether a turn of that task came as far as the answer, and it can end the
//! task, which resets the stream and drops whatever the answer held.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use slab::Slab;
use tollgate_core::time::Tick;

use crate::tick::Ticker;

/// The streams of one connection, as its deadlines see them.
pub struct Streams {
    ticker: Arc<Ticker>,
    running: AtomicUsize,
    /// When the last one ended; 0 before the first.
    last: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    seen: Slab<Seen>,
    /// Opened, and not yet given to a task.
    newest: Option<Arc<One>>,
}

/// A stream as it was found when it was last looked at.
struct Seen {
    one: Arc<One>,
    moves: u64,
    since: Tick,
}

/// What is known of one stream.
struct One {
    /// Moves of its answer, twice, and one more while the client is to take what there is. 0 before there is an answer.
    moves: AtomicU64,
    /// It is over, whatever it says.
    cut: AtomicBool,
    /// Its task.
    task: AtomicWaker,
}

/// One stream. Dropping it says that it is answered.
pub struct OpenStream {
    of: Arc<Streams>,
    one: Arc<One>,
    key: usize,
}

impl Streams {
    /// None yet.
    pub(super) fn new(ticker: Arc<Ticker>) -> Arc<Self> {
        Arc::new(Self { ticker, running: AtomicUsize::new(0), last: AtomicU64::new(0), open: Mutex::default() })
    }

    /// A request has come: the next task that the codec runs is for its stream.
    pub(super) fn open(self: &Arc<Self>) -> OpenStream {
        self.running.fetch_add(1, Ordering::Relaxed);
        let one = Arc::new(One { moves: AtomicU64::new(0), cut: AtomicBool::new(false), task: AtomicWaker::new() });
        let mut open = self.open.lock();
        open.newest = Some(Arc::clone(&one));
        let key = open.seen.insert(Seen { one: Arc::clone(&one), moves: 0, since: Tick(0) });
        OpenStream { of: Arc::clone(self), one, key }
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// When the last one ended.
    pub(super) fn last(&self) -> Option<Tick> {
        Some(self.last.load(Ordering::Relaxed)).filter(|last| *last > 0).map(Tick)
    }

    /// Ends each stream whose client has taken nothing for as long as `stall`. `true` where these were all that ran.
    pub(super) fn cut(&self, now: Tick, stall: Duration) -> bool {
        let mut cut = Vec::new();
        let mut open = self.open.lock();
        for (_, seen) in &mut open.seen {
            let moves = seen.one.moves.load(Ordering::Relaxed);
            if moves != seen.moves {
                (seen.moves, seen.since) = (moves, now);
            } else if moves & 1 == 1 && now.since(seen.since) >= stall {
                cut.push(Arc::clone(&seen.one));
            }
        }
        let all = !cut.is_empty() && cut.len() == open.seen.len();
        drop(open);
        for one in cut {
            one.cut.store(true, Ordering::Release);
            one.task.wake();
        }
        all
    }
}

impl OpenStream {
    /// There is an answer, or its client's window let more of it be asked for; `came` says whether there was more.
    pub(crate) fn moved(&self, came: bool) {
        let moves = (self.one.moves.load(Ordering::Relaxed) | 1) + 1;
        self.one.moves.store(moves | u64::from(came), Ordering::Relaxed);
    }

    /// Whether it was ended because the client read nothing.
    pub(crate) fn is_cut(&self) -> bool {
        self.one.cut.load(Ordering::Acquire)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let seen = self.of.open.lock().seen.try_remove(self.key);
        // Outside the lock, as everything that may hold the waker of a task.
        drop(seen);
        self.of.last.store(self.of.ticker.now().0.max(1), Ordering::Relaxed);
        self.of.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl One {
    /// A turn of the task that did not come as far as the answer, which was `before`: the window is shut, whatever the
    /// answer was waiting for. A client can take back what it granted (RFC 9113, 6.9.2).
    fn stood_still(&self, before: u64) {
        if before > 0 && self.moves.load(Ordering::Relaxed) == before {
            self.moves.store(before | 1, Ordering::Relaxed);
        }
    }
}

/// Runs what the codec runs, each task of a stream so that it can be ended.
#[derive(Clone)]
pub(super) struct Watching(pub(super) Arc<Streams>);

impl<F> Executor<F> for Watching
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        let newest = self.0.open.lock().newest.take();
        match newest {
            Some(one) => TokioExecutor::new().execute(Watched { one, work: Some(work) }),
            None => TokioExecutor::new().execute(work),
        }
    }
}

pin_project! {
    /// The task of one stream.
    struct Watched<F> {
        one: Arc<One>,
        #[pin]
        work: Option<F>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        this.one.task.register(cx.waker());
        if this.one.cut.load(Ordering::Acquire) {
            // Drops both ends of the stream, which resets it, and the answer with what it holds.
            this.work.set(None);
            return Poll::Ready(());
        }
        let Some(work) = this.work.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let before = this.one.moves.load(Ordering::Relaxed);
        let polled = work.poll(cx);
        this.one.stood_still(before);
        polled
    }
}
