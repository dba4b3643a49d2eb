//! No decision allocates once a configured key has its cell. A program of its own without a test harness: the counting
//! allocator counts everybody.

use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_limit::{
    Applicant, Calendar, Charge, Every, FairConfig, FairQueue, Granted, Inflight, InflightConfig, Key, Ledger, Memory,
    MemoryConfig, Moment, Priority, Ran, Rate, Reservation, Taken, Tick, Window,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let ledger = Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (1, 2) });
    let rate = Rate::new(100, 1, 100).expect("in range");
    let configured = Key::configured(7);
    assert_eq!(ledger.take(configured, rate, 1, Tick(0)), Taken::Yes);

    let region = Region::new(ALLOCATOR);
    for i in 0..10_000_u64 {
        let now = Tick(i * 1_000_000);
        let open = Key::open(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let group = [configured, open].map(|key| Charge::new(key, rate, 1));
        if ledger.take_all(&group, now) == Granted::YES {
            ledger.give_back(open, rate, 1, now);
        }
        ledger.debit(configured, rate, 1, now);
        let _ = ledger.take(configured, rate, 1_000, now);
        let _ = ledger.peek(open, rate, now);
    }
    ledger.sweep(Tick(u64::MAX / 2), 1 << 7);
    assert_eq!(region.change().allocations, 0);

    // Quotas and windows of keys that are known, with everything that a request does to them.
    let calendar = Calendar::new(Every::Day, "Europe/Berlin").expect("a time zone");
    let windows = [40, 1_000].map(|max| Window::new(max, Duration::from_secs(1)).expect("in range"));
    let turn = |i: u64| {
        let at = Moment { now: Tick(i * 10_000_000), unix_ms: i * 100_000 };
        let charges = [
            Charge::new(configured, calendar.quota(100, at), 1),
            Charge::new(Key::configured(8), windows[0].at(at.now), 1),
            Charge::new(Key::open(9), windows[1].at(at.now), 5).shadowed(),
        ];
        if let Granted::Yes { over } = ledger.take_all(&charges, at.now) {
            ledger.settle(Reservation::of(&charges, over), i % 9, at.now);
        }
        let _ = ledger.peek(configured, charges[0].limit, at.now);
    };
    // A log takes its room when it is first filled.
    (0..10_000).for_each(turn);
    let region = Region::new(ALLOCATOR);
    (10_000..30_000).for_each(turn);
    assert_eq!(region.change().allocations, 0);

    free_places();

    // The test can fail: the first cells do allocate.
    let fresh = Memory::new(MemoryConfig { open_slots: 16, seed: (1, 2) });
    let region = Region::new(ALLOCATOR);
    assert_eq!(fresh.take(configured, rate, 1, Tick(0)), Taken::Yes);
    assert_ne!(region.change().allocations, 0);
}

/// Somebody who finds a free place while nobody waits.
fn free_places() {
    let mut fair = FairQueue::<u64>::new(FairConfig {
        max_entries: 4096,
        max_bytes: 1 << 20,
        weights: [64, 16, 4, 1],
        strict_critical: false,
        drain_per_sec: 8_000_000,
        max_wait: Duration::from_secs(30),
    });
    let mut room = Inflight::new(InflightConfig { initial: 8, min: 1, max: 64 });
    let region = Region::new(ALLOCATOR);
    for turn in 0..20_000 {
        let (tenant, cost, now) = (turn % 1_000, 1_000 + turn, Tick(turn * 1_000_000));
        let deadline = Tick(u64::MAX);
        let who = Applicant { tenant, weight: 1, key: turn, priority: Priority::Normal, cost, bytes: 10, deadline };
        assert!(fair.is_empty() && room.fits(cost) && fair.pass(&who, now).is_ok());
        room.enter(cost);
        room.step(now);
        let alone = Some(Duration::from_micros(cost));
        room.leave(cost, Ran { took: alone, alone });
        fair.passed(&who, cost, now);
    }
    assert_eq!(region.change().allocations, 0);
}
