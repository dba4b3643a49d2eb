//! Places and lines, with a clock that is moved by hand.

use std::sync::Arc;

use futures_util::poll;
use tollgate_limit::Priority;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    clock: Clock,
    ticker: Arc<Ticker>,
    queue: Arc<Queue>,
}

fn rig(places: u32, change: impl FnOnce(&mut FairConfig)) -> Rig {
    let clock = Clock::driven();
    let mut fair = FairConfig {
        max_entries: 100,
        max_bytes: 1 << 20,
        weights: [64, 16, 4, 1],
        strict_critical: false,
        drain_per_sec: u64::from(places) * 1_000_000,
        max_wait: 30 * SECOND,
    };
    change(&mut fair);
    let queue = Queue::new(QueueBounds { inflight: InflightConfig::fixed(places), fair }, clock.clone());
    Rig { ticker: Ticker::new(clock.clone()), clock, queue }
}

impl Rig {
    fn ask(&self, tenant: u64, cost: u64) -> Ask {
        let at = self.clock.now();
        let deadline = limit::Tick(at.after(60 * SECOND).0);
        let who = Applicant { tenant, weight: 1, key: 0, priority: Priority::Normal, cost, bytes: 10, deadline };
        Ask { who, alone: None, patience: None, at }
    }

    async fn take(&self, ask: Ask) -> Result<Slot, TurnedAway> {
        self.queue.enter(ask, &self.ticker).await
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.ticker.walk();
    }
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cheap_tenant_is_not_behind_a_flood_of_dear_requests() {
    let rig = Arc::new(rig(1, |_| {}));
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = rig.take(rig.ask(9, 1)).await.expect("free");
    let mut tasks = tokio::task::JoinSet::new();
    for (tenant, cost) in [(1, 1000), (1, 1000), (1, 1000), (2, 10), (2, 10)] {
        let (rig, order) = (Arc::clone(&rig), Arc::clone(&order));
        tasks.spawn(async move {
            let mut slot = rig.take(rig.ask(tenant, cost)).await.expect("a place");
            order.lock().push(tenant);
            tokio::task::yield_now().await;
            slot.spent = Some(Cost(cost));
            drop(slot);
        });
        settle().await;
    }
    drop(first);
    while tasks.join_next().await.is_some() {}
    assert_eq!(*order.lock(), [1, 2, 2, 1, 1]);
    assert_eq!(rig.queue.level(), (0, 0));
}

#[tokio::test]
async fn whoever_leaves_the_line_frees_their_place_in_it() {
    let rig = rig(1, |fair| fair.max_entries = 1);
    let slot = rig.take(rig.ask(1, 1)).await.expect("free");
    {
        let waiting = std::pin::pin!(rig.take(rig.ask(1, 1)));
        assert!(poll!(waiting).is_pending());
        assert_eq!(rig.queue.level(), (1, 1));
        assert!(rig.take(rig.ask(2, 1)).await.is_err(), "the line is full");
    }
    assert_eq!(rig.queue.level(), (1, 0));
    assert!(!rig.queue.is_backlogged());
    drop(slot);
    assert_eq!(rig.queue.level(), (0, 0));
}

#[tokio::test]
async fn a_place_granted_to_somebody_who_left_goes_to_the_next() {
    let rig = rig(1, |_| {});
    let slot = rig.take(rig.ask(1, 1)).await.expect("free");
    let mut leaves = Box::pin(rig.take(rig.ask(2, 1)));
    assert!(poll!(&mut leaves).is_pending());
    let mut stays = Box::pin(rig.take(rig.ask(3, 1)));
    assert!(poll!(&mut stays).is_pending());
    drop(slot);
    drop(leaves);
    drop(stays.await.expect("the place that was passed on"));
    assert_eq!(rig.queue.level(), (0, 0));
    assert_eq!(rig.queue.standing().inflight_us, 0);
}

#[tokio::test]
async fn what_cannot_be_done_in_time_is_refused_at_once_and_told_when_to_come_again() {
    let rig = rig(1, |_| {});
    let slot = rig.take(rig.ask(1, 1_000_000)).await.expect("free");
    let mut line = Vec::new();
    for _ in 0..3 {
        let mut waiting = Box::pin(rig.take(rig.ask(2, 1_000_000)));
        assert!(poll!(&mut waiting).is_pending());
        line.push(waiting);
    }
    let mut hasty = rig.ask(2, 1_000_000);
    hasty.who.deadline = limit::Tick(rig.clock.now().after(2 * SECOND).0);
    let away = rig.take(hasty).await.err().expect("four seconds of its own are before it");
    assert_eq!((away.refusal.code, away.position), (Code::Overloaded, 4));
    // Four seconds and its own, within two: in three it would be in time.
    assert_eq!(away.refusal.retry_after, Some(3 * SECOND));
    assert!(rig.queue.foresee(&hasty.who, rig.clock.now()).is_err());
    assert!(rig.queue.foresee(&rig.ask(3, 0).who, rig.clock.now()).is_ok(), "another tenant");
    let counts: Vec<_> = rig.queue.turned_away().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 0, 2, 0]);
    drop((line, slot));
    assert_eq!(rig.queue.level(), (0, 0));
}

#[tokio::test]
async fn nobody_waits_longer_than_they_want_to_and_hears_their_place() {
    let rig = rig(1, |_| {});
    let slot = rig.take(rig.ask(1, 1_000)).await.expect("free");
    let mut other = Box::pin(rig.take(rig.ask(2, 1_000)));
    assert!(poll!(&mut other).is_pending());
    let mut asks = Box::pin(rig.take(Ask { patience: Some(2 * SECOND), ..rig.ask(2, 1_000) }));
    assert!(poll!(&mut asks).is_pending());
    rig.pass(SECOND);
    assert!(poll!(&mut asks).is_pending());
    rig.pass(SECOND);
    let away = asks.await.err().expect("two seconds are over");
    assert_eq!((away.refusal.code, away.position), (Code::Overloaded, 2));
    assert_eq!(rig.queue.level(), (1, 1));
    drop(slot);
    assert_eq!(other.await.expect("its turn").position, 1);
}

#[tokio::test]
async fn what_has_become_too_late_hears_so_when_a_place_is_free() {
    let rig = rig(1, |_| {});
    let slot = rig.take(rig.ask(1, 1_000)).await.expect("free");
    let mut late = rig.ask(2, 1_000_000);
    late.who.deadline = limit::Tick(rig.clock.now().after(3 * SECOND).0);
    let mut late = Box::pin(rig.take(late));
    let mut next = Box::pin(rig.take(rig.ask(3, 1_000)));
    assert!(poll!(&mut late).is_pending() && poll!(&mut next).is_pending());
    rig.clock.advance(Duration::from_millis(2_500));
    drop(slot);
    assert!(late.await.is_err());
    drop(next.await.expect("the place that the other could not use"));
    assert_eq!(rig.queue.level(), (0, 0));
}

#[tokio::test]
async fn more_room_after_a_reload_is_used_at_once() {
    let rig = rig(1, |_| {});
    let first = rig.take(rig.ask(1, 1)).await.expect("free");
    let mut second = Box::pin(rig.take(rig.ask(1, 1)));
    assert!(poll!(&mut second).is_pending());
    let fair = rig.queue.state.lock().fair.config();
    rig.queue.rebound(QueueBounds { inflight: InflightConfig::fixed(2), fair });
    drop((second.await.expect("the new place"), first));
    assert_eq!(rig.queue.level(), (0, 0));
}

#[tokio::test]
async fn somebody_who_was_let_past_and_left_leaves_nothing_behind() {
    let rig = rig(2, |_| {});
    let slots = [rig.take(rig.ask(1, 7)).await, rig.take(rig.ask(2, 9)).await].map(|slot| slot.expect("free"));
    assert_eq!(rig.queue.standing().inflight_us, 16);
    drop(slots);
    assert_eq!((rig.queue.level(), rig.queue.standing().inflight_us), ((0, 0), 0));
}

/// Somebody who was not let in yet.
type Coming<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Slot, TurnedAway>> + 'a>>;

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[tokio::test]
async fn a_hundred_thousand_who_leave_at_any_moment_leave_no_place_taken() {
    let rig = rig(8, |fair| fair.max_entries = 32);
    let (mut dice, mut slots, mut ends) = (Dice(7), Vec::new(), [0_u32; 4]);
    let mut line: Vec<Coming<'_>> = Vec::new();
    for _ in 0..100_000 {
        rig.clock.advance(Duration::from_millis(dice.below(4)));
        let mut ask = rig.ask(dice.below(5), 1 + dice.below(100_000));
        ask.who.deadline = limit::Tick(ask.at.after(Duration::from_millis(50 + dice.below(2_000))).0);
        let mut coming: Coming<'_> = Box::pin(rig.take(ask));
        match poll!(&mut coming) {
            std::task::Poll::Pending => line.push(coming),
            std::task::Poll::Ready(Ok(slot)) => slots.push(slot),
            std::task::Poll::Ready(Err(_)) => ends[0] += 1,
        }
        if dice.below(10) < 3 && !line.is_empty() {
            // Some of these were granted a place a moment ago and never heard of it.
            drop(line.swap_remove(usize::try_from(dice.below(line.len() as u64)).expect("small")));
            ends[1] += 1;
        }
        if dice.below(10) < 6 && !slots.is_empty() {
            let mut slot = slots.swap_remove(usize::try_from(dice.below(slots.len() as u64)).expect("small"));
            slot.spent = (dice.below(3) > 0).then(|| Cost(dice.below(150_000)));
            ends[2] += 1;
        }
        if dice.below(10) < 5 {
            rig.ticker.walk();
            let mut still = Vec::new();
            for mut waiting in line {
                match poll!(&mut waiting) {
                    std::task::Poll::Pending => still.push(waiting),
                    std::task::Poll::Ready(Ok(slot)) => slots.push(slot),
                    std::task::Poll::Ready(Err(_)) => ends[3] += 1,
                }
            }
            line = still;
        }
        assert!(slots.len() <= 8);
        // A task that never yields is told that nothing is ready.
        tokio::task::yield_now().await;
    }
    drop(line);
    drop(slots);
    assert_eq!((rig.queue.level(), rig.queue.standing().inflight_us), ((0, 0), 0));
    assert!(!rig.queue.is_backlogged());
    assert!(ends.iter().all(|count| *count > 100), "{ends:?}");
}
