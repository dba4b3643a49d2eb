//! Shares, deadlines, shedding, and everybody leaving whenever they like.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A minute: long enough never to matter.
const PATIENT: u64 = 60 * SECOND;

fn queue() -> FairQueue<u64> {
    FairQueue::new(FairConfig {
        max_entries: 10_000,
        max_bytes: 1 << 20,
        weights: [64, 16, 4, 1],
        strict_critical: false,
        drain_per_sec: 8_000_000,
        max_wait: Duration::from_secs(60),
    })
}

fn applicant(tenant: u64, cost: u64) -> Applicant {
    Applicant {
        tenant,
        weight: 1,
        key: tenant * 100,
        priority: Priority::Normal,
        cost,
        bytes: 10,
        deadline: Tick(u64::MAX),
    }
}

fn enter(queue: &mut FairQueue<u64>, who: &Applicant, now: Tick) -> Ticket {
    queue.enter(who, who.tenant, now).expect("there is room")
}

fn next(queue: &mut FairQueue<u64>, now: Tick) -> Option<Started<u64>> {
    let mut dropped = Vec::new();
    let started = queue.next(now, &mut dropped);
    assert_eq!(dropped, []);
    started
}

/// Jain's index of shares: 1 is perfectly fair.
fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}

/// Serves `turns` requests of tenants that always have some waiting; what each was served in the end.
fn backlogged(queue: &mut FairQueue<u64>, tenants: &[Applicant], turns: usize) -> Vec<f64> {
    for who in tenants {
        (0..4).for_each(|_| _ = enter(queue, who, Tick(0)));
    }
    let mut served = vec![0.0; tenants.len()];
    for _ in 0..turns {
        let started = next(queue, Tick(0)).expect("somebody always waits");
        let place = tenants.iter().position(|who| who.tenant == started.what).expect("one of them");
        served[place] += started.bill.cost as f64;
        queue.done(&started.bill, started.bill.cost, Tick(0));
        enter(queue, &tenants[place], Tick(0));
    }
    served
}

#[test]
fn tenants_are_served_alike_whatever_their_requests_cost() {
    let tenants: Vec<_> = (1..=10).map(|i| applicant(i, 1_000 * i * i)).collect();
    let served = backlogged(&mut queue(), &tenants, 20_000);
    assert!(jain(&served) > 0.99, "{served:?}");
}

#[test]
fn two_tenants_whose_requests_differ_twentyfold_are_never_two_of_the_largest_apart() {
    let mut queue = queue();
    let tenants = [applicant(1, 1_000), applicant(2, 20_000)];
    for who in &tenants {
        (0..2_000).for_each(|_| _ = enter(&mut queue, who, Tick(0)));
    }
    let mut served = [0_u64; 2];
    for _ in 0..2_000 {
        let started = next(&mut queue, Tick(0)).expect("both wait");
        served[usize::try_from(started.what - 1).expect("small")] += started.bill.cost;
        if served.iter().all(|served| *served < 1_900_000) {
            assert!(served[0].abs_diff(served[1]) <= 2 * 20_000, "{served:?}");
        }
    }
}

#[test]
fn weights_are_shares() {
    let tenants = [1, 2, 4].map(|weight| Applicant { weight, ..applicant(u64::from(weight), 3_000) });
    let served = backlogged(&mut queue(), &tenants, 7_000);
    let shares = [served[0], served[1] / 2.0, served[2] / 4.0];
    assert!(jain(&shares) > 0.999, "{served:?}");
}

#[test]
fn keys_share_within_their_tenant_and_win_nothing_by_being_many() {
    let mut queue = queue();
    let key = |tenant, key| Applicant { key, ..applicant(tenant, 1_000) };
    for i in 0..90 {
        // Tenant 1 has nine keys, tenant 2 has one.
        enter(&mut queue, &key(1, i % 9), Tick(0));
        enter(&mut queue, &key(2, 100), Tick(0));
    }
    let (mut tenants, mut keys) = ([0; 3], [0; 9]);
    for _ in 0..90 {
        let started = next(&mut queue, Tick(0)).expect("many wait");
        tenants[usize::try_from(started.what).expect("small")] += 1;
        if started.what == 1 {
            keys[usize::try_from(started.bill.key).expect("small")] += 1;
        }
    }
    assert_eq!(tenants, [0, 45, 45]);
    assert_eq!(keys, [5; 9]);
}

#[test]
fn priorities_share_by_weight_and_batch_is_served_too() {
    let all = [Priority::Critical, Priority::High, Priority::Normal, Priority::Batch];
    let mut queue = queue();
    for (tenant, priority) in (1..).zip(all) {
        let who = Applicant { priority, ..applicant(tenant, 1_000) };
        (0..1_000).for_each(|_| _ = enter(&mut queue, &who, Tick(0)));
    }
    let mut served = [0; 4];
    for _ in 0..850 {
        served[next(&mut queue, Tick(0)).expect("many wait").bill.priority as usize] += 1;
    }
    let expected = [640, 160, 40, 10];
    assert!(
        served.iter().zip(expected).all(|(served, expected): (&u32, u32)| served.abs_diff(expected) <= 2),
        "{served:?}"
    );
}

#[test]
fn strictly_critical_requests_go_first() {
    let mut queue = queue();
    queue.config.strict_critical = true;
    for tenant in 1..=50 {
        let priority = if tenant % 2 == 0 { Priority::Critical } else { Priority::High };
        enter(&mut queue, &Applicant { priority, ..applicant(tenant, 1_000_000) }, Tick(0));
    }
    let first: Vec<_> = (0..25).map(|_| next(&mut queue, Tick(0)).expect("many wait").bill.priority).collect();
    assert!(first.iter().all(|priority| *priority == Priority::Critical));
    assert_eq!(next(&mut queue, Tick(0)).expect("the rest").bill.priority, Priority::High);
}

#[test]
fn a_tenant_that_costs_more_than_it_says_pays_with_its_turn() {
    let mut queue = queue();
    let tenants = [applicant(1, 1_000), applicant(2, 1_000)];
    for who in &tenants {
        (0..3_000).for_each(|_| _ = enter(&mut queue, who, Tick(0)));
    }
    let mut real = [0.0; 2];
    for _ in 0..3_000 {
        let started = next(&mut queue, Tick(0)).expect("both wait");
        let cost = if started.what == 1 { 5_000 } else { 1_000 };
        real[usize::try_from(started.what - 1).expect("small")] += cost as f64;
        queue.done(&started.bill, cost, Tick(0));
    }
    assert!(jain(&real) > 0.999, "{real:?}");
}

#[test]
fn who_was_away_neither_saves_up_nor_falls_behind() {
    let mut queue = queue();
    for _ in 0..100 {
        enter(&mut queue, &applicant(1, 1_000), Tick(0));
    }
    // Tenant 2 was there at the beginning, and then not for fifty turns.
    enter(&mut queue, &applicant(2, 1_000), Tick(0));
    for _ in 0..50 {
        next(&mut queue, Tick(0)).expect("it waits");
    }
    for _ in 0..100 {
        enter(&mut queue, &applicant(2, 1_000), Tick(0));
    }
    let served: Vec<_> = (0..20).map(|_| next(&mut queue, Tick(0)).expect("both wait").what).collect();
    assert_eq!(served.iter().filter(|tenant| **tenant == 2).count(), 10);
}

#[test]
fn what_was_done_on_an_idle_machine_is_held_against_nobody() {
    let mut queue = queue();
    enter(&mut queue, &applicant(1, 1_000), Tick(0));
    let started = next(&mut queue, Tick(0)).expect("it waits");
    queue.done(&started.bill, 900_000_000, Tick(SECOND));
    for tenant in [1, 2, 1, 2] {
        enter(&mut queue, &applicant(tenant, 1_000), Tick(SECOND));
    }
    let served: Vec<_> = (0..2).map(|_| next(&mut queue, Tick(SECOND)).expect("both wait").what).collect();
    assert_eq!(served, [1, 2]);
}

#[test]
fn who_cannot_be_done_in_time_hears_so_at_once_and_how_long_it_would_be() {
    let mut queue = queue();
    // Eight million microseconds of cost a second, two tenants: four million each.
    let in_time = |tenant, seconds| Applicant { deadline: Tick(seconds * SECOND), ..applicant(tenant, 400_000) };
    for _ in 0..12 {
        enter(&mut queue, &in_time(1, 60), Tick(0));
    }
    enter(&mut queue, &in_time(2, 60), Tick(0));
    // Its own five seconds of backlog are tenant 1's own business.
    let Err(refused) = queue.enter(&in_time(1, 1), 7, Tick(0)) else { panic!("twelve of its own are before it") };
    let Overload::Late { wait, retry_after } = refused.why else { panic!("{refused:?}") };
    assert!((1.0..2.0).contains(&wait.as_secs_f64()), "{wait:?}");
    // Once that much less is before it, it would be in time: what it is told is true.
    let then = wait.as_secs_f64() + 0.4 - 1.0;
    assert!((retry_after.as_secs_f64() - then).abs() < 0.01, "{retry_after:?} and not {then}");
    assert_eq!(refused.what, 7);
    enter(&mut queue, &in_time(2, 1), Tick(0));
    assert_eq!(queue.admits(&in_time(3, 1), Tick(0)), Ok(()));
}

#[test]
fn entries_and_bytes_are_bounded() {
    let mut queue = FairQueue::new(FairConfig { max_entries: 2, max_bytes: 25, ..queue().config });
    let first = enter(&mut queue, &applicant(1, 1), Tick(0));
    enter(&mut queue, &applicant(1, 1), Tick(0));
    let full = Err(Overload::Full { retry_after: Duration::ZERO });
    assert_eq!(queue.admits(&applicant(1, 1), Tick(0)), full);
    assert_eq!(queue.cancel(first), Some(1));
    assert_eq!(queue.admits(&Applicant { bytes: 16, ..applicant(1, 1) }, Tick(0)), full);
    assert_eq!(queue.admits(&Applicant { bytes: 26, ..applicant(2, 1) }, Tick(0)), full, "never");
    assert_eq!(queue.admits(&applicant(2, 1), Tick(0)), Ok(()));
}

#[test]
fn whoever_came_first_cannot_keep_everybody_else_out() {
    let mut queue = FairQueue::new(FairConfig { max_entries: 10, max_bytes: 100, ..queue().config });
    (0..10).for_each(|at| _ = enter(&mut queue, &applicant(1, 1), Tick(at)));
    let mut dropped = Vec::new();
    for count in 1..=5 {
        assert_eq!(queue.admits(&applicant(2, 1), Tick(20)), Ok(()));
        queue.make_room(&applicant(2, 1), Tick(20), &mut dropped);
        enter(&mut queue, &applicant(2, 1), Tick(20));
        assert_eq!((queue.len(), dropped.len()), (10, count));
    }
    assert!(dropped.iter().all(|dropped| dropped.what == 1 && matches!(dropped.why, Overload::Shed { .. })));
    queue.make_room(&applicant(2, 1), Tick(20), &mut dropped);
    assert!(queue.enter(&applicant(2, 1), 2, Tick(20)).is_err(), "half of it is theirs");
    assert_eq!(dropped.len(), 5, "nobody gives way to who has as much");
    // By bytes: as many as are needed, and none if they are not enough.
    let large = Applicant { bytes: 30, ..applicant(3, 1) };
    queue.make_room(&large, Tick(21), &mut dropped);
    assert!(queue.enter(&large, 3, Tick(21)).is_ok());
    assert_eq!(dropped.len(), 8);
}

#[test]
fn what_has_become_too_late_is_dropped_and_not_served() {
    let mut queue = queue();
    enter(&mut queue, &Applicant { deadline: Tick(SECOND), ..applicant(1, 1_000) }, Tick(0));
    enter(&mut queue, &Applicant { deadline: Tick(PATIENT), ..applicant(2, 1_000) }, Tick(0));
    let mut dropped = Vec::new();
    let started = queue.next(Tick(SECOND), &mut dropped).expect("the other one");
    assert_eq!(started.what, 2);
    assert!(matches!(dropped[..], [Dropped { what: 1, why: Overload::Late { .. } }]));
    assert!(queue.is_empty());
}

#[test]
fn a_standing_queue_sheds_the_newest_of_whoever_has_most() {
    let mut queue = queue();
    let patient = |tenant, cost| Applicant { deadline: Tick(PATIENT), ..applicant(tenant, cost) };
    let good: Vec<_> = (0..40).map(|_| enter(&mut queue, &patient(1, 1_000), Tick(0))).collect();
    let flood: Vec<_> = (0..400).map(|i| enter(&mut queue, &patient(2, 50_000), Tick(i))).collect();
    let mut dropped = Vec::new();
    let mut served = 0;
    for turn in 1..30 {
        // Everybody has waited ten seconds and more: the queue stands.
        served += usize::from(queue.next(Tick(10 * SECOND + turn * SECOND / 20), &mut dropped).is_some());
    }
    assert_eq!(served, 29);
    assert!(dropped.len() >= 10, "{}", dropped.len());
    let shed = |dropped: &Dropped<u64>| dropped.what == 2 && matches!(dropped.why, Overload::Shed { .. });
    assert!(dropped.iter().all(shed));
    let backlog = dropped.last().expect("some").why.retry_after();
    assert!(backlog > Duration::from_secs(1), "a backlog of {backlog:?}");
    let gone = |tickets: &[Ticket]| tickets.iter().filter(|ticket| queue.hall.get(**ticket).is_none()).count();
    assert_eq!(gone(&flood[400 - dropped.len()..]), dropped.len(), "the newest");
    assert!(gone(&good) <= 29);
}

#[test]
fn a_queue_that_does_not_stand_sheds_nobody() {
    let mut queue = queue();
    for turn in 0..1_000 {
        let now = Tick(turn * SECOND / 100);
        enter(&mut queue, &Applicant { deadline: Tick(now.0 + PATIENT), ..applicant(turn % 7, 1_000) }, now);
        assert!(next(&mut queue, Tick(now.0 + SECOND / 50)).is_some());
    }
}

#[test]
fn a_ticket_is_good_once() {
    let mut queue = queue();
    let first = enter(&mut queue, &applicant(1, 1), Tick(0));
    assert_eq!(queue.cancel(first), Some(1));
    assert_eq!(queue.cancel(first), None);
    // The place was given to somebody else.
    let second = enter(&mut queue, &applicant(2, 1), Tick(0));
    assert_eq!(queue.cancel(first), None);
    assert_eq!(queue.len(), 1);
    assert!(next(&mut queue, Tick(0)).is_some());
    assert_eq!(queue.cancel(second), None);
}

#[test]
fn tenants_that_come_and_go_are_not_remembered_for_ever() {
    let mut queue = queue();
    // One runs on throughout, so that nothing is forgotten for that reason.
    enter(&mut queue, &applicant(99_999, 1_000), Tick(0));
    next(&mut queue, Tick(0)).expect("it waits");
    for tenant in 0..50_000 {
        enter(&mut queue, &applicant(tenant, 1_000), Tick(0));
        let started = next(&mut queue, Tick(0)).expect("it waits");
        queue.done(&started.bill, 1_000_000, Tick(0));
    }
    let normal = queue.classes.get(Priority::Normal as u64).expect("it was used");
    assert!(normal.remembered() <= 4_200, "{}", normal.remembered());
}

#[test]
fn what_waits_takes_little_beside_its_exchange() {
    assert!(size_of::<Entry<Box<u8>>>() + 16 <= 96, "{}", size_of::<Entry<Box<u8>>>());
}

#[test]
fn nobody_waits_longer_than_anybody_may() {
    let mut queue = FairQueue::new(FairConfig { max_wait: Duration::from_secs(2), ..queue().config });
    let patient = Applicant { deadline: Tick(PATIENT), ..applicant(1, 4_000_000) };
    for _ in 0..4 {
        enter(&mut queue, &patient, Tick(0));
    }
    let Err(Overload::Late { wait, retry_after }) = queue.admits(&patient, Tick(0)) else { panic!("two seconds") };
    assert_eq!((wait.as_secs(), retry_after.as_secs()), (2, 0));
    assert_eq!(queue.wait_of(&patient), wait);
}

#[test]
fn costs_in_any_unit_become_time_once_some_are_done() {
    // Classes of 1 and 5, which take a tenth and half a second.
    let mut queue = queue();
    for turn in 0..40 {
        let who = applicant(turn % 4, [1, 5][turn as usize % 2]);
        enter(&mut queue, &who, Tick(0));
        enter(&mut queue, &who, Tick(0));
        let started = next(&mut queue, Tick(0)).expect("it waits");
        queue.done(&started.bill, who.cost * 100_000, Tick(0));
        next(&mut queue, Tick(0)).expect("it waits");
    }
    enter(&mut queue, &applicant(1, 5), Tick(0));
    assert!((450_000..550_000).contains(&queue.cost), "{}", queue.cost);
    let hasty = Applicant { deadline: Tick(SECOND / 4), ..applicant(2, 5) };
    assert!(matches!(queue.admits(&hasty, Tick(0)), Err(Overload::Late { .. })));
}

#[test]
fn a_tenant_that_understates_moves_what_others_are_thought_to_cost_only_a_little() {
    let mut queue = queue();
    let mut run = |tenant, said, real| {
        queue.pass(&applicant(tenant, said), Tick(0)).expect("in time");
        queue.passed(&applicant(tenant, said), real, Tick(0));
        queue.scale.of(100_000)
    };
    (0..50).for_each(|turn| _ = run(turn % 5, 100_000, 100_000));
    let thought = (0..20).map(|_| run(9, 1, 2_000_000)).last().expect("one");
    assert!((100_000..110_000).contains(&thought), "{thought}");
}

#[test]
fn who_was_let_past_pays_with_a_later_turn_if_others_had_to_wait_for_it() {
    let mut queue = queue();
    queue.pass(&applicant(1, 1_000), Tick(0)).expect("in time");
    for tenant in [1, 2, 1, 2] {
        enter(&mut queue, &applicant(tenant, 1_000), Tick(0));
    }
    queue.passed(&applicant(1, 1_000), 1_900, Tick(SECOND));
    let served: Vec<_> = (0..4).map(|_| next(&mut queue, Tick(SECOND)).expect("both wait").what).collect();
    assert_eq!(served, [2, 2, 1, 1]);
}

#[test]
fn a_busy_server_starts_nothing_that_will_be_late_and_an_idle_one_tries_whatever_comes() {
    let mut queue = queue();
    let hasty = Applicant { deadline: Tick(SECOND), ..applicant(1, 2_000_000) };
    queue.pass(&hasty, Tick(0)).expect("nothing is known");
    queue.passed(&hasty, 2_000_000, Tick(0));
    for _ in 0..20 {
        queue.pass(&applicant(2, 1_000), Tick(0)).expect("in time");
        queue.passed(&applicant(2, 1_000), 1_000, Tick(0));
    }
    queue.pass(&hasty, Tick(0)).expect("the server is idle");
    assert!(matches!(queue.pass(&hasty, Tick(0)), Err(Overload::Late { .. })), "it would take the other's place");
    queue.pass(&applicant(2, 1_000), Tick(0)).expect("in time");
}

#[test]
fn who_was_given_up_has_not_had_their_turn() {
    let mut queue = queue();
    for tenant in [1, 2, 2, 1] {
        enter(&mut queue, &applicant(tenant, 1_000), Tick(0));
    }
    let first = next(&mut queue, Tick(0)).expect("it waits");
    queue.undone(&first.bill);
    assert_eq!((first.what, next(&mut queue, Tick(0)).expect("both wait").what), (1, 1));
}

#[test]
fn without_room_nobody_smaller_goes_first() {
    let mut queue = queue();
    enter(&mut queue, &applicant(1, 9_000), Tick(0));
    enter(&mut queue, &applicant(2, 10), Tick(0));
    let mut dropped = Vec::new();
    assert_eq!(queue.next_if(Tick(0), |cost| cost < 1_000, &mut dropped), None);
    assert_eq!((queue.len(), dropped.len()), (2, 0));
    assert_eq!(queue.next_if(Tick(0), |cost| cost < 10_000, &mut dropped).expect("room").what, 1);
}

#[test]
fn a_position_is_how_many_are_served_before() {
    let mut queue = queue();
    let mine: Vec<_> = (0..4).map(|_| enter(&mut queue, &applicant(1, 1_000), Tick(0))).collect();
    assert_eq!(mine.iter().map(|ticket| queue.position(*ticket)).collect::<Vec<_>>(), [1, 2, 3, 4].map(Some));
    // Ten more of a second tenant count as often as one's own.
    let theirs: Vec<_> = (0..10).map(|_| enter(&mut queue, &applicant(2, 1_000), Tick(0))).collect();
    assert_eq!(mine.iter().map(|ticket| queue.position(*ticket)).collect::<Vec<_>>(), [2, 4, 6, 8].map(Some));
    assert_eq!(queue.position(theirs[9]), Some(14), "nobody is behind the last");
    queue.cancel(mine[3]);
    assert_eq!(queue.position(mine[3]), None);
}

#[derive(Clone, Debug)]
enum Act {
    Cancel(prop::sample::Index),
    Done(prop::sample::Index, u64),
    Enter(Applicant),
    Next,
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let priority = prop::sample::select(vec![Priority::Critical, Priority::High, Priority::Normal, Priority::Batch]);
    let who = (0..6_u64, 1..4_u32, 0..3_u64, priority, 0..2_000_000_u64, 1..20_u64).prop_map(
        |(tenant, weight, key, priority, cost, seconds)| Applicant {
            weight,
            key,
            priority,
            deadline: Tick(seconds * SECOND),
            ..applicant(tenant, cost)
        },
    );
    let act = prop_oneof![
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => (any::<prop::sample::Index>(), 0..4_000_000_u64).prop_map(|(which, real)| Act::Done(which, real)),
        6 => who.prop_map(Act::Enter),
        3 => Just(Act::Next),
        1 => (0..SECOND / 2).prop_map(Act::Pass),
    ];
    vec(act, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_lost_and_nobody_is_served_twice(acts in acts()) {
        let mut queue = queue();
        let (mut now, mut number) = (0, 0_u64);
        let (mut waiting, mut running) = (Vec::<(Ticket, u64)>::new(), Vec::new());
        for act in acts {
            match act {
                Act::Pass(nanos) => now += nanos,
                Act::Enter(who) => {
                    number += 1;
                    let who = Applicant { deadline: Tick(now + who.deadline.0), ..who };
                    match queue.enter(&who, number, Tick(now)) {
                        Ok(ticket) => waiting.push((ticket, number)),
                        Err(dropped) => prop_assert_eq!(dropped.what, number),
                    }
                }
                Act::Cancel(which) if !waiting.is_empty() => {
                    let (ticket, number) = waiting.swap_remove(which.index(waiting.len()));
                    prop_assert_eq!(queue.cancel(ticket), Some(number));
                    prop_assert_eq!(queue.cancel(ticket), None);
                }
                Act::Done(which, real) if !running.is_empty() => {
                    let bill = running.swap_remove(which.index(running.len()));
                    queue.done(&bill, real, Tick(now));
                }
                Act::Next => {
                    let mut dropped = Vec::new();
                    let started = queue.next(Tick(now), &mut dropped);
                    // Work conserving: as long as somebody waits who can be served, somebody is.
                    prop_assert!(started.is_some() || queue.is_empty());
                    for dropped in dropped {
                        let place = waiting.iter().position(|(_, number)| *number == dropped.what);
                        waiting.swap_remove(place.expect("it was waiting"));
                    }
                    if let Some(started) = started {
                        let place = waiting.iter().position(|(_, number)| *number == started.what);
                        waiting.swap_remove(place.expect("it was waiting"));
                        running.push(started.bill);
                    }
                }
                Act::Cancel(_) | Act::Done(..) => {}
            }
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert_eq!(queue.bytes, 10 * waiting.len() as u64);
        }
        for (ticket, number) in waiting {
            prop_assert_eq!(queue.cancel(ticket), Some(number));
        }
        prop_assert_eq!((queue.cost, queue.bytes, queue.classes.next()), (0, 0, None));
    }

    #[test]
    fn always_backlogged_tenants_of_any_sizes_share_fairly(
        costs in vec(1_000..200_000_u64, 2..8), real in vec(0.5..2.0_f64, 8),
    ) {
        let mut queue = queue();
        let tenants: Vec<_> = (1..).zip(&costs).map(|(i, cost)| applicant(i, *cost)).collect();
        for who in &tenants {
            (0..3).for_each(|_| _ = enter(&mut queue, who, Tick(0)));
        }
        let mut used = vec![0.0; tenants.len()];
        let largest = costs.iter().copied().max().unwrap_or(0);
        while used.iter().sum::<f64>() < 400.0 * largest as f64 {
            let started = next(&mut queue, Tick(0)).expect("somebody always waits");
            let place = usize::try_from(started.what - 1).expect("small");
            let cost = (started.bill.said() as f64 * real[place]) as u64;
            used[place] += cost as f64;
            queue.done(&started.bill, cost, Tick(0));
            enter(&mut queue, &tenants[place], Tick(0));
        }
        prop_assert!(jain(&used) >= 0.99, "{used:?}");
    }
}
