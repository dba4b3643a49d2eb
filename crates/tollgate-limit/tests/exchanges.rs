//! A hundred thousand exchanges through ledger, queue and limiter, cancelled at random points of their lives: in the end
//! nothing runs, nothing waits, nothing is reserved, and what was used is what was really done.

use std::collections::HashMap;
use std::time::Duration;

use tollgate_limit::{
    Applicant, Bill, Calendar, Charge, Every, FairConfig, FairQueue, Granted, Inflight, InflightConfig, Key,
    Ledger as _, Memory, MemoryConfig, Moment, Priority, Quota, Ran, Reservation, Tick, Ticket,
};

const EXCHANGES: usize = 100_000;
const MILLI: u64 = 1_000_000;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }
}

struct Open {
    who: Applicant,
    paid: Reservation,
    place: Place,
}

enum Place {
    Runs(Option<Bill>, Tick),
    Waits(Ticket),
}

struct House {
    ledger: Memory,
    keys: [Key; 7],
    quota: Quota,
    fair: FairQueue<usize>,
    room: Inflight,
    open: HashMap<usize, Open>,
    /// Everybody who is open, for a fair draw.
    order: Vec<usize>,
    used: [u64; 7],
    /// How lives ended.
    ends: [usize; 5],
}

impl House {
    fn new(inflight: InflightConfig) -> Self {
        let ledger = Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (3, 5) });
        let calendar = Calendar::new(Every::Month, "UTC").expect("a zone");
        let quota = calendar.quota(1 << 60, Moment { now: Tick(0), unix_ms: 1_790_000_000_000 });
        let keys = std::array::from_fn(|tenant| Key::configured(ledger.hash("tenant", tenant.to_string())));
        let fair = FairConfig {
            max_entries: 64,
            max_bytes: 1 << 16,
            weights: [64, 16, 4, 1],
            strict_critical: false,
            drain_per_sec: 8_000_000,
            max_wait: Duration::from_secs(5),
        };
        Self {
            ledger,
            keys,
            quota,
            fair: FairQueue::new(fair),
            room: Inflight::new(inflight),
            open: HashMap::new(),
            order: Vec::new(),
            used: [0; 7],
            ends: [0; 5],
        }
    }

    fn comes(&mut self, number: usize, dice: &mut Dice, now: Tick) {
        let tenant = dice.below(7);
        let priority = [Priority::Critical, Priority::High, Priority::Normal, Priority::Batch][dice.below(4) as usize];
        let cost = 1 + dice.below(400_000) * (1 + 9 * u64::from(tenant == 6));
        let deadline = Tick(now.0 + (10 + dice.below(4_000)) * MILLI);
        let key = dice.below(3);
        let who =
            Applicant { tenant, weight: 1 + tenant as u32, key, priority, cost, bytes: dice.below(4_000), deadline };
        let charges = [Charge::new(self.keys[tenant as usize], self.quota, cost)];
        let Granted::Yes { over } = self.ledger.take_all(&charges, now) else { panic!("the quota is large") };
        let paid = Reservation::of(&charges, over);
        let place = if self.fair.is_empty() && self.room.fits(cost) {
            self.fair.pass(&who, now).ok().map(|()| {
                self.room.enter(cost);
                Place::Runs(None, now)
            })
        } else {
            self.fair.enter(&who, number, now).ok().map(Place::Waits)
        };
        match place {
            Some(place) => {
                self.open.insert(number, Open { who, paid, place });
                self.order.push(number);
            }
            None => {
                self.ledger.refund(paid, now);
                self.ends[0] += 1;
            }
        }
    }

    /// One of those who are open ends, or leaves.
    fn ends(&mut self, dice: &mut Dice, now: Tick) {
        if self.order.is_empty() {
            return;
        }
        let number = self.order.swap_remove(dice.below(self.order.len() as u64) as usize);
        let Some(Open { who, paid, place }) = self.open.remove(&number) else { return };
        match place {
            Place::Waits(ticket) => {
                assert_eq!(self.fair.cancel(ticket), Some(number));
                self.ledger.refund(paid, now);
                self.ends[1] += 1;
            }
            Place::Runs(bill, began) => {
                // Whoever leaves early pays for what was done until then; whoever fails pays nothing.
                let real = match dice.below(4) {
                    0 => 0,
                    1 => dice.below(who.cost),
                    _ => who.cost / 2 + dice.below(who.cost + 1),
                };
                let took = Some(Duration::from_nanos(now.0 - began.0)).filter(|_| real > 0);
                self.room.leave(who.cost, Ran { took, alone: Some(Duration::from_micros(who.cost)) });
                match bill {
                    Some(bill) => self.fair.done(&bill, real, now),
                    None => self.fair.passed(&who, real, now),
                }
                self.ledger.settle(paid, real, now);
                self.used[who.tenant as usize] += real;
                self.ends[2] += 1;
            }
        }
        self.let_in(dice, now);
    }

    fn let_in(&mut self, dice: &mut Dice, now: Tick) {
        self.room.step(now);
        let mut dropped = Vec::new();
        loop {
            let room = self.room;
            let Some(started) = self.fair.next_if(now, |cost| room.fits(cost), &mut dropped) else { break };
            let open = self.open.get_mut(&started.what).expect("who waits is open");
            assert_eq!(started.bill.said(), open.who.cost);
            if dice.below(20) == 0 {
                // It left in that very moment.
                self.fair.undone(&started.bill);
                let open = self.open.remove(&started.what).expect("it was there");
                self.order.retain(|number| *number != started.what);
                self.ledger.refund(open.paid, now);
                self.ends[3] += 1;
                continue;
            }
            self.room.enter(started.bill.said());
            open.place = Place::Runs(Some(started.bill), now);
        }
        for dropped in dropped {
            let open = self.open.remove(&dropped.what).expect("who is dropped was open");
            self.order.retain(|number| *number != dropped.what);
            self.ledger.refund(open.paid, now);
            self.ends[4] += 1;
        }
    }

    fn check(&self) {
        let running = self.open.values().filter(|open| matches!(open.place, Place::Runs(..)));
        let (count, cost) = running.fold((0, 0), |(count, cost), open| (count + 1, cost + open.who.cost));
        assert_eq!((self.room.count(), self.room.cost()), (count, cost));
        assert_eq!(self.fair.len(), self.open.len() - count as usize);
    }
}

fn lives(inflight: InflightConfig, seed: u64) {
    let (mut house, mut dice, mut now) = (House::new(inflight), Dice(seed), Tick(0));
    for number in 0..EXCHANGES {
        now = Tick(now.0 + dice.below(40) * MILLI);
        house.comes(number, &mut dice, now);
        // Sometimes fewer end than come, and sometimes more.
        let pace = if number / 300 % 2 == 0 { 70 } else { 130 };
        (0..pace / 100 + u64::from(dice.below(100) < pace % 100)).for_each(|_| house.ends(&mut dice, now));
        if number % 997 == 0 {
            house.check();
        }
    }
    while !house.open.is_empty() {
        now = Tick(now.0 + MILLI);
        house.ends(&mut dice, now);
    }
    house.check();
    assert_eq!((house.room.count(), house.room.cost(), house.fair.len()), (0, 0, 0));
    for (key, used) in house.keys.iter().zip(house.used) {
        let left = house.ledger.peek(*key, house.quota, now).remaining;
        assert_eq!(left, (1 << 60) - used, "nothing is reserved any more");
    }
    assert!(house.ends.iter().all(|count| *count > 200), "every way to end was gone: {:?}", house.ends);
}

#[test]
fn a_hundred_thousand_exchanges_leave_nothing_behind_with_a_fixed_limit() {
    lives(InflightConfig::fixed(8), 1);
}

#[test]
fn a_hundred_thousand_exchanges_leave_nothing_behind_with_a_limit_that_moves() {
    lives(InflightConfig { initial: 4, min: 1, max: 64 }, 2);
}
