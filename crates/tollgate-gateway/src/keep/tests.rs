//! A directory that keeps what it was given, and says so when it cannot.

use std::os::unix::fs::PermissionsExt as _;

use tollgate_layers::limits::Target;
use tollgate_limit::{Calendar, Every, Key, MemoryConfig, Moment, Quota, Taken, Tick};
use tollgate_testkit::Folder;

use super::*;

const NOON: u64 = 1_795_176_000;

fn ledger(seed: u128) -> Memory {
    Memory::new(MemoryConfig { open_slots: 16, seed: ((seed >> 64) as u64, seed as u64) })
}

fn quota() -> Quota {
    let calendar = Calendar::new(Every::Day, "UTC").expect("a time zone");
    calendar.quota(1_000, Moment { now: Tick(0), unix_ms: NOON * 1000 })
}

fn spend(ledger: &Memory, key: u64, units: u64) {
    assert_eq!(ledger.take(Key::configured(key), quota(), units, Tick(0)), Taken::Yes);
}

fn left(ledger: &Memory, key: u64) -> u64 {
    ledger.peek(Key::configured(key), quota(), Tick(0)).remaining
}

/// A ledger that has taken over what the directory keeps.
fn restarted(directory: &Path) -> Memory {
    let keep = Keep::open(directory).expect("nobody else is there");
    let ledger = ledger(keep.seed(99).expect("a seed"));
    keep.restore(&ledger, NOON).expect("our own file");
    ledger
}

#[test]
fn what_was_written_is_there_after_a_restart_and_the_seed_is_the_same() {
    let folder = Folder::fresh();
    let directory = folder.path().join("deep/state");
    {
        let keep = Keep::open(&directory).expect("it is made");
        let ledger = ledger(keep.seed(7).expect("written"));
        assert_eq!(keep.restore(&ledger, NOON).expect("nothing yet"), Restored::default());
        spend(&ledger, 1, 100);
        keep.write(&ledger, NOON).expect("everything");
        spend(&ledger, 1, 20);
        spend(&ledger, 2, 5);
        keep.write(&ledger, NOON).expect("what changed");
        keep.write(&ledger, NOON).expect("nothing changed");
        spend(&ledger, 2, 900);
        // Never written: this is what a crash loses.
    }
    let ledger = restarted(&directory);
    assert_eq!((left(&ledger, 1), left(&ledger, 2)), (880, 995));
    for name in ["seed", "quotas", "lock"] {
        let mode = fs::metadata(directory.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[test]
fn two_gateways_do_not_share_a_directory() {
    let folder = Folder::fresh();
    let keep = Keep::open(folder.path()).expect("nobody is there");
    let error = Keep::open(folder.path()).expect_err("somebody is");
    assert_eq!(error.to_string(), "another gateway keeps its state there");
    drop(keep);
    Keep::open(folder.path()).expect("nobody is there any more");
}

#[test]
fn a_log_is_begun_anew_when_it_has_grown() {
    let folder = Folder::fresh();
    {
        let keep = Keep::open(folder.path()).expect("nobody is there");
        let ledger = ledger(keep.seed(7).expect("written"));
        let mut largest = 0;
        for round in 0..60_000 {
            spend(&ledger, round % 3, u64::from(round % 100 == 0));
            if round == 0 {
                keep.write(&ledger, NOON).expect("everything");
                // Not worth a megabyte of appends in a test: as if it had grown.
                keep.log.lock().as_mut().expect("open").most = 2_000;
            }
            if round % 1_000 == 0 {
                keep.write(&ledger, NOON).expect("it is written");
                if let Some(open) = keep.log.lock().as_mut() {
                    open.most = 2_000;
                }
                largest = largest.max(fs::metadata(folder.path().join("quotas")).expect("there").len());
            }
        }
        keep.write(&ledger, NOON).expect("the rest");
        assert!(largest < 3_000, "{largest}");
    }
    let ledger = restarted(folder.path());
    assert_eq!((0..3).map(|key| 1_000 - left(&ledger, key)).sum::<u64>(), 600);
}

#[test]
fn a_write_that_failed_is_mended_by_the_next() {
    let folder = Folder::fresh();
    let directory = folder.path().join("state");
    let keep = Keep::open(&directory).expect("nobody is there");
    let ledger = ledger(keep.seed(7).expect("written"));
    spend(&ledger, 1, 100);
    fs::rename(&directory, folder.path().join("gone")).expect("moved");
    keep.write(&ledger, NOON).expect_err("there is no such directory");
    assert_eq!(keep.failures(), 1);
    fs::rename(folder.path().join("gone"), &directory).expect("moved back");
    keep.write(&ledger, NOON).expect("everything");
    drop(keep);
    assert_eq!(left(&restarted(&directory), 1), 900);
}

#[test]
fn files_that_are_not_ours_are_not_overwritten() {
    let folder = Folder::fresh();
    let keep = Keep::open(folder.path()).expect("nobody is there");
    fs::write(folder.path().join("seed"), "short\n").expect("written");
    assert!(keep.seed(7).expect_err("no seed").to_string().contains("32 hexadecimal digits"));
    fs::write(folder.path().join("quotas"), "a shopping list").expect("written");
    let error = keep.restore(&ledger(7), NOON).expect_err("no log");
    assert_eq!(error.to_string(), "`quotas`: no quota log");
    assert_eq!(fs::read(folder.path().join("quotas")).expect("there"), b"a shopping list");
}

#[test]
fn a_bucket_that_needs_long_to_refill_goes_on_where_it_stood() {
    let folder = Folder::fresh();
    let (key, rate) = (Key::configured(5), tollgate_limit::Rate::new(3_600, 1, 0).expect("in range"));
    let at = |secs: u64| Moment { now: Tick(secs * 1_000_000_000), unix_ms: (NOON + secs) * 1_000 };
    {
        let keep = Keep::open(folder.path()).expect("nobody is there");
        let ledger = ledger(keep.seed(7).expect("written"));
        keep.write_rates(&ledger, at(0)).expect("nothing to write");
        assert!(!folder.path().join("rates").exists());
        assert_eq!(ledger.take(key, rate, 3_000, at(0).now), Taken::Yes);
        keep.write_rates(&ledger, at(0)).expect("written");
        let written =
            fs::metadata(folder.path().join("rates")).and_then(|about| about.modified()).expect("it is there");
        keep.write_rates(&ledger, at(1)).expect("nothing changed");
        let still = fs::metadata(folder.path().join("rates")).and_then(|about| about.modified()).expect("it is there");
        assert_eq!(written, still);
    }
    let keep = Keep::open(folder.path()).expect("nobody is there");
    let ledger = ledger(keep.seed(99).expect("a seed"));
    let now = Moment { now: Tick(0), unix_ms: at(600).unix_ms };
    assert_eq!(keep.restore_rates(&ledger, now).expect("our own file"), 1);
    assert_eq!(ledger.peek(key, rate, now.now).remaining, 1_200);
    fs::write(folder.path().join("rates"), "a shopping list").expect("written");
    let error = keep.restore_rates(&ledger, now).expect_err("no such file");
    assert_eq!(error.to_string(), "`rates`: no balances of rates");
}

#[test]
fn levers_come_back_after_a_restart_and_a_file_that_is_none_of_ours_is_told() {
    let folder = Folder::fresh();
    let lever = Lever {
        target: Target::Tenant("acme".to_owned()),
        permille: 100,
        since_unix_ms: 1,
        until_unix_ms: 2,
        reason: "a flood".to_owned(),
    };
    let keep = Keep::open(folder.path()).expect("a directory");
    assert_eq!(keep.levers().expect("none yet"), []);
    keep.write_levers(std::slice::from_ref(&lever)).expect("room");
    drop(keep);
    let keep = Keep::open(folder.path()).expect("unlocked");
    assert_eq!(keep.levers().expect("written"), [lever]);
    fs::write(folder.path().join("levers"), "{").expect("a file");
    assert!(keep.levers().expect_err("damaged").to_string().contains("`levers`"));
}
