//! What is measured. All contestants of a scene see the same keys in the same order, and are given the time.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use stats_alloc::Region;
use tollgate_limit::{
    Calendar, Charge, Every, Granted, Key, Ledger, Memory, MemoryConfig, Moment, Rate, Reservation, Taken, Tick,
    Window, hash_key,
};

use crate::ALLOCATOR;
use crate::rounds::{Contestant, Lane, Stopwatch, interleave};

/// Decisions of one contestant in one round: enough that what the contestant before left in the cache matters little.
const DECISIONS: usize = 1 << 22;

/// The same for one hot key, whose bucket is not to be emptied.
const HOT_DECISIONS: usize = 1 << 20;

/// Decisions between two steps of time, and the step: real traffic is slower, so every key stays live throughout.
const BATCH: usize = 1024;
const STEP: Duration = Duration::from_nanos(100);

/// Noon of 20 November 2026.
const NOON_MS: u64 = 1_795_176_000_000;

/// The name of the lane that has a bar.
pub(crate) const FIVE_LEVELS: &str = "five levels, 10 % rolled back";

const SEED: (u64, u64) = (0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
const LOAD: f64 = 0.7;

type RivalTime = <FakeRelativeClock as Clock>::Instant;
type Rival = RateLimiter<u64, DashMapStateStore<u64>, FakeRelativeClock, NoOpMiddleware<RivalTime>>;

/// Uniformly drawn keys, all of them live.
pub(crate) struct Uniform {
    pub(crate) keys: usize,
    /// Our table with the hash given; with the hash computed; the rival.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) evictions: u64,
    pub(crate) bytes_per_key: f64,
    pub(crate) bytes_per_slot: f64,
    pub(crate) rival_bytes_per_key: f64,
}

pub(crate) fn uniform(keys: usize) -> Uniform {
    let rate = rate();
    let stream: Vec<u64> = Draw(7).take(DECISIONS).map(|bits| name(bits % keys as u64)).collect();
    let hashes: Vec<u64> = stream.iter().map(|&key| hash_key(SEED, 1_u64, key)).collect();

    let region = Region::new(ALLOCATOR);
    let ours = memory(slots_for(keys, LOAD));
    for i in 0..keys as u64 {
        assert_eq!(ours.take(Key::open(hash_key(SEED, 1_u64, name(i))), rate, 1, Tick(0)), Taken::Yes);
    }
    let our_bytes = held(&region);
    let region = Region::new(ALLOCATOR);
    let clock = FakeRelativeClock::default();
    let rival = rival(&clock);
    for i in 0..keys as u64 {
        assert!(rival.check_key(&name(i)).is_ok());
    }
    let rival_bytes = held(&region);

    let evictions = ours.evictions();
    let mut lanes = interleave(&mut [
        Contestant {
            name: "tollgate",
            by: Stopwatch::Thread,
            run: Box::new(|round| {
                each_batch(&hashes, round, |hash, now| ours.take(Key::open(hash), rate, 1, now) == Taken::Yes)
            }),
        },
        Contestant {
            name: "tollgate and hash",
            by: Stopwatch::Thread,
            run: Box::new(|round| {
                each_batch(&stream, round, |key, now| {
                    ours.take(Key::open(hash_key(SEED, 1_u64, key)), rate, 1, now) == Taken::Yes
                })
            }),
        },
        Contestant {
            name: "governor",
            by: Stopwatch::Thread,
            run: Box::new(|_| each_rival_batch(&stream, &rival, &clock)),
        },
    ]);
    lanes.shrink_to_fit();
    Uniform {
        keys,
        lanes,
        evictions,
        bytes_per_key: our_bytes / keys as f64,
        bytes_per_slot: ours.bytes() as f64 / ours.open_slots() as f64,
        rival_bytes_per_key: rival_bytes / keys as f64,
    }
}

/// One key, over and over: a configured cell, the table, the rival.
pub(crate) fn hot_key() -> Vec<Lane> {
    let rate = rate();
    let keys = vec![hash_key(SEED, 1_u64, 1_u64); HOT_DECISIONS];
    let ours = memory(1 << 16);
    let clock = FakeRelativeClock::default();
    let rival = rival(&clock);
    let take = |key: Key, now| ours.take(key, rate, 1, now) == Taken::Yes;
    let two_threads = |decide: &(dyn Fn() -> usize + Sync)| -> usize {
        std::thread::scope(|scope| {
            let other = scope.spawn(decide);
            decide();
            other.join().expect("the other thread counts too")
        })
    };
    interleave(&mut [
        Contestant {
            name: "configured cell",
            by: Stopwatch::Thread,
            run: Box::new(|round| each_batch(&keys, round, |hash, now| take(Key::configured(hash), now))),
        },
        Contestant {
            name: "table",
            by: Stopwatch::Thread,
            run: Box::new(|round| each_batch(&keys, round, |hash, now| take(Key::open(hash), now))),
        },
        Contestant {
            name: "governor",
            by: Stopwatch::Thread,
            run: Box::new(|_| each_rival_batch(&keys, &rival, &clock)),
        },
        Contestant {
            name: "configured cell, 2 threads",
            by: Stopwatch::Wall,
            run: Box::new(|round| {
                two_threads(&|| each_batch(&keys, round, |hash, now| take(Key::configured(hash), now)))
            }),
        },
        Contestant {
            name: "governor, 2 threads",
            by: Stopwatch::Wall,
            run: Box::new(|_| two_threads(&|| each_rival_batch(&keys, &rival, &clock))),
        },
    ])
}

/// Tenant, key, model, address, global: all or nothing, with every tenth group refused by the last level.
pub(crate) fn five_levels(addresses: usize) -> Vec<Lane> {
    let wide = rate();
    let spent = Rate::new(1, 1, 0).expect("in range");
    let ours = memory(slots_for(addresses, LOAD));
    let mut draw = Draw(11);
    let mut hash = |level: u64, population: u64| hash_key(SEED, level, draw.next().unwrap_or(0) % population);
    // What a caller has at hand: the hashes of its identities. The charges are made of them, as layers do.
    let callers: Vec<[u64; 4]> =
        (0..DECISIONS / 8).map(|_| [hash(1, 1_000), hash(2, 10_000), hash(3, 10), hash(4, addresses as u64)]).collect();
    let globals = [spent, wide].map(|rate| (Key::configured(hash_key(SEED, 5_u64, rate.burst())), rate));
    for i in 0..addresses as u64 {
        assert_eq!(ours.take(Key::open(hash_key(SEED, 4_u64, i)), wide, 1, Tick(0)), Taken::Yes);
    }
    interleave(&mut [Contestant {
        name: FIVE_LEVELS,
        by: Stopwatch::Thread,
        run: Box::new(|round| {
            let mut now = start(round);
            let mut refused = 0;
            for batch in callers.chunks(BATCH) {
                now.0 += nanos(STEP);
                for (i, &[tenant, person, model, address]) in batch.iter().enumerate() {
                    let (global, last) = globals[usize::from(i % 10 != 0)];
                    let group = [
                        Charge::new(Key::configured(tenant), wide, 1),
                        Charge::new(Key::configured(person), wide, 1),
                        Charge::new(Key::configured(model), wide, 1),
                        Charge::new(Key::open(address), wide, 1),
                        Charge::new(global, last, 1),
                    ];
                    refused += usize::from(!black_box(ours.take_all(&group, now)).is_yes());
                }
            }
            assert!(refused * 11 > callers.len(), "the last level refuses every tenth");
            callers.len()
        }),
    }])
}

/// What a decision on a quota or a window takes: an account under a short lock.
pub(crate) fn accounts() -> Vec<Lane> {
    let calendar = Calendar::new(Every::Month, "Europe/Berlin").expect("a time zone");
    let window = Window::new(u64::MAX, Duration::from_mins(1)).expect("in range");
    let ours = memory(1 << 10);
    let keys: Vec<Key> = Draw(13).take(HOT_DECISIONS).map(|bits| Key::configured(name(bits % 10_000))).collect();
    let each = |round: usize, decide: &dyn Fn(Key, Moment) -> bool| {
        let mut now = start(round);
        for batch in keys.chunks(BATCH) {
            now.0 += nanos(STEP);
            let at = Moment { now, unix_ms: NOON_MS + now.0 / 1_000_000 };
            assert!(batch.iter().all(|&key| decide(key, at)), "nothing is refused here");
        }
        keys.len()
    };
    interleave(&mut [
        Contestant {
            name: "calendar quota, 10 k tenants",
            by: Stopwatch::Thread,
            run: Box::new(|round| {
                each(round, &|key, at| ours.take(key, calendar.quota(u64::MAX, at), 1, at.now) == Taken::Yes)
            }),
        },
        Contestant {
            name: "sliding window, 10 k keys",
            by: Stopwatch::Thread,
            run: Box::new(|round| each(round, &|key, at| ours.take(key, window.at(at.now), 1, at.now) == Taken::Yes)),
        },
    ])
}

/// 500 requests at one instant on one budget that holds 129 of them: what was reserved, and after the runs what was used, by
/// what the budget holds.
pub(crate) struct Overshoot {
    pub(crate) reserved: f64,
    pub(crate) settled: f64,
}

pub(crate) fn overshoot() -> Overshoot {
    const BUDGET: u64 = 10_000;
    const COST: u64 = 77;
    let mut worst = Overshoot { reserved: 0.0, settled: 0.0 };
    for round in 0..20 {
        let (ours, key) = (memory(1 << 10), Key::configured(hash_key(SEED, round, 1_u64)));
        let rate = Rate::new(BUDGET, 1, BUDGET).expect("in range");
        let start = Barrier::new(500);
        let (admitted, settled) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for i in 0..500_u64 {
                let (start, ours, admitted, settled) = (&start, &ours, &admitted, &settled);
                scope.spawn(move || {
                    let charges = [Charge::new(key, rate, COST)];
                    start.wait();
                    let granted = ours.take_all(&charges, Tick(1));
                    // All hold what they reserved, and only then are done.
                    start.wait();
                    let Granted::Yes { over } = granted else { return };
                    // Each run costs up to a tenth more or less than was reserved.
                    let real = COST - 7 + i % 15;
                    admitted.fetch_add(COST, Ordering::Relaxed);
                    settled.fetch_add(real, Ordering::Relaxed);
                    ours.settle(Reservation::of(&charges, over), real, Tick(1));
                });
            }
        });
        let share = |units: AtomicU64| units.into_inner() as f64 / BUDGET as f64;
        worst.reserved = worst.reserved.max(share(admitted));
        worst.settled = worst.settled.max(share(settled));
    }
    worst
}

/// New keys until the table is at `load`: how long an insert takes, and how many live keys gave way.
pub(crate) struct Fill {
    pub(crate) load: f64,
    pub(crate) keys: usize,
    pub(crate) evictions: u64,
}

pub(crate) fn fill(keys: usize, load: f64) -> Fill {
    let ours = memory(slots_for(keys, load));
    for i in 0..keys as u64 {
        assert_eq!(ours.take(Key::open(hash_key(SEED, 1_u64, i)), rate(), 1, Tick(0)), Taken::Yes);
    }
    Fill { load, keys, evictions: ours.evictions() }
}

fn each_batch(keys: &[u64], round: usize, decide: impl Fn(u64, Tick) -> bool) -> usize {
    let mut now = start(round);
    let mut yes = 0;
    for batch in keys.chunks(BATCH) {
        now.0 += nanos(STEP);
        yes += batch.iter().filter(|&&key| decide(key, now)).count();
    }
    assert_eq!(yes, keys.len(), "a bench of refusals would measure something else");
    keys.len()
}

fn each_rival_batch(keys: &[u64], rival: &Rival, clock: &FakeRelativeClock) -> usize {
    let mut yes = 0;
    for batch in keys.chunks(BATCH) {
        clock.advance(STEP);
        yes += batch.iter().filter(|&key| rival.check_key(key).is_ok()).count();
    }
    assert_eq!(yes, keys.len(), "a bench of refusals would measure something else");
    keys.len()
}

/// A rate under which nothing is refused, and no key that was charged once expires within a run.
fn rate() -> Rate {
    Rate::new(100_000_000, 100, 0).expect("in range")
}

fn rival(clock: &FakeRelativeClock) -> Rival {
    let burst = NonZeroU32::new(u32::MAX).expect("not zero");
    let quota = Quota::per_second(NonZeroU32::new(100).expect("not zero")).allow_burst(burst);
    RateLimiter::new(quota, DashMapStateStore::default(), clock.clone())
}

fn memory(open_slots: usize) -> Memory {
    Memory::new(MemoryConfig { open_slots, seed: SEED })
}

fn slots_for(keys: usize, load: f64) -> usize {
    (keys as f64 / load).ceil() as usize
}

fn start(round: usize) -> Tick {
    Tick(round as u64 * nanos(STEP) * (DECISIONS / BATCH) as u64)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a short span")
}

fn held(region: &Region<'_, std::alloc::System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 + change.bytes_reallocated as f64 - change.bytes_deallocated as f64
}

/// Spreads indices over all 64 bits, as identities are.
fn name(index: u64) -> u64 {
    Draw(index).next().unwrap_or(index)
}

/// SplitMix64.
struct Draw(u64);

impl Iterator for Draw {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(z ^ (z >> 31))
    }
}
