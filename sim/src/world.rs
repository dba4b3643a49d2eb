//! A model server of some places, under one policy, event by event. Time is injected: what decides is the code that ships.
//!
//! The server runs each request for as long as it costs, to its end, also one whose client has left: what is done too late
//! is wasted. Only the queue of `fair` policies knows of deadlines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use tollgate_limit::{
    Applicant, Bill, Charge, FairConfig, FairQueue, Granted, Inflight, InflightConfig, Key, Ledger as _, Limit, Memory,
    MemoryConfig, Priority, Ran, Rate, Reservation, Tick,
};

use crate::figures::Fate;
use crate::lesson::{Foreseen, Lesson};
use crate::trace::{Request, Trace};

/// Nobody waits in front of a server without a queue of ours but in its own, which holds so many.
const OWN_QUEUE: usize = 2_000;
/// What happens before this is long ago.
const BEGIN_NS: u64 = 3_600_000_000_000;

/// How requests are let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// All of them, in their order.
    None,
    /// A bucket of requests for each tenant: three times the rate of a good one.
    Count,
    /// A bucket of cost for each tenant: 1.5 times an equal share.
    Cost,
    /// The fair queue alone.
    Queue,
    /// The fair queue behind a loose bucket of cost: half of the server.
    CostAndQueue,
}

impl Policy {
    /// All of them, from nothing to everything.
    pub const ALL: [Self; 5] = [Self::None, Self::Count, Self::Cost, Self::Queue, Self::CostAndQueue];

    /// The word used in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Count => "count",
            Self::Cost => "cost",
            Self::Queue => "queue",
            Self::CostAndQueue => "cost+q",
        }
    }

    const fn is_fair(self) -> bool {
        matches!(self, Self::Queue | Self::CostAndQueue)
    }
}

/// What became of each request of a trace, which says what each is thought to cost.
#[must_use]
pub fn run(trace: &Trace, slots: u32, policy: Policy) -> Vec<Fate> {
    play(World::new(trace, slots, policy))
}

/// The same where costs are foreseen as they were learned in the run.
#[must_use]
pub fn run_learned(trace: &Trace, slots: u32, policy: Policy, lesson: &Lesson) -> Vec<Fate> {
    play(World { lesson: Some(lesson), ..World::new(trace, slots, policy) })
}

fn play(mut world: World<'_>) -> Vec<Fate> {
    while let Some(Reverse((now, _, happening))) = world.agenda.pop() {
        match happening {
            Happening::Comes(number) => world.comes(number, now),
            Happening::Ends(number) => world.ends(number, now),
        }
    }
    world.fates()
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Happening {
    Comes(usize),
    Ends(usize),
}

struct World<'a> {
    trace: &'a Trace,
    lesson: Option<&'a Lesson>,
    policy: Policy,
    slots: u32,
    agenda: BinaryHeap<Reverse<(u64, usize, Happening)>>,
    jobs: Vec<Job>,
    ledger: Memory,
    limits: Vec<Option<(Key, Limit)>>,
    own: VecDeque<usize>,
    fair: FairQueue<usize>,
    room: Inflight,
}

#[derive(Default)]
struct Job {
    foreseen: Option<Foreseen>,
    paid: Option<Reservation>,
    turn: Option<Bill>,
    ended: Option<u64>,
}

impl<'a> World<'a> {
    fn new(trace: &'a Trace, slots: u32, policy: Policy) -> Self {
        let ledger = Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (17, 42) });
        let limits = trace
            .tenants
            .iter()
            .map(|name| limit(trace, policy, slots).map(|limit| (Key::configured(ledger.hash("tenant", name)), limit)));
        let limits = limits.collect();
        let comes = trace.requests.iter().enumerate();
        let agenda = comes.map(|(number, request)| Reverse((nanos(request.at_us), number, Happening::Comes(number))));
        Self {
            trace,
            lesson: None,
            policy,
            slots,
            agenda: agenda.collect(),
            jobs: trace.requests.iter().map(|_| Job::default()).collect(),
            limits,
            ledger,
            own: VecDeque::new(),
            fair: FairQueue::new(FairConfig {
                max_entries: 4096,
                max_bytes: u64::MAX,
                weights: [64, 16, 4, 1],
                strict_critical: false,
                drain_per_sec: u64::from(slots) * 1_000_000,
                max_wait: Duration::from_secs(30),
            }),
            room: Inflight::new(InflightConfig::fixed(slots)),
        }
    }

    fn comes(&mut self, number: usize, now: u64) {
        let Some(request) = self.trace.requests.get(number).copied() else { return };
        self.jobs[number].foreseen = self.lesson.and_then(|lesson| lesson.foresee(number, request.tenant));
        if !self.pays(number, &request, now) {
            return;
        }
        if !self.policy.is_fair() {
            if self.room.count() < self.slots {
                self.begin(number, &request, now);
            } else if self.own.len() < OWN_QUEUE {
                self.own.push_back(number);
            } else {
                self.refund(number, now);
            }
            return;
        }
        let who = self.applicant(number, &request);
        let taken = if self.fair.is_empty() && self.room.fits(who.cost) {
            self.fair.pass(&who, Tick(now)).map(|()| self.begin(number, &request, now)).is_ok()
        } else {
            self.fair.enter(&who, number, Tick(now)).is_ok()
        };
        if !taken {
            self.refund(number, now);
        }
    }

    fn pays(&mut self, number: usize, request: &Request, now: u64) -> bool {
        let Some((key, limit)) = self.limits.get(request.tenant).copied().flatten() else { return true };
        // Our own guess locks nobody out: it is capped at the burst.
        let learned = self.jobs[number].foreseen.map(|foreseen| foreseen.limit_us.min(limit.most()));
        let units = if self.policy == Policy::Count { 1 } else { learned.unwrap_or(request.foreseen_us) };
        let charges = [Charge::new(key, limit, units)];
        let Granted::Yes { over } = self.ledger.take_all(&charges, Tick(now)) else { return false };
        self.jobs[number].paid = Some(Reservation::of(&charges, over));
        true
    }

    fn begin(&mut self, number: usize, request: &Request, now: u64) {
        self.room.enter(self.mean_us(number, request));
        self.agenda.push(Reverse((now + request.cost_us * 1_000, number, Happening::Ends(number))));
    }

    fn ends(&mut self, number: usize, now: u64) {
        let Some(request) = self.trace.requests.get(number).copied() else { return };
        self.room.leave(self.mean_us(number, &request), Ran::default());
        if let (Some(lesson), Some(foreseen)) = (self.lesson, self.jobs[number].foreseen) {
            lesson.learn(number, &request, foreseen, now);
        }
        let job = &mut self.jobs[number];
        job.ended = Some(now);
        if let Some(paid) = job.paid.take() {
            let units = if self.policy == Policy::Count { 1 } else { request.cost_us };
            self.ledger.settle(paid, units, Tick(now));
        }
        if !self.policy.is_fair() {
            if let Some(next) = self.own.pop_front()
                && let Some(request) = self.trace.requests.get(next).copied()
            {
                self.begin(next, &request, now);
            }
            return;
        }
        match self.jobs[number].turn {
            Some(bill) => self.fair.done(&bill, request.cost_us, Tick(now)),
            None => self.fair.passed(&self.applicant(number, &request), request.cost_us, Tick(now)),
        }
        let mut dropped = Vec::new();
        loop {
            let room = self.room;
            let Some(started) = self.fair.next_if(Tick(now), |cost| room.fits(cost), &mut dropped) else { break };
            self.jobs[started.what].turn = Some(started.bill);
            if let Some(request) = self.trace.requests.get(started.what).copied() {
                self.begin(started.what, &request, now);
            }
        }
        for dropped in dropped {
            self.refund(dropped.what, now);
        }
    }

    fn refund(&mut self, number: usize, now: u64) {
        if let Some(paid) = self.jobs[number].paid.take() {
            self.ledger.refund(paid, Tick(now));
        }
    }

    /// What the queue reckons with.
    fn mean_us(&self, number: usize, request: &Request) -> u64 {
        let foreseen = self.jobs.get(number).and_then(|job| job.foreseen);
        foreseen.map_or(request.foreseen_us, |foreseen| foreseen.mean_us)
    }

    fn applicant(&self, number: usize, request: &Request) -> Applicant {
        Applicant {
            tenant: request.tenant as u64 + 1,
            weight: 1,
            key: request.tenant as u64 + 1,
            priority: Priority::Normal,
            cost: self.mean_us(number, request),
            bytes: 0,
            deadline: Tick(nanos(request.at_us + request.deadline_us)),
        }
    }

    fn fates(&self) -> Vec<Fate> {
        let all = self.trace.requests.iter().zip(&self.jobs);
        let end = self.trace.requests.last().map_or(0, |request| request.at_us);
        all.map(|(request, job)| {
            let took_us = job.ended.map(|ended| (ended - nanos(request.at_us)) / 1_000);
            // What ends after everything is over would make a share of it more than all.
            let counts = took_us.is_some_and(|took| request.at_us + took <= end);
            Fate {
                tenant: request.tenant,
                floods: self.trace.floods(request.tenant),
                cost_us: if counts || took_us.is_none() { request.cost_us } else { 0 },
                took_us,
                in_time: counts && took_us.is_some_and(|took| took <= request.deadline_us),
            }
        })
        .collect()
    }
}

/// The bucket of each tenant.
fn limit(trace: &Trace, policy: Policy, slots: u32) -> Option<Limit> {
    let tenants = trace.tenants.len().max(1) as f64;
    let capacity = f64::from(slots) * 1e6;
    let seconds = trace.requests.last().map_or(1.0, |request| request.at_us as f64 / 1e6).max(1e-3);
    let good = trace.tenants.iter().enumerate().filter(|(tenant, _)| !trace.floods(*tenant)).count().max(1);
    let theirs = trace.requests.iter().filter(|request| !trace.floods(request.tenant)).count();
    let per_sec = theirs as f64 / good as f64 / seconds;
    let (burst, refill) = match policy {
        Policy::None | Policy::Queue => return None,
        Policy::Count => (6.0 * per_sec, 3.0 * per_sec),
        Policy::Cost => (3.0 * capacity / tenants, 1.5 * capacity / tenants),
        Policy::CostAndQueue => (capacity, 0.5 * capacity),
    };
    // As `debt: burst` in a configuration, which is what it is by default.
    let units = |units: f64| (units.round() as u64).max(1);
    Rate::new(units(burst), units(refill), units(burst)).map(Limit::Rate)
}

const fn nanos(micros: u64) -> u64 {
    BEGIN_NS + micros * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::lesson::Subject;
    use crate::trace::Scene;

    fn figures(scene: Scene, policy: Policy) -> Figures {
        let fates = run(&scene.play(), scene.slots, policy);
        Figures::of(&fates, f64::from(scene.slots) * scene.seconds * 1e6)
    }

    const SCENE: Scene = Scene {
        slots: 8,
        seconds: 30.0,
        good: 9,
        good_load: 0.6,
        good_cost: 0.1,
        flood: 0.0,
        flood_cost: 2.0,
        deadline: 2.0,
        sigma: 0.5,
        seed: 3,
    };

    #[test]
    fn without_a_flood_nothing_is_lost_whatever_the_policy() {
        for policy in Policy::ALL {
            let figures = figures(SCENE, policy);
            assert!(figures.in_time > 0.99 && figures.p99 < 0.7, "{policy:?} {figures:?}");
        }
    }

    #[test]
    fn a_flood_of_dear_requests_passes_buckets_of_requests_and_not_the_queue() {
        let flood = Scene { flood: 10.0, ..SCENE };
        let (none, count, both) =
            (figures(flood, Policy::None), figures(flood, Policy::Count), figures(flood, Policy::CostAndQueue));
        assert!(none.in_time < 0.1 && count.in_time < 0.1, "{none:?} {count:?}");
        assert!(both.in_time > 0.985 && both.goodput > 0.8 && both.jain > 0.98, "{both:?}");
    }

    #[test]
    fn learned_costs_protect_good_tenants_as_told_ones_do() {
        let flood = Scene { flood: 10.0, ..SCENE };
        let trace = flood.play();
        for subject in [Subject::Tensors, Subject::Chats] {
            let lesson = Lesson::new(&trace, subject);
            let fates = run_learned(&trace, flood.slots, Policy::CostAndQueue, &lesson);
            let figures = Figures::of(&fates, f64::from(flood.slots) * flood.seconds * 1e6);
            // Nobody foresees how long an answer becomes: what ends too late is found out when it does.
            let goodput = if subject == Subject::Chats { 0.5 } else { 0.75 };
            assert!(
                figures.in_time > 0.93 && figures.goodput > goodput && figures.jain > 0.95,
                "{subject:?} {figures:?}"
            );
        }
    }

    #[test]
    fn everything_that_began_ends_and_what_was_reserved_comes_back() {
        let trace = Scene { flood: 2.0, seconds: 10.0, ..SCENE }.play();
        for policy in Policy::ALL {
            let mut world = World::new(&trace, 8, policy);
            while let Some(Reverse((now, _, happening))) = world.agenda.pop() {
                match happening {
                    Happening::Comes(number) => world.comes(number, now),
                    Happening::Ends(number) => world.ends(number, now),
                }
            }
            assert_eq!((world.room.count(), world.room.cost(), world.fair.len()), (0, 0, 0), "{policy:?}");
            assert!(world.jobs.iter().all(|job| job.paid.is_none()), "{policy:?}");
        }
    }
}
