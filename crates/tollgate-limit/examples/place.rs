//! What a place costs that is free: queue and limiter together, nanoseconds for coming and going, and what a turn in a full
//! queue costs. `cargo run --release -p tollgate-limit --example place`.
#![expect(clippy::print_stdout, reason = "an example")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tollgate_limit::{Applicant, FairConfig, FairQueue, Inflight, InflightConfig, Priority, Ran, Tick};

const TURNS: u32 = 2_000_000;

fn main() {
    let fair = FairQueue::<u64>::new(FairConfig {
        max_entries: 4096,
        max_bytes: 1 << 30,
        weights: [64, 16, 4, 1],
        strict_critical: false,
        drain_per_sec: 8_000_000,
        max_wait: Duration::from_secs(30),
    });
    let state = Mutex::new((fair, Inflight::new(InflightConfig::fixed(8))));
    let who = |tenant| Applicant {
        tenant,
        weight: 1,
        key: tenant,
        priority: Priority::Normal,
        cost: 1_000,
        bytes: 100,
        deadline: Tick(u64::MAX),
    };
    let began = Instant::now();
    for turn in 0..TURNS {
        let who = who(u64::from(turn % 9));
        {
            let (fair, room) = &mut *state.lock();
            if fair.is_empty() && room.fits(who.cost) {
                black_box(fair.pass(&who, Tick(u64::from(turn)))).unwrap_or(());
                room.enter(who.cost);
            }
        }
        let (fair, room) = &mut *state.lock();
        room.leave(who.cost, Ran::default());
        fair.passed(&who, 1_000, Tick(u64::from(turn)));
    }
    println!("a free place, there and back: {:.0} ns", began.elapsed().as_nanos() as f64 / f64::from(TURNS));

    let (fair, _) = &mut *state.lock();
    for turn in 0..1_000 {
        let _ = fair.enter(&who(turn % 9), turn, Tick(0));
    }
    let mut dropped = Vec::new();
    let began = Instant::now();
    for turn in 0..u64::from(TURNS / 10) {
        if let Some(started) = fair.next(Tick(0), &mut dropped) {
            fair.done(&started.bill, 900, Tick(0));
        }
        let _ = fair.enter(&who(turn % 9), turn, Tick(0));
    }
    println!("a turn in a line of {}: {:.0} ns", fair.len(), began.elapsed().as_nanos() as f64 / f64::from(TURNS / 10));
}
