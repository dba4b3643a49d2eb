//! Quotas as bytes: a log that begins with everything and goes on with what changed, so that a restart loses no more than
//! what was not yet appended. Pure encoding: opening, writing and syncing files is the caller's.
//!
//! ```text
//! file   = "TGQUOTA" version check frame*         check = SipHash-1-3 under the ledger's secret, 8 bytes
//! frame  = count record* check                    each check covers the one before it
//! record = hash period units ends                 8 + 4 + 8 + 8 bytes, little-endian
//! ```

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::Memory;
use crate::book::Which;
use crate::quota::{Quota, Spent};

const MAGIC: [u8; 7] = *b"TGQUOTA";
const VERSION: u8 = 1;

/// Bytes of a record.
const RECORD: usize = 8 + 4 + 8 + 8;

/// Records of one frame: so many are checked, or lost, together.
const FRAME: usize = 1 << 16;

/// A file in the making. Bytes go to it in the order in which they are made here.
///
/// Where writing them fails, begin a new file: what was once encoded is not encoded again.
#[derive(Debug)]
pub struct QuotaLog {
    check: u64,
}

/// What [`Memory::restore`] found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Restored {
    /// Counts that were taken over.
    pub counts: usize,
    /// Counts whose period has ended.
    pub ended: usize,
    /// Counts for which there was no room.
    pub dropped: usize,
    /// Bytes at the end that are no whole frame: what a crash cut off, or damage. What follows them is not read.
    pub torn_bytes: usize,
}

/// Why nothing was restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StateError {
    /// It is damaged, or was written under another secret.
    #[error("damaged, or written under another seed")]
    Damaged,
    /// The bytes do not begin as they should.
    #[error("no quota log")]
    NotALog,
    /// The bytes are no balances of rates.
    #[error("no balances of rates")]
    NotRates,
    /// It was written under another secret: its keys mean nothing here.
    #[error("written under another seed")]
    OtherSeed,
    /// It was written by a later version.
    #[error("quota log of version {0}, which this program does not read")]
    OtherVersion(u8),
}

impl QuotaLog {
    /// Begins a file with everything that still counts at `unix`, seconds since the Unix epoch.
    #[must_use]
    pub fn begin(ledger: &Memory, unix: u64, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend(MAGIC);
        out.push(VERSION);
        let mut log = Self { check: 0 };
        log.seal(ledger, start, out);
        let mut records = Vec::new();
        ledger.quotas.show(Which::All, |hash, used| {
            records.extend(used.spent().filter(|spent| spent.ends_unix > unix).map(|spent| (hash, spent)));
        });
        log.frames(ledger, &records, out);
        log
    }

    /// Appends what changed since the last call, and says how many counts did.
    pub fn append(&mut self, ledger: &Memory, out: &mut Vec<u8>) -> usize {
        let mut records = Vec::new();
        ledger.quotas.show(Which::Changed, |hash, used| records.extend(used.counts().map(|spent| (hash, spent))));
        self.frames(ledger, &records, out);
        records.len()
    }

    fn frames(&mut self, ledger: &Memory, records: &[(u64, Spent)], out: &mut Vec<u8>) {
        for frame in records.chunks(FRAME) {
            let start = out.len();
            out.extend(u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
            for (hash, spent) in frame {
                out.extend(hash.to_le_bytes());
                out.extend(spent.id.to_le_bytes());
                out.extend(spent.units.to_le_bytes());
                out.extend(spent.ends_unix.to_le_bytes());
            }
            self.seal(ledger, start, out);
        }
    }

    fn seal(&mut self, ledger: &Memory, start: usize, out: &mut Vec<u8>) {
        self.check = check(ledger, self.check, out.get(start..).unwrap_or_default());
        out.extend(self.check.to_le_bytes());
    }
}

impl Memory {
    /// Takes over the quotas of an earlier run that has the same seed. Call it before the first charge.
    ///
    /// A file whose end is missing or damaged is read up to there.
    ///
    /// # Errors
    /// If it is no such file at all, or of another seed or version.
    pub fn restore(&self, bytes: &[u8], unix: u64) -> Result<Restored, StateError> {
        let (head, rest) = bytes.split_at_checked(MAGIC.len() + 1).ok_or(StateError::NotALog)?;
        let version = head.strip_prefix(&MAGIC).and_then(<[u8]>::first).ok_or(StateError::NotALog)?;
        if *version != VERSION {
            return Err(StateError::OtherVersion(*version));
        }
        let mut reader = Reader { ledger: self, check: 0, rest };
        reader.sealed(head).ok_or(StateError::OtherSeed)?;
        let mut restored = Restored::default();
        while let Some(records) = reader.frame() {
            for record in records.chunks_exact(RECORD) {
                let Some((hash, spent)) = decode(record) else { continue };
                if spent.ends_unix <= unix {
                    restored.ended += 1;
                } else if self
                    .quotas
                    .change(hash, (&Quota::of(&spent), Quota::BEFORE), |used| used.restore(spent))
                    .is_ok()
                {
                    restored.counts += 1;
                } else {
                    restored.dropped += 1;
                }
            }
        }
        restored.torn_bytes = reader.rest.len();
        Ok(restored)
    }
}

struct Reader<'a> {
    ledger: &'a Memory,
    check: u64,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The records of the next frame; none if it is not whole.
    fn frame(&mut self) -> Option<&'a [u8]> {
        let (count, _) = self.rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(RECORD)?;
        let (frame, rest) = self.rest.split_at_checked(count.len().checked_add(length)?)?;
        let before = std::mem::replace(&mut self.rest, rest);
        if self.sealed(frame).is_none() {
            self.rest = before;
            return None;
        }
        frame.get(count.len()..)
    }

    /// Whether `bytes` is followed by its check, which is passed.
    fn sealed(&mut self, bytes: &[u8]) -> Option<()> {
        let (found, rest) = self.rest.split_first_chunk()?;
        let check = check(self.ledger, self.check, bytes);
        if u64::from_le_bytes(*found) != check {
            return None;
        }
        (self.check, self.rest) = (check, rest);
        Some(())
    }
}

fn decode(record: &[u8]) -> Option<(u64, Spent)> {
    let (hash, record) = record.split_first_chunk()?;
    let (id, record) = record.split_first_chunk()?;
    let (units, record) = record.split_first_chunk()?;
    let (ends, _) = record.split_first_chunk()?;
    let spent =
        Spent { id: u32::from_le_bytes(*id), units: u64::from_le_bytes(*units), ends_unix: u64::from_le_bytes(*ends) };
    Some((u64::from_le_bytes(*hash), spent))
}

fn check(ledger: &Memory, before: u64, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(ledger.seed.0, ledger.seed.1);
    hasher.write_u64(before);
    hasher.write(bytes);
    hasher.finish()
}
