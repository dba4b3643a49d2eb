//! The queue and its threads, without a model.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::*;

fn pool(queue: usize) -> Arc<Pool> {
    Pool::start(PoolOptions { threads: 1, queue }).expect("a thread")
}

/// Occupies the only thread until the returned sender is dropped.
fn block(pool: &Pool) -> (std::sync::mpsc::SyncSender<()>, oneshot::Receiver<()>) {
    let (started, has_started) = sync_channel::<()>(1);
    let (hold, release) = sync_channel::<()>(1);
    let waiter = pool
        .submit(move |_| {
            started.send(()).expect("the test waits");
            let _released = release.recv();
        })
        .expect("room for one");
    has_started.recv_timeout(Duration::from_secs(10)).expect("the thread takes the job");
    (hold, waiter)
}

#[test]
fn a_job_runs_and_answers() {
    assert_eq!(pool(4).submit(|_| 6 * 7).expect("room").blocking_recv(), Ok(42));
}

#[test]
fn a_full_queue_refuses_with_a_fault_that_may_be_retried() {
    let pool = pool(2);
    let (hold, blocked) = block(&pool);
    let waiting: Vec<_> = (0..2).map(|n| pool.submit(move |_| n).expect("room")).collect();
    let fault = pool.submit(|_| ()).expect_err("no room");
    assert!(fault.retry);
    assert_eq!(fault.origin, Origin::Own);
    drop(hold);
    blocked.blocking_recv().expect("the blocker ends");
    for (n, receiver) in waiting.into_iter().enumerate() {
        assert_eq!(receiver.blocking_recv(), Ok(n));
    }
    assert_eq!(pool.counts().refused, 1);
}

#[test]
fn a_job_that_nobody_waits_for_is_skipped() {
    let pool = pool(4);
    let (hold, blocked) = block(&pool);
    let (ran, has_run) = sync_channel::<()>(1);
    drop(pool.submit(move |_| ran.send(())).expect("room"));
    let after = pool.submit(|_| ()).expect("room");
    drop(hold);
    blocked.blocking_recv().expect("the blocker ends");
    after.blocking_recv().expect("the later job runs");
    assert!(has_run.try_recv().is_err());
    assert_eq!(pool.counts().skipped, 1);
}

#[test]
fn jobs_that_were_given_up_make_room_in_a_full_queue() {
    let pool = pool(2);
    let (hold, blocked) = block(&pool);
    drop(pool.submit(|_| 1).expect("room"));
    let kept = pool.submit(|_| 2).expect("room");
    let fresh = pool.submit(|_| 3).expect("room after the purge");
    drop(hold);
    blocked.blocking_recv().expect("the blocker ends");
    assert_eq!((kept.blocking_recv(), fresh.blocking_recv()), (Ok(2), Ok(3)));
}

#[test]
fn a_panic_ends_its_job_and_nothing_else() {
    let pool = pool(4);
    let panicking = pool.submit(|_| -> u8 { panic!("expected in this test") }).expect("room");
    assert!(panicking.blocking_recv().is_err());
    assert_eq!(pool.submit(|_| 1).expect("room").blocking_recv(), Ok(1));
    assert_eq!(pool.counts().panicked, 1);
}

#[test]
fn dropping_the_pool_tells_those_who_wait() {
    let pool = pool(4);
    let (hold, blocked) = block(&pool);
    let waiting = pool.submit(|_| 1).expect("room");
    drop(pool);
    assert!(waiting.blocking_recv().is_err());
    drop(hold);
    assert!(blocked.blocking_recv().is_ok());
}
