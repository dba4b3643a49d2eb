//! A tenant with a rate and a monthly quota, and a program that is killed in the middle of the month.
//!
//! `cargo run -p tollgate-limit --example month`
#![expect(clippy::print_stdout, reason = "an example that shows what happens")]

use tollgate_limit::{
    Calendar, Charge, Every, Granted, Key, Ledger, Memory, MemoryConfig, Moment, QuotaLog, Rate, Reservation, Tick,
};

/// Kept in a file of its own: the keys of the log are hashes under it.
const SEED: (u64, u64) = (0x5eed, 0xf00d);

/// The fifteenth of November 2026, noon.
const NOON: Moment = Moment { now: Tick(0), unix_ms: 1_794_744_000_000 };

fn main() {
    let calendar = Calendar::new(Every::Month, "UTC").expect("a time zone");
    let rate = Rate::new(10_000, 500, 10_000).expect("in range");

    let ledger = Memory::new(MemoryConfig { open_slots: 1 << 10, seed: SEED });
    let mut file = Vec::new();
    let mut log = QuotaLog::begin(&ledger, NOON.unix_ms / 1000, &mut file);
    for second in 0..60 {
        let at = after(second);
        let tenant = |policy| Key::configured(ledger.hash(policy, "acme"));
        let charges =
            [Charge::new(tenant("pace"), rate, 1_500), Charge::new(tenant("month"), calendar.quota(40_000, at), 1_500)];
        match ledger.take_all(&charges, at.now) {
            Granted::Yes { over } => ledger.settle(Reservation::of(&charges, over), 1_200 + second * 10, at.now),
            Granted::No { at: level, wait, .. } => {
                println!("second {second:2}: `{}` is spent for {wait:?}", ["pace", "month"][level]);
            }
        }
        // Once a second, to the end of the file.
        log.append(&ledger, &mut file);
    }

    // The program is killed while it writes, and started again.
    file.truncate(file.len() - 5);
    let ledger = Memory::new(MemoryConfig { open_slots: 1 << 10, seed: SEED });
    let restored = ledger.restore(&file, NOON.unix_ms / 1000).expect("our own file");
    let month = Key::configured(ledger.hash("month", "acme"));
    let level = ledger.peek(month, calendar.quota(40_000, after(60)), after(60).now);
    println!(
        "after the restart: {} of {} left, {} bytes were torn off",
        level.remaining, level.burst, restored.torn_bytes
    );
}

fn after(seconds: u64) -> Moment {
    Moment { now: Tick(NOON.now.0 + seconds * 1_000_000_000), unix_ms: NOON.unix_ms + seconds * 1000 }
}
