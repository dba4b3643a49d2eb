//! The compute pool: a few threads for work that would stall a worker, behind a bounded queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// How many jobs may wait.
const QUEUE: usize = 256;

/// A pool of threads for inspection of large bodies.
pub struct Compute {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    jobs: Mutex<Jobs>,
    ready: Condvar,
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<Box<dyn FnOnce() + Send>>,
    stopped: bool,
}

/// The queue is full, or the pool is stopping.
#[derive(Debug)]
pub struct Full;

/// The job panicked or the pool stopped before it ran.
#[derive(Debug)]
pub struct Lost;

impl Compute {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { jobs: Mutex::default(), ready: Condvar::new() });
        let threads = (0..threads.max(1))
            .map(|i| {
                let shared = Arc::clone(&shared);
                thread::Builder::new().name(format!("compute-{i}")).spawn(move || {
                    step_back();
                    shared.work();
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// How many threads there are.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Queues `job` and gives the future of its answer. A job that nobody waits for any more is skipped.
    ///
    /// # Errors
    /// [`Full`] if the queue is.
    pub fn run<T, F>(&self, job: F) -> Result<impl Future<Output = Result<T, Lost>> + use<T, F>, Full>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || {
            if !sender.is_closed() {
                // The receiver may have left meanwhile: then the answer is for nobody.
                drop(sender.send(job()));
            }
        });
        {
            let mut jobs = self.shared.jobs.lock();
            if jobs.stopped || jobs.queue.len() >= QUEUE {
                return Err(Full);
            }
            jobs.queue.push_back(job);
        }
        self.shared.ready.notify_one();
        Ok(async move { receiver.await.map_err(|_| Lost) })
    }
}

/// How much less than a worker a thread of long work matters, where both want the same core.
const NICE: i32 = 10;

/// Lets workers go first from here on, for good: a request of a microsecond waits for no scan of a megabyte and no
/// compilation of rules. Where the system refuses, both wait alike.
pub fn step_back() {
    // On Linux it is the calling thread that is meant, not its process.
    let _refused = rustix::process::nice(NICE);
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.shared.jobs.lock().stopped = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked outside a job has nothing more to say.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let job = {
                let mut jobs = self.jobs.lock();
                loop {
                    if let Some(job) = jobs.queue.pop_front() {
                        break job;
                    }
                    if jobs.stopped {
                        return;
                    }
                    self.ready.wait(&mut jobs);
                }
            };
            // A panic ends the job, whose waiter sees `Lost`, and not the thread.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_is_lost_and_the_pool_goes_on() {
        let pool = Compute::start(1).expect("a thread");
        let lost = pool.run(|| -> u8 { panic!("on purpose") }).expect("room").await;
        assert!(lost.is_err());
        assert_eq!(pool.run(|| 7).expect("room").await.expect("an answer"), 7);
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pool = Compute::start(1).expect("a thread");
        let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
        let first = pool.run(move || held.recv().is_ok()).expect("room");
        let mut waiting = Vec::new();
        while let Ok(job) = pool.run(|| ()) {
            waiting.push(job);
        }
        assert!(waiting.len() >= QUEUE - 1);
        hold.send(()).expect("it waits");
        assert!(first.await.expect("an answer"));
    }
}
