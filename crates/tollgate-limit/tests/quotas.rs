//! Calendar quotas: exact, corrected in their own period, and the same after a restart, wherever the file was cut off.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_limit::{
    Calendar, Charge, Every, Granted, Key, Ledger, Memory, MemoryConfig, Moment, Quota, QuotaLog, Rate, Reservation,
    Restored, StateError, Taken, Tick,
};

const DAY: u64 = 86_400;

/// Midnight of 20 November 2026, UTC.
const START: u64 = 1_795_132_800;

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 8, seed: (1, 2) })
}

/// So many seconds after the start.
fn at(seconds: u64) -> Moment {
    Moment { now: Tick((3_600 + seconds) * 1_000_000_000), unix_ms: (START + seconds) * 1000 }
}

fn days() -> Calendar {
    Calendar::new(Every::Day, "UTC").expect("a time zone")
}

fn key(i: u64) -> Key {
    Key::configured(tollgate_limit::hash_key((3, 4), 1_u64, i))
}

fn left(ledger: &Memory, key: Key, quota: Quota) -> u64 {
    ledger.peek(key, quota, at(0).now).remaining
}

fn restored(bytes: &[u8], unix: u64) -> (Memory, Restored) {
    let ledger = ledger();
    let restored = ledger.restore(bytes, unix).expect("our own file");
    (ledger, restored)
}

#[test]
fn a_quota_lasts_until_midnight_of_its_zone_and_says_so() {
    for (zone, seconds) in [("UTC", DAY - 3_600), ("+02:00", DAY - 3_600 - 7_200), ("-03:00", 2 * 3_600)] {
        let (ledger, calendar) = (ledger(), Calendar::new(Every::Day, zone).expect("a time zone"));
        let (now, quota) = (at(3_600), calendar.quota(10, at(3_600)));
        assert_eq!(ledger.take(key(1), quota, 10, now.now), Taken::Yes);
        let wait = Duration::from_secs(seconds);
        assert_eq!(ledger.take(key(1), quota, 1, now.now), Taken::No { wait });
        let level = ledger.peek(key(1), quota, now.now);
        assert_eq!((level.burst, level.remaining, level.wait, level.full_in), (10, 0, wait, wait));
        let before = at(3_600 + seconds - 1);
        assert!(matches!(ledger.take(key(1), calendar.quota(10, before), 1, before.now), Taken::No { .. }));
        let after = at(3_600 + seconds);
        assert_eq!(ledger.take(key(1), calendar.quota(10, after), 10, after.now), Taken::Yes);
    }
}

#[test]
fn more_than_the_quota_never_fits_and_takes_no_account() {
    let ledger = ledger();
    assert!(matches!(ledger.take(key(1), days().quota(10, at(0)), 11, at(0).now), Taken::No { .. }));
    assert_eq!(ledger.accounts(), 0);
}

#[test]
fn a_run_over_midnight_is_settled_in_the_day_that_it_was_charged_to() {
    let (ledger, calendar) = (ledger(), days());
    let (before, after) = (at(DAY - 10), at(DAY + 10));
    let (today, tomorrow) = (calendar.quota(100, before), calendar.quota(100, after));
    let charges = [Charge::new(key(1), today, 60)];
    let Granted::Yes { over } = ledger.take_all(&charges, before.now) else { panic!("it fits") };
    assert_eq!(ledger.take(key(1), tomorrow, 5, after.now), Taken::Yes);
    ledger.settle(Reservation::of(&charges, over), 40, after.now);
    assert_eq!(ledger.peek(key(1), tomorrow, after.now).remaining, 95);
    let mut file = Vec::new();
    let _log = QuotaLog::begin(&ledger, START, &mut file);
    let (again, found) = restored(&file, START);
    assert_eq!((found.counts, left(&again, key(1), tomorrow)), (2, 95));
}

#[test]
fn a_group_that_a_rate_ends_leaves_the_quota_as_it_was() {
    let (ledger, quota) = (ledger(), days().quota(100, at(0)));
    let rate = Rate::new(10, 1, 0).expect("in range");
    let group = [Charge::new(key(1), quota, 20), Charge::new(key(2), rate, 20)];
    assert!(matches!(ledger.take_all(&group, at(0).now), Granted::No { at: 1, .. }));
    assert_eq!(left(&ledger, key(1), quota), 100);
}

#[test]
fn quotas_beyond_the_cap_are_refused_and_counted() {
    let ledger = ledger().with_configured_cells(64);
    let quota = days().quota(10, at(0));
    let taken = (0..10_000).filter(|&i| ledger.take(key(i), quota, 1, at(0).now) == Taken::Yes).count();
    assert!((60..=64).contains(&taken), "{taken}");
    assert_eq!(ledger.counters().overflows, 10_000 - taken as u64);
    // Tomorrow they make room for others.
    let quota = days().quota(10, at(DAY));
    assert_eq!(ledger.take(key(9_999), quota, 1, at(DAY).now), Taken::Yes);
}

#[test]
fn a_restart_takes_over_what_was_written_and_the_last_word_counts() {
    let (ledger, quota) = (ledger(), days().quota(100, at(0)));
    assert_eq!(ledger.take(key(1), quota, 70, at(0).now), Taken::Yes);
    let mut file = Vec::new();
    let mut log = QuotaLog::begin(&ledger, START, &mut file);
    assert_eq!(log.append(&ledger, &mut file), 0);
    ledger.give_back(key(1), quota, 50, at(0).now);
    assert_eq!(ledger.take(key(2), quota, 3, at(0).now), Taken::Yes);
    assert_eq!(log.append(&ledger, &mut file), 2);
    // Back to nothing is a change too.
    ledger.give_back(key(2), quota, 3, at(0).now);
    assert_eq!(log.append(&ledger, &mut file), 1);
    let (again, found) = restored(&file, START);
    assert_eq!((left(&again, key(1), quota), left(&again, key(2), quota)), (80, 100));
    assert_eq!((found.dropped, found.ended, found.torn_bytes), (0, 0, 0));
}

#[test]
fn what_has_ended_is_neither_written_nor_restored() {
    let ledger = ledger();
    assert_eq!(ledger.take(key(1), days().quota(100, at(0)), 70, at(0).now), Taken::Yes);
    let (mut today, mut tomorrow) = (Vec::new(), Vec::new());
    let _log = QuotaLog::begin(&ledger, START, &mut today);
    let _log = QuotaLog::begin(&ledger, START + DAY, &mut tomorrow);
    assert!(tomorrow.len() < today.len());
    let (again, found) = restored(&today, START + DAY);
    assert_eq!((found.counts, found.ended, again.accounts()), (0, 1, 0));
}

#[test]
fn a_file_that_is_not_ours_is_refused_whole() {
    let other = Memory::new(MemoryConfig { open_slots: 16, seed: (8, 9) });
    let mut file = Vec::new();
    let _log = QuotaLog::begin(&other, START, &mut file);
    assert_eq!(ledger().restore(&file, START), Err(StateError::OtherSeed));
    file[7] = 9;
    assert_eq!(ledger().restore(&file, START), Err(StateError::OtherVersion(9)));
    for bytes in [&b""[..], b"TGQUOTA", b"something else entirely"] {
        assert_eq!(ledger().restore(bytes, START), Err(StateError::NotALog));
    }
    assert_eq!(ledger().restore(b"TGQUOTA\x01", START), Err(StateError::OtherSeed));
}

/// A file of several frames, and what each prefix of frames says: its length, and what is left to three keys.
fn written() -> (Vec<u8>, Vec<(usize, [u64; 3])>, Quota) {
    let (ledger, quota) = (ledger(), days().quota(1_000, at(0)));
    let mut file = Vec::new();
    let mut log = QuotaLog::begin(&ledger, START, &mut file);
    let mut frames = vec![(file.len(), [1_000; 3])];
    for round in 1..6 {
        for i in 0..3 {
            assert_eq!(ledger.take(key(i), quota, round * (i + 1), at(round).now), Taken::Yes);
        }
        log.append(&ledger, &mut file);
        frames.push((file.len(), [0, 1, 2].map(|i| left(&ledger, key(i), quota))));
    }
    (file, frames, quota)
}

#[test]
fn a_file_cut_off_anywhere_restores_every_whole_frame() {
    let (file, frames, quota) = written();
    for length in frames[0].0..=file.len() {
        let (again, found) = restored(&file[..length], START);
        let (whole, lefts) = frames.iter().rev().find(|(end, _)| *end <= length).expect("the head");
        assert_eq!(found.torn_bytes, length - whole);
        assert_eq!([0, 1, 2].map(|i| left(&again, key(i), quota)), *lefts, "{length}");
    }
}

#[test]
fn a_flipped_bit_ends_the_file_there() {
    let (file, frames, quota) = written();
    for place in frames[0].0..file.len() {
        let mut file = file.clone();
        file[place] ^= 1 << (place % 8);
        let (again, found) = restored(&file, START);
        let (_, lefts) = frames.iter().rev().find(|(end, _)| *end <= place).expect("the head");
        assert_eq!([0, 1, 2].map(|i| left(&again, key(i), quota)), *lefts, "{place}");
        assert!(found.torn_bytes > 0);
    }
}

#[test]
fn a_frame_that_is_left_out_or_repeated_ends_the_file() {
    let (file, frames, _) = written();
    let [first, second, third] = [frames[0].0, frames[1].0, frames[2].0];
    let without = [&file[..first], &file[second..]].concat();
    let twice = [&file[..third], &file[second..third], &file[third..]].concat();
    assert_eq!(restored(&without, START).1.counts, 0);
    assert_eq!(restored(&twice, START).1.counts, 6);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Charge(u64, u64),
    Debit(u64, u64),
    GiveBack(u64, u64),
    Append,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_quota_counts_like_a_table_of_sums_over_any_restarts(history in vec((0..DAY, prop_oneof![
        6 => (0..3_u64, 1..300_u64).prop_map(|(who, units)| Step::Charge(who, units)),
        1 => (0..3_u64, 0..300_u64).prop_map(|(who, units)| Step::Debit(who, units)),
        2 => (0..3_u64, 0..300_u64).prop_map(|(who, units)| Step::GiveBack(who, units)),
        3 => Just(Step::Append),
        1 => Just(Step::Restart),
    ]), 1..100)) {
        let calendar = Calendar::new(Every::Week, "Europe/Berlin").expect("a time zone");
        let mut ledger = ledger();
        let mut file = Vec::new();
        let mut log = QuotaLog::begin(&ledger, START, &mut file);
        let mut used = [0_u64; 3];
        let (mut written, mut week, mut seconds) = (used, 0, 0);
        for (pause, step) in history {
            seconds += pause;
            let (now, unix) = (at(seconds), START + seconds);
            let (quota, id) = (calendar.quota(1_000, now), calendar.period(unix).id);
            if id != week {
                (week, used, written) = (id, [0; 3], [0; 3]);
            }
            match step {
                Step::Charge(who, units) => {
                    let used = &mut used[usize::try_from(who).expect("small")];
                    let taken = ledger.take(key(who), quota, units, now.now) == Taken::Yes;
                    prop_assert_eq!(taken, *used + units <= 1_000);
                    *used += if taken { units } else { 0 };
                }
                Step::Debit(who, units) => {
                    ledger.debit(key(who), quota, units, now.now);
                    used[usize::try_from(who).expect("small")] += units;
                }
                Step::GiveBack(who, units) => {
                    ledger.give_back(key(who), quota, units, now.now);
                    let used = &mut used[usize::try_from(who).expect("small")];
                    *used = used.saturating_sub(units);
                }
                Step::Append => {
                    log.append(&ledger, &mut file);
                    written = used;
                }
                Step::Restart => {
                    ledger = restored(&file, unix).0;
                    file.clear();
                    log = QuotaLog::begin(&ledger, unix, &mut file);
                    used = written;
                }
            }
            for who in 0..3 {
                let remaining = 1_000_u64.saturating_sub(used[who]);
                prop_assert_eq!(ledger.peek(key(who as u64), quota, now.now).remaining, remaining);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..400), begins in any::<bool>()) {
        if begins {
            let mut file = Vec::new();
            let _log = QuotaLog::begin(&ledger(), START, &mut file);
            file.append(&mut bytes);
            bytes = file;
        }
        let _ = ledger().restore(&bytes, START);
    }
}
