//! Compute threads behind one bounded queue, shared by all models.
//!
//! Each thread lives inside an engine pool of one thread: handing a run over to such a pool costs more than a small
//! model, so it happens once and not per run. A run cannot be stopped. What can be saved is a run that nobody waits
//! for any more: it is skipped. The pool does not decide who is first; the gateway's queue has done that.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use rten::ThreadPool;
use tokio::sync::oneshot;
use tollgate_core::ruling::{Fault, Origin};

use crate::error::LoadError;

/// Size of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Threads; 0 counts as 1.
    pub threads: usize,
    /// Jobs that may wait; 0 counts as 1.
    pub queue: usize,
}

impl Default for PoolOptions {
    /// Half of the processors, at least one thread, and 256 waiting jobs.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: (processors / 2).max(1), queue: 256 }
    }
}

/// Compute threads and their queue. Dropping it lets running jobs end, drops those that wait, and ends the threads.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// The compute thread that a job runs on.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The engine's pool that consists of this thread alone.
    pub(crate) engine: Arc<ThreadPool>,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolCounts {
    /// Jobs that ran to their end.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that were refused because the queue was full.
    pub refused: u64,
    /// Jobs that were not run because nobody waited for them.
    pub skipped: u64,
    /// Jobs that wait now.
    pub waiting: u64,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`LoadError::Thread`] if the system gives no thread.
    pub fn start(options: PoolOptions) -> Result<Arc<Self>, LoadError> {
        let pool = Self { shared: Arc::new(Shared::new(options.queue.max(1))) };
        for number in 0..options.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    let worker = Worker { engine: Arc::new(ThreadPool::with_num_threads(1)) };
                    worker.engine.run(|| shared.work(&worker));
                })
                .map_err(|error| LoadError::Thread(error.to_string()))?;
        }
        Ok(Arc::new(pool))
    }

    /// Puts `job` into the queue: a run of a model, or any other work that would keep a worker from its sockets.
    ///
    /// The receiver gives its result; it errs if the job panicked or the pool is gone. Dropping the receiver gives up a
    /// job that has not begun.
    ///
    /// # Errors
    /// A retryable fault of our own if the queue is full.
    pub fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Worker) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Fault> {
        let (sender, receiver) = oneshot::channel();
        self.shared.push(Box::new(Job { sender, work: job }))?;
        Ok(receiver)
    }

    /// What the pool has done so far.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        let tally = &self.shared.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PoolCounts {
            done: read(&tally.done),
            panicked: read(&tally.panicked),
            refused: read(&tally.refused),
            skipped: read(&tally.skipped),
            waiting: self.shared.queue.lock().jobs.len() as u64,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        let abandoned = std::mem::take(&mut queue.jobs);
        drop(queue);
        // Their waiters learn that the pool is gone.
        drop(abandoned);
        self.shared.arrived.notify_all();
    }
}

/// What the threads and the pool share.
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    capacity: usize,
    tally: Tally,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

struct Queue {
    jobs: VecDeque<Box<dyn Run>>,
    closed: bool,
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    panicked: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
}

/// A job whose result type is forgotten.
trait Run: Send {
    /// Whether nobody waits for it.
    fn is_abandoned(&self) -> bool;
    /// Runs it, counts it, and answers its waiter.
    fn run(self: Box<Self>, worker: &Worker, tally: &Tally);
}

struct Job<T, W> {
    sender: oneshot::Sender<T>,
    work: W,
}

impl<T: Send, W: FnOnce(&Worker) -> T + Send> Run for Job<T, W> {
    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn run(self: Box<Self>, worker: &Worker, tally: &Tally) {
        let count = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        if self.is_abandoned() {
            count(&tally.skipped);
            return;
        }
        let Self { sender, work } = *self;
        // A job owns everything it touches but the engine's pool, which has no state that a panic could break.
        match catch_unwind(AssertUnwindSafe(|| work(worker))) {
            Ok(result) => {
                count(&tally.done);
                // A waiter that left in the meantime wants nothing.
                let _left = sender.send(result);
            }
            // Dropping the sender tells the waiter.
            Err(_panic) => {
                count(&tally.panicked);
            }
        }
    }
}

impl Shared {
    fn new(capacity: usize) -> Self {
        let queue = Queue { jobs: VecDeque::with_capacity(capacity), closed: false };
        Self { queue: Mutex::new(queue), arrived: Condvar::new(), capacity, tally: Tally::default() }
    }

    fn push(&self, job: Box<dyn Run>) -> Result<(), Fault> {
        let mut queue = self.queue.lock();
        if queue.jobs.len() >= self.capacity {
            // Clients that gave up must not keep others out.
            let before = queue.jobs.len();
            queue.jobs.retain(|job| !job.is_abandoned());
            self.tally.skipped.fetch_add((before - queue.jobs.len()) as u64, Ordering::Relaxed);
        }
        if queue.jobs.len() >= self.capacity {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Fault::new(Origin::Own, "the compute queue is full").retryable());
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// The life of one compute thread.
    fn work(&self, worker: &Worker) {
        while let Some(job) = self.next() {
            job.run(worker, &self.tally);
        }
    }

    fn next(&self) -> Option<Box<dyn Run>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            self.arrived.wait(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests;
