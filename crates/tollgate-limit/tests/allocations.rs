//! No decision allocates once a configured key has its cell. A program of its own without a test harness: the counting
//! allocator counts everybody.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_limit::{Charge, Granted, Key, Memory, MemoryConfig, Rate, Taken, Tick};

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

    // The test can fail: the first cells do allocate.
    let fresh = Memory::new(MemoryConfig { open_slots: 16, seed: (1, 2) });
    let region = Region::new(ALLOCATOR);
    assert_eq!(fresh.take(configured, rate, 1, Tick(0)), Taken::Yes);
    assert_ne!(region.change().allocations, 0);
}
