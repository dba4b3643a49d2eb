use std::future::{pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(count));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn an_alarm_rings_at_the_first_walk_after_its_time_and_once() {
    let clock = Clock::driven();
    let ticker = Ticker::new(clock.clone());
    let count = Arc::new(Count::default());
    let mut alarm = ticker.alarm(ticker.after(Duration::from_secs(1)));
    assert!(poll(&mut alarm, &count).is_pending());
    clock.advance(Duration::from_millis(999));
    ticker.walk();
    assert!(poll(&mut alarm, &count).is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(poll(&mut alarm, &count).is_pending(), "it waits for the walk");
    ticker.walk();
    ticker.walk();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(poll(&mut alarm, &count).is_ready());
    assert!(poll(&mut alarm, &count).is_ready(), "it stays rung");
}

#[test]
fn a_reset_alarm_rings_at_its_new_time_only() {
    let clock = Clock::driven();
    let ticker = Ticker::new(clock.clone());
    let count = Arc::new(Count::default());
    let mut alarm = ticker.alarm(ticker.now());
    ticker.walk();
    assert!(poll(&mut alarm, &count).is_ready());
    alarm.reset_after(Duration::from_secs(2));
    ticker.walk();
    assert!(poll(&mut alarm, &count).is_pending());
    clock.advance(Duration::from_secs(2));
    ticker.walk();
    assert!(poll(&mut alarm, &count).is_ready());
}

#[test]
fn a_dropped_alarm_leaves_nothing_behind() {
    let ticker = Ticker::new(Clock::driven());
    let first = ticker.alarm(ticker.now());
    let second = ticker.alarm(ticker.now());
    drop(first);
    assert_eq!(ticker.alarms(), 1);
    drop(second);
    assert_eq!(ticker.alarms(), 0);
}

#[test]
fn work_that_is_done_wins_over_an_alarm_that_rang() {
    let ticker = Ticker::new(Clock::driven());
    let count = Arc::new(Count::default());
    let (done, late) = (ticker.alarm(ticker.now()), ticker.alarm(ticker.now()));
    ticker.walk();
    assert_eq!(poll(&mut Box::pin(within(done, ready(7))), &count), Poll::Ready(Ok(7)));
    assert_eq!(poll(&mut Box::pin(within(late, pending::<()>())), &count), Poll::Ready(Err(Late)));
}

#[tokio::test(start_paused = true)]
async fn a_running_ticker_wakes_its_sleepers() {
    let clock = Clock::driven();
    let ticker = Ticker::new(clock.clone());
    let alarm = ticker.alarm(ticker.after(Duration::from_secs(5)));
    clock.advance(Duration::from_secs(5));
    let run = Arc::clone(&ticker).run(Ticker::EVERY);
    tokio::select! {
        () = run => unreachable!("it runs until it is dropped"),
        () = alarm => {}
    }
}
