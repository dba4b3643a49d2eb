//! Balances of rates as bytes, for a restart: those that need so long to be full again that to forget them would be a gift.
//! Written whole, because they are few; opening, writing and syncing files is the caller's.
//!
//! ```text
//! file   = "TGRATES" version count record* check  check = SipHash-1-3 under the ledger's secret, 8 bytes
//! record = hash full                              8 + 8 bytes, little-endian: when it is full, Unix milliseconds
//! ```

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::{Memory, Moment, StateError};

const MAGIC: [u8; 7] = *b"TGRATES";
const VERSION: u8 = 1;

/// Bytes of a record.
const RECORD: usize = 8 + 8;

/// Balances as they stood at a moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RateState {
    /// For [`Memory::restore_rates`].
    pub bytes: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// The same while nothing was charged or given back: then it need not be written again.
    pub mark: u64,
}

impl Memory {
    /// Balances of configured keys that need longer than `least` to be full again. Looks at all cells.
    #[must_use]
    pub fn rates(&self, at: Moment, least: Duration) -> RateState {
        let least = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        let mut state = RateState::default();
        let mut mark = self.hasher();
        let mut records = Vec::new();
        self.show_cells(at.now, |hash, tat, backlog| {
            if backlog > least {
                mark.write_u64(hash);
                mark.write_u64(tat);
                records.extend(hash.to_le_bytes());
                records.extend(at.unix_ms.saturating_add(backlog / 1_000_000).to_le_bytes());
                state.count += 1;
            }
        });
        state.mark = mark.finish();
        state.bytes.extend(MAGIC);
        state.bytes.push(VERSION);
        state.bytes.extend(u64::try_from(state.count).unwrap_or(u64::MAX).to_le_bytes());
        state.bytes.append(&mut records);
        let check = self.check(&state.bytes);
        state.bytes.extend(check.to_le_bytes());
        state
    }

    /// Takes over the balances of an earlier run that has the same seed, and says how many. Call it before the first charge.
    /// Those that have become full since are left out; a time beyond what a rate allows is cut when it is charged.
    ///
    /// # Errors
    /// If it is no such file, damaged, or of another seed or version.
    pub fn restore_rates(&self, bytes: &[u8], at: Moment) -> Result<usize, StateError> {
        let (head, rest) = bytes.split_at_checked(MAGIC.len() + 1).ok_or(StateError::NotRates)?;
        let version = head.strip_prefix(&MAGIC).and_then(<[u8]>::first).ok_or(StateError::NotRates)?;
        if *version != VERSION {
            return Err(StateError::OtherVersion(*version));
        }
        let (sealed, check) = bytes.split_last_chunk().ok_or(StateError::NotRates)?;
        if self.check(sealed) != u64::from_le_bytes(*check) {
            return Err(StateError::Damaged);
        }
        let (_count, records) = rest.split_first_chunk::<8>().ok_or(StateError::NotRates)?;
        let mut taken = 0;
        for record in records.strip_suffix(check).unwrap_or_default().chunks_exact(RECORD) {
            let Some((hash, full)) = record.split_first_chunk() else { continue };
            let Some((full, _)) = full.split_first_chunk() else { continue };
            let left = u64::from_le_bytes(*full).saturating_sub(at.unix_ms);
            taken += usize::from(self.owes(u64::from_le_bytes(*hash), left.saturating_mul(1_000_000), at.now));
        }
        Ok(taken)
    }

    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.seed.0, self.seed.1)
    }

    fn check(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, MemoryConfig, Rate, Taken, Tick};

    const DAY_MS: u64 = 86_400_000;
    const MINUTE: Duration = Duration::from_mins(1);

    fn ledger(seed: u64) -> Memory {
        Memory::new(MemoryConfig { open_slots: 16, seed: (seed, 2) })
    }

    fn at(secs: u64) -> Moment {
        Moment { now: Tick(secs * 1_000_000_000), unix_ms: DAY_MS + secs * 1_000 }
    }

    fn hourly() -> Rate {
        Rate::new(3_600, 1, 0).expect("in range")
    }

    fn spend(ledger: &Memory, key: u64, units: u64, secs: u64) -> Taken {
        ledger.take(Key::configured(key), hourly(), units, at(secs).now)
    }

    #[test]
    fn a_bucket_goes_on_where_it_stood_however_the_clock_begins() {
        let before = ledger(1);
        assert_eq!(spend(&before, 5, 3_600, 1_000), Taken::Yes);
        assert_eq!(spend(&before, 6, 30, 1_000), Taken::Yes);
        let state = before.rates(at(1_010), MINUTE);
        assert_eq!(state.count, 1, "what is full again within a minute is not worth it");

        // Another process, whose monotonic clock begins anew, a minute and a half later.
        let after = ledger(1);
        let now = Moment { now: Tick(7), unix_ms: at(1_100).unix_ms };
        assert_eq!(after.restore_rates(&state.bytes, now), Ok(1));
        assert_eq!(after.peek(Key::configured(5), hourly(), now.now).remaining, 100);
        assert_eq!(after.peek(Key::configured(6), hourly(), now.now).remaining, 3_600);
    }

    #[test]
    fn the_mark_changes_only_with_what_was_charged() {
        let ledger = ledger(1);
        assert_eq!(spend(&ledger, 5, 3_000, 0), Taken::Yes);
        let first = ledger.rates(at(0), MINUTE);
        assert_eq!(ledger.rates(at(9), MINUTE).mark, first.mark);
        ledger.give_back(Key::configured(5), hourly(), 10, at(9).now);
        assert_ne!(ledger.rates(at(9), MINUTE).mark, first.mark);
        assert_eq!(ledger.rates(at(4_000), MINUTE).count, 0, "it is full again");
    }

    #[test]
    fn a_file_that_is_damaged_or_of_others_is_refused_and_nothing_is_taken_of_it() {
        let before = ledger(1);
        assert_eq!(spend(&before, 5, 3_600, 0), Taken::Yes);
        let bytes = before.rates(at(0), MINUTE).bytes;
        assert_eq!(ledger(9).restore_rates(&bytes, at(0)), Err(StateError::Damaged));
        for cut in 0..bytes.len() {
            assert!(ledger(1).restore_rates(&bytes[..cut], at(0)).is_err(), "{cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let ledger = ledger(1);
            assert!(ledger.restore_rates(&bytes, at(0)).is_err(), "{bit}");
            assert_eq!(ledger.configured_keys(), 0);
        }
    }
}
