//! What happens when two threads insert one key, one step at a time; in every order, `loom.rs` does it.

use super::*;
use crate::gcra::{Act, Latest, Rate};

const NOW: u64 = 1 << 40;
const SECOND: u64 = 1_000_000_000;

fn job<'a>(table: &'a Table, units: u64, latest: &'a Latest) -> Job<'a> {
    let rate = Rate::new(10, 1, 10).expect("in range");
    let (pair, tag) = table.place(spread(42));
    Job { pair, tag, op: Op::new(Act::Charge, &rate, units, NOW, latest), dice: 0 }
}

/// Claims a slot as another thread would that has not seen ours.
fn claim<'a>(job: &Job<'a>, units: u64) -> Seen<'a> {
    let word = job.word(units * SECOND);
    job.pair.claim(word, ticks(NOW)).expect("nobody else is here").seen
}

fn owed(table: &Table) -> u64 {
    let ticks = table.backlog(42, NOW).expect("one slot remains");
    (ticks + TICK_NS) / SECOND
}

#[test]
fn the_later_of_two_inserts_withdraws_and_is_judged_again() {
    let (table, latest) = (Table::new(64), Latest::default());
    let job = job(&table, 4, &latest);
    claim(&job, 3);
    let mine = claim(&job, 4);
    assert!(matches!(table.reconcile(&job, mine), Twins::Withdrawn));
    assert_eq!((owed(&table), table.claim_races(), table.live(NOW)), (3, 1, 1));
}

#[test]
fn the_earlier_of_two_inserts_takes_the_others_debt() {
    let (table, latest) = (Table::new(64), Latest::default());
    let job = job(&table, 4, &latest);
    let mine = claim(&job, 4);
    claim(&job, 3);
    assert!(matches!(table.reconcile(&job, mine), Twins::Settled));
    assert_eq!((owed(&table), table.claim_races(), table.live(NOW)), (7, 1, 1));
}

#[test]
fn a_later_insert_that_was_used_since_moves_all_its_debt() {
    let (table, latest) = (Table::new(64), Latest::default());
    let job = job(&table, 4, &latest);
    claim(&job, 3);
    let mine = claim(&job, 4);
    mine.swap(job.word(6 * SECOND)).expect("nobody else is here");
    assert!(matches!(table.reconcile(&job, mine), Twins::Settled));
    assert_eq!((owed(&table), table.live(NOW)), (9, 1));
}

#[test]
fn a_debt_that_was_taken_over_is_not_counted_twice() {
    let (table, latest) = (Table::new(64), Latest::default());
    let job = job(&table, 4, &latest);
    let first = claim(&job, 3);
    let mine = claim(&job, 4);
    assert!(matches!(table.reconcile(&job, first), Twins::Settled));
    assert!(matches!(table.reconcile(&job, mine), Twins::Settled));
    assert_eq!((owed(&table), table.live(NOW)), (7, 1));
}

#[test]
fn two_lines_are_two_even_in_the_smallest_table() {
    let table = Table::new(0);
    assert_eq!(table.slots(), 16);
    for hash in 0..1_000 {
        let (pair, tag) = table.place(spread(hash));
        assert!(!std::ptr::eq(pair.first, pair.second));
        assert_ne!(tag, 0);
    }
}

#[test]
fn roundings_are_right_on_average_even_at_one_instant() {
    let draws = 100_000_u64;
    let up = (0..draws).filter(|_| word(1, NOW + TICK_NS / 4, dice(99)).ahead(ticks(NOW)) == 1).count();
    assert!((up as f64 / draws as f64 - 0.25).abs() < 0.01, "{up}");
}
