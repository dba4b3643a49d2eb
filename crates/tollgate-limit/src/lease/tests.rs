//! Several nodes and one store in simulated time, beside one exact bucket that everybody shares.

mod late;

use proptest::prelude::*;

use super::*;
use crate::central::Central;
use crate::{Calendar, Every, Moment};

const MS: u64 = 1_000_000;

const AWAY: Without = Without::Away { since: Tick(0) };

const TERMS: Terms = Terms { nodes: 2, lasts: LeaseTime::Auto, epoch: 0 };

/// Nodes that share one balance of one store; answers take `lag_ns`.
struct World {
    limit: Limit,
    terms: Terms,
    central: Central,
    nodes: Vec<Node>,
    lag_ns: u64,
    trips: u64,
    /// The store's clock, which does not go back when a request that waited is followed by one that came before.
    clock: u64,
}

#[derive(Clone, Default)]
struct Node {
    lease: Lease,
    /// When the answer to what was asked is there, and what it is.
    coming: Option<(u64, (u64, Standing))>,
}

impl World {
    fn new(limit: impl Into<Limit>, nodes: u32, lasts: LeaseTime) -> Self {
        let terms = Terms { nodes, lasts, epoch: 0 };
        let nodes = vec![Node::default(); nodes as usize];
        Self { limit: limit.into(), terms, central: Central::default(), nodes, lag_ns: 0, trips: 0, clock: 0 }
    }

    /// A request of `units` at a node, which waits for the store as long as it takes; whether it was admitted.
    fn request(&mut self, at: usize, units: u64, now: u64) -> bool {
        self.arrive(at, now);
        let (mut now, limit, terms) = (now, self.limit, self.terms);
        loop {
            let spent = self.nodes[at].lease.spend(&limit, units, Tick(now));
            let need = if spent == Spent::Ask { units } else { 0 };
            if let Some(demand) = self.nodes[at].lease.ask(&limit, &terms, need, Tick(now)) {
                self.trips += 1;
                self.clock = self.clock.max(now);
                let answer = self.central.apply(&demand, self.clock / 1000);
                self.nodes[at].coming = Some((now + self.lag_ns, answer));
            }
            match spent {
                Spent::Yes => return true,
                Spent::No { .. } => return false,
                Spent::Ask => now = now.max(self.nodes[at].coming.expect("it was asked").0),
            }
            self.arrive(at, now);
        }
    }

    fn arrive(&mut self, at: usize, now: u64) {
        let node = &mut self.nodes[at];
        if let Some((when, answer)) = node.coming
            && when <= now
        {
            node.coming = None;
            node.lease.answered(&self.limit, &self.terms, answer, Tick(now));
        }
    }

    /// Tells the store what it has yet to be told.
    fn flush(&mut self, now: u64, all: bool) {
        for node in &mut self.nodes {
            if let Some(demand) = node.lease.due(&self.limit, &self.terms, (Tick(now), all)) {
                self.clock = self.clock.max(now);
                let (_, standing) = self.central.apply(&demand, self.clock / 1000);
                node.lease.told(&self.limit, &self.terms, (&demand, standing), Tick(now));
            }
            if let Some(demand) = node.lease.pay(&self.limit, &self.terms, Tick(now)) {
                self.clock = self.clock.max(now);
                let answer = self.central.apply(&demand, self.clock / 1000);
                node.lease.answered(&self.limit, &self.terms, answer, Tick(now));
            }
        }
    }
}

fn rate(burst: u64, refill: u64, debt: u64) -> Rate {
    Rate::new(burst, refill, debt).expect("in range")
}

/// Units admitted in `secs` of saturating load, of requests of `units`, `share` percent of them at node 0.
fn saturated(world: &mut World, units: u64, secs: u64, share: u64) -> u64 {
    let mut admitted = 0;
    for step in 0..secs * 20_000 {
        let now = step * 50_000;
        let others = world.nodes.len() as u64 - 1;
        let at = if others == 0 || step * 7 % 100 < share { 0 } else { 1 + step % others };
        if world.request(at as usize, units, now) {
            admitted += units;
        }
        if step % 100 == 0 {
            world.flush(now, false);
        }
    }
    admitted
}

#[test]
fn under_ten_times_the_load_nodes_together_admit_what_one_would() {
    for nodes in [1, 2, 4, 16] {
        for (units, refill, burst) in [(1, 2_000, 400), (1_000, 1_000_000, 200_000), (7_000, 4_000_000, 4_000_000)] {
            for lasts in [LeaseTime::Auto, LeaseTime::Fixed(Duration::from_millis(200))] {
                for share in [50, 85] {
                    let mut world = World::new(rate(burst, refill, 0), nodes, lasts);
                    world.lag_ns = 100_000;
                    let secs = 10;
                    let admitted = saturated(&mut world, units, secs, share);
                    let allowed = burst + refill * secs;
                    assert!(admitted <= allowed, "{admitted} of {allowed}, {nodes} nodes");
                    let ratio = admitted as f64 / allowed as f64;
                    assert!(ratio >= 0.97, "{ratio}, {nodes} nodes, {units} units, {lasts:?}, {share} %");
                }
            }
        }
    }
}

#[test]
fn nearly_all_requests_are_admitted_without_a_round_trip_while_a_chunk_is_worth_twenty() {
    let mut world = World::new(rate(100_000, 20_000, 0), 2, LeaseTime::Auto);
    world.lag_ns = 100_000;
    let admitted = saturated(&mut world, 1, 5, 50);
    assert!(admitted >= 99_000, "{admitted}");
    assert!(world.trips * 20 <= admitted, "{} trips for {admitted}", world.trips);
    assert!(world.nodes[0].lease.chunk(&world.limit, &world.terms) >= 20);
}

#[test]
fn where_a_lease_does_not_pay_each_charge_is_taken_by_itself() {
    // Two a second: a second of it is a single charge.
    let mut world = World::new(rate(10, 2, 0), 2, LeaseTime::Auto);
    assert!(world.request(0, 1, 0));
    assert_eq!(world.nodes[0].lease.balance(), 0);
    assert_eq!(world.nodes[0].lease.chunk(&world.limit, &world.terms), 0);
    assert!((0..9).all(|i| world.request(i % 2, 1, 0)));
    assert!(!world.request(0, 1, 0) && !world.request(1, 1, 0));
}

#[test]
fn a_refusal_is_kept_for_a_moment_and_names_the_true_wait() {
    let mut world = World::new(rate(100, 100, 0), 2, LeaseTime::Auto);
    let limit = world.limit;
    assert!(world.request(0, 100, 0));
    assert!(!world.request(0, 10, 0));
    let trips = world.trips;
    assert!(!world.request(0, 10, 49 * MS));
    assert_eq!(world.trips, trips, "the store is not asked again");
    let Spent::No { wait } = world.nodes[0].lease.spend(&limit, 10, Tick(0)) else { panic!("it is spent") };
    assert_eq!(wait, Duration::from_millis(100));
    assert!(!world.request(0, 10, 51 * MS));
    assert_eq!(world.trips, trips + 1);
    assert!(world.request(0, 10, 110 * MS));
}

#[test]
fn an_unused_lease_goes_back_after_a_second_and_all_of_it_at_the_end() {
    for (at, all) in [(1_000 * MS, false), (5 * MS, true)] {
        let mut world = World::new(rate(1_000, 1_000, 0), 1, LeaseTime::Auto);
        assert!(world.request(0, 1, 0));
        assert!(world.nodes[0].lease.balance() > 0);
        world.flush(4 * MS, false);
        assert!(world.nodes[0].lease.balance() > 0, "it is in use");
        world.flush(at, all);
        assert_eq!(world.nodes[0].lease.balance(), 0);
        let probe =
            Demand { act: Act::Charge, want: 1_000_000, least: 1, bound: Bound::of(&world.limit, Tick(0)), floor: 0 };
        let free = world.central.apply(&probe, at / 1000).0;
        assert!(free >= 999_000, "all but one unit is there again: {free}");
    }
}

#[test]
fn what_a_run_did_not_need_goes_to_the_lease_and_what_it_needed_more_is_debited() {
    let limit = Limit::from(rate(1_000_000, 1_000_000, 1_000_000));
    let mut world = World::new(rate(1_000_000, 1_000_000, 1_000_000), 2, LeaseTime::Auto);
    assert!(world.request(0, 1_000, 0));
    let before = world.nodes[0].lease.balance();
    world.nodes[0].lease.give_back(&limit, &TERMS, 400);
    assert_eq!(world.nodes[0].lease.balance(), before + 400);
    world.nodes[0].lease.debit(before);
    assert_eq!(world.nodes[0].lease.balance(), 400);
    world.nodes[0].lease.debit(1_400);
    let due = world.nodes[0].lease.due(&limit, &TERMS, (Tick(0), false)).expect("a debit");
    assert_eq!((due.act, due.want), (Act::Debit, 1_000));
    assert_eq!(world.nodes[0].lease.due(&limit, &TERMS, (Tick(0), false)), None, "it is told once");
    world.nodes[0].lease.untold(&limit, &due);
    assert_eq!(world.nodes[0].lease.due(&limit, &TERMS, (Tick(0), false)), Some(due), "and again if it was not heard");
}

#[test]
fn a_share_goes_on_from_what_was_known_and_is_merged_when_the_store_is_back() {
    let limit = Limit::from(rate(1_000, 1_000, 1_000));
    let mut world = World::new(rate(1_000, 1_000, 1_000), 2, LeaseTime::Auto);
    // Spent to the last unit; then the store goes, and forgets everything.
    while (0..2).any(|at| world.request(at, 10, 0)) {}
    let taken = |lease: &mut Lease, ms: u64| lease.share(&limit, &TERMS, 10, (Tick(ms * MS), AWAY)) == Taken::Yes;
    let mut admitted = [0_u64; 2];
    for ms in 0..2_000 {
        for (node, admitted) in world.nodes.iter_mut().zip(&mut admitted) {
            *admitted += 10 * u64::from(taken(&mut node.lease, ms));
        }
    }
    // 500 a second each, and no second burst.
    assert!(admitted.iter().all(|units| (950..=1_020).contains(units)), "{admitted:?}");
    world.central = Central::default();
    world.terms.epoch += 1;
    world.flush(2_000 * MS, false);
    let probe = Demand { act: Act::Charge, want: 1_000_000, least: 1, bound: Bound::of(&limit, Tick(0)), floor: 0 };
    let (free, _) = world.central.apply(&probe, 2_000_000);
    assert!(free <= 30_000, "{free} µs are free although both shares are spent");
}

#[test]
fn a_store_that_forgot_everything_is_told_what_was_known() {
    let limit = Limit::from(rate(1_000, 100, 0));
    let mut world = World::new(rate(1_000, 100, 0), 2, LeaseTime::Auto);
    while world.request(0, 10, 0) {}
    world.central = Central::default();
    world.terms.epoch += 1;
    assert!(!world.request(0, 10, 60 * MS), "the first question carries it");
    let view = world.nodes[0].lease.level(&limit, Tick(60 * MS));
    assert!(view.remaining <= 10, "{view:?}");
}

#[test]
fn late_answers_are_taken_from_the_lease_that_comes() {
    let limit = Limit::from(rate(10_000, 1_000, 0));
    let mut lease = Lease::default();
    assert_eq!(lease.spend(&limit, 10, Tick(0)), Spent::Ask);
    let demand = lease.ask(&limit, &TERMS, 10, Tick(0)).expect("it is asked");
    assert_eq!(lease.share(&limit, &TERMS, 10, (Tick(5 * MS), Without::Late)), Taken::Yes);
    lease.answered(&limit, &TERMS, (demand.want, Standing(demand.want)), Tick(9 * MS));
    assert_eq!(lease.balance(), in_units(&limit, demand.want) - 10);
}

#[test]
fn a_quota_is_leased_in_small_parts_and_counted_to_its_last_unit() {
    let calendar = Calendar::new(Every::Day, "UTC").expect("a zone");
    let quota = calendar.quota(10_000, Moment { now: Tick(0), unix_ms: 1_795_176_000_000 });
    let mut world = World::new(quota, 4, LeaseTime::Auto);
    let admitted: u64 = (0..20_000).map(|i| u64::from(world.request(i % 4, 1, i as u64 * 3 * MS))).sum();
    assert_eq!(admitted, 10_000);
    assert!(world.trips < 4_000, "{}", world.trips);
}

#[test]
fn a_quota_is_counted_by_share_while_the_store_is_away_and_added_after() {
    let calendar = Calendar::new(Every::Day, "UTC").expect("a zone");
    let quota = calendar.quota(1_000, Moment { now: Tick(0), unix_ms: 1_795_176_000_000 });
    let limit = Limit::from(quota);
    let mut world = World::new(quota, 2, LeaseTime::Auto);
    assert!(world.request(0, 100, 0));
    let admitted = (0..100).filter(|_| world.nodes[0].lease.share(&limit, &TERMS, 10, (Tick(0), AWAY)) == Taken::Yes);
    assert_eq!(admitted.count(), 45, "half of the 900 that were left");
    world.flush(0, false);
    assert_eq!(world.central, Central::default().clone_with(550));
}

impl Central {
    fn clone_with(mut self, used: u64) -> Self {
        let bound = Bound::Quota { max: u64::MAX, keep_ms: 1 };
        let _ = self.apply(&Demand { act: Act::Debit, want: used, least: 0, bound, floor: 0 }, 0);
        self
    }
}

#[derive(Clone, Debug)]
enum Step {
    Flush { all: bool },
    Request { at: usize, units: u64, real: u64 },
    Wait { ns: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4_usize, 1..60_u64, 0..60_u64).prop_map(|(at, units, real)| Step::Request { at, units, real }),
        3 => (0..40 * MS).prop_map(|ns| Step::Wait { ns }),
        1 => any::<bool>().prop_map(|all| Step::Flush { all }),
        1 => (0..3_000 * MS).prop_map(|ns| Step::Wait { ns }),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens while the store is there: never more than one exact bucket allows, and what is missing is no more
    /// than what leases hold.
    #[test]
    fn connected_nodes_never_admit_more_than_one_bucket(
        steps in steps(), nodes in 1..5_u32, lag in 0..3 * MS, (burst, refill) in (60..500_u64, 50..5_000_u64),
    ) {
        let rate = rate(burst, refill, 1_000_000);
        let mut world = World::new(rate, nodes, LeaseTime::Auto);
        world.lag_ns = lag;
        let (mut now, mut net) = (1_000 * MS, 0_i128);
        let start = now;
        let mut most_over = 0_i128;
        for step in steps {
            match step {
                Step::Wait { ns } => now += ns,
                Step::Flush { all } => world.flush(now, all),
                Step::Request { at, units, real } => {
                    let at = at % nodes as usize;
                    if world.request(at, units, now) {
                        // What a run needs more is a debit: not admitted by anybody, and owed all the same.
                        let real = real.min(units);
                        world.nodes[at].lease.give_back(&world.limit, &world.terms, units - real);
                        net += i128::from(real);
                    }
                    // Round trips take time for everybody who comes after.
                    now += lag;
                }
            }
            let allowed = i128::from(burst) + i128::from(now - start) * i128::from(refill) / 1_000_000_000 + 1;
            most_over = most_over.max(net - allowed);
        }
        prop_assert!(most_over <= 0, "{most_over} units too many");
    }

    /// A single exact bucket under the same saturating load admits more by no more than what leases hold.
    #[test]
    fn what_is_missing_is_no_more_than_the_leases_hold(
        nodes in 1..6_u32, refill in 500..20_000_u64, share in 0..100_u64, ms in 50..1_000_u64,
    ) {
        let lasts = Duration::from_millis(ms);
        let mut world = World::new(rate(refill, refill, 0), nodes, LeaseTime::Fixed(lasts));
        let secs = 3;
        let admitted = saturated(&mut world, 3, secs, share);
        let allowed = (refill + refill * secs).min(secs * 20_000 * 3);
        let held = refill * ms / 1_000;
        // And a request that does not fit into what is left, on each node.
        prop_assert!(admitted + held + u64::from(nodes) * 3 + refill / 20 >= allowed, "{admitted} of {allowed}, {held} held");
        prop_assert!(admitted <= refill + refill * secs);
    }
}
