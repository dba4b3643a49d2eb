//! The body of an answer that is made while it is written, without sockets.

use std::future::poll_fn;
use std::time::Duration;

use tokio::task::coop;

use super::*;

/// More than a task may do in one turn.
const MANY: usize = 1000;

/// Regression: with its share of the runtime used up a task is told that nothing is there. Asked again until something
/// is, in the same turn, it never ended.
#[test]
fn a_task_that_has_used_up_its_share_lets_others_go_first() {
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    // On a thread of its own: what would never end must fail.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (mut spoken, mut read, mut turns) = (endless(), 0, 0);
        let reading = poll_fn(|cx| {
            // The share ends at another place of the work in each turn, also where there is something to be read.
            for _ in 0..turns % 4 {
                let _used = coop::poll_proceed(cx).map(|used| used.made_progress());
            }
            turns += 1;
            while read < MANY {
                let Poll::Ready(piece) = spoken.poll(cx) else { return Poll::Pending };
                read += usize::from(piece.is_some());
            }
            Poll::Ready(())
        });
        runtime.block_on(reading);
        done.send(turns).expect("somebody waits");
    });
    let turns = ended.recv_timeout(Duration::from_secs(15)).expect("the task never gave its turn back");
    assert!(turns > 1, "all in one turn: the test does not test what it should");
}

/// A body that has always more to say.
fn endless() -> Spoken {
    let (out, said) = mpsc::channel(2);
    let work = async move { while out.send(Frame::data(Bytes::from_static(b"x"))).await.is_ok() {} };
    Spoken { work: Some(Box::pin(work)), said, unread: Arc::default() }
}
