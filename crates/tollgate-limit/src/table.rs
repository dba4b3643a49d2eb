//! The open table: balances of keys that callers can invent, in a memory of fixed size. Eight bytes a key; the key with
//! the least debt gives way. Does not hold short bursts: its time steps by a millisecond.

#[cfg(not(loom))]
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use crate::gcra::{Op, Outcome, TICK_NS, Taken};
use crate::key::{pick, spread};
use crate::slots::{Claimed, Line, Pair, SLOTS_PER_LINE, Seen, Word};
use crate::sync::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Box<[Line]>,
    /// Where the next sweep begins.
    cursor: AtomicUsize,
    evictions: AtomicU64,
    claim_races: AtomicU64,
}

/// Everything about one operation that does not change while it is retried.
#[derive(Clone, Copy)]
struct Job<'a> {
    pair: Pair<'a>,
    tag: u32,
    op: Op<'a>,
    /// Decides which way a sub-tick remainder is rounded.
    dice: u64,
}

/// What reconciling two slots of one key came to.
enum Twins {
    /// The charge stands.
    Settled,
    /// The charge was withdrawn and must be made again, on the slot that was kept.
    Withdrawn,
}

impl Table {
    /// At least `slots` slots.
    pub(crate) fn new(slots: usize) -> Self {
        // Two lines at least, so that a key's two choices differ; their number is picked with 32 bits.
        let lines = slots.div_ceil(SLOTS_PER_LINE).clamp(2, 1 << 31);
        Self {
            lines: (0..lines).map(|_| Line::default()).collect(),
            cursor: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
            claim_races: AtomicU64::new(0),
        }
    }

    /// Applies `op` to the key. A refusal writes nothing.
    #[inline]
    pub(crate) fn apply(&self, hash: u64, op: &Op<'_>) -> Taken {
        let hash = spread(hash);
        let (pair, tag) = self.place(hash);
        let mut op = op.coarse();
        let dice = dice(hash ^ op.now);
        loop {
            let seen = pair.find(tag);
            let Outcome { store, taken, leapt } = op.on(seen.map_or(0, |seen| backlog(seen.word, op.now)));
            if leapt && op.catch_up() {
                continue;
            }
            let Some(next) = store else { return taken };
            let word = word(tag, op.now.saturating_add(next), dice);
            let done = match seen {
                Some(seen) => seen.word == word || seen.swap(word).is_ok(),
                None => self.insert(&Job { pair, tag, op, dice }, word),
            };
            if done {
                return taken;
            }
        }
    }

    /// Brings the key's lines near: several keys can come at once.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) {
        self.place(spread(hash)).0.touch();
    }

    /// The key's backlog; none if it has no slot.
    pub(crate) fn backlog(&self, hash: u64, now: u64) -> Option<u64> {
        let (pair, tag) = self.place(spread(hash));
        pair.find(tag).map(|seen| backlog(seen.word, now))
    }

    /// Empties expired slots of the next `lines` lines, and says how many it emptied. The whole table must be passed
    /// within 7 days, or times that wrapped would look like debts.
    pub(crate) fn sweep(&self, now: u64, lines: usize) -> usize {
        let lines = lines.min(self.lines.len());
        let start = self.cursor.fetch_add(lines, Ordering::Relaxed) % self.lines.len();
        let passed = self.lines.iter().cycle().skip(start).take(lines);
        passed.map(|line| line.clear_expired(ticks(now))).sum()
    }

    /// How many keys are not full again yet.
    pub(crate) fn live(&self, now: u64) -> usize {
        self.lines.iter().map(|line| line.live(ticks(now))).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    pub(crate) fn slots(&self) -> usize {
        self.lines.len() * SLOTS_PER_LINE
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    pub(crate) fn claim_races(&self) -> u64 {
        self.claim_races.load(Ordering::Relaxed)
    }

    #[inline]
    fn place(&self, hash: u64) -> (Pair<'_>, u32) {
        let n = self.lines.len();
        let first = pick((hash >> 32) as u32, n);
        let second = pick(hash as u32, n);
        let second = if second == first { (first + 1) % n } else { second };
        // The lines fix the upper bits of each half; a product of the whole hash is independent of them.
        let tag = (hash.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32) as u32;
        (Pair { first: &self.lines[first], second: &self.lines[second] }, tag.max(1))
    }

    /// Gives the key a slot; false if the operation must be tried again.
    #[cold]
    fn insert(&self, job: &Job<'_>, word: Word) -> bool {
        let Some(Claimed { seen, evicted }) = job.pair.claim(word, ticks(job.op.now)) else { return false };
        if evicted {
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        matches!(self.reconcile(job, seen), Twins::Settled)
    }

    /// After a claim: if another thread claimed a slot for the same key, one slot remains, with the debt of both.
    fn reconcile(&self, job: &Job<'_>, mut mine: Seen<'_>) -> Twins {
        while let Some(twin) = job.pair.twin(job.tag, mine.place) {
            self.claim_races.fetch_add(1, Ordering::Relaxed);
            if mine.place < twin.place {
                if twin.swap(Word::EMPTY).is_ok() {
                    self.transfer(job, backlog(twin.word, job.op.now));
                }
                continue;
            }
            match mine.swap(Word::EMPTY) {
                // Nobody has used the slot since: undo, and be judged by the slot that stays.
                Ok(()) if mine.word == job.claimed() => return Twins::Withdrawn,
                Ok(()) => {
                    self.transfer(job, backlog(mine.word, job.op.now));
                    return Twins::Settled;
                }
                Err(changed) if changed.tag() == job.tag => mine = mine.with(changed),
                // The other thread has taken our debt over, or a third one our slot.
                Err(_) => return Twins::Settled,
            }
        }
        Twins::Settled
    }

    /// Adds `debt` to the key's slot. If the key has lost that too, the debt is lost: the race has been counted.
    fn transfer(&self, job: &Job<'_>, debt: u64) {
        while let Some(seen) = job.pair.find(job.tag) {
            let owed = backlog(seen.word, job.op.now);
            let next = owed.saturating_add(debt).min(job.op.rate.span_ns()).max(owed);
            if seen.swap(job.word(next)).is_ok() {
                return;
            }
        }
    }
}

impl Job<'_> {
    /// The slot's content for a backlog.
    fn word(&self, backlog: u64) -> Word {
        word(self.tag, self.op.now.saturating_add(backlog), self.dice)
    }

    /// What this operation put into a fresh slot.
    fn claimed(&self) -> Word {
        self.op.on(0).store.map_or(Word::EMPTY, |backlog| self.word(backlog))
    }
}

/// A slot's content for a time, which is rounded up or down to a tick as the dice fall.
#[inline]
fn word(tag: u32, tat: u64, dice: u64) -> Word {
    Word::new(tag, ticks(tat.saturating_add(dice & (TICK_NS - 1))))
}

/// The low 32 bits of a time in ticks.
const fn ticks(nanos: u64) -> u32 {
    (nanos / TICK_NS) as u32
}

/// Nanoseconds from `now` until the slot's time.
#[inline]
fn backlog(word: Word, now: u64) -> u64 {
    let ahead = u64::from(word.ahead(ticks(now)).max(0).unsigned_abs());
    (ahead * TICK_NS).saturating_sub(now % TICK_NS)
}

/// Bits that nobody outside can predict: the hash is keyed, and each use turns the wheel, so that repeats of one key at
/// one instant are not all rounded the same way.
#[cfg(not(loom))]
#[inline]
fn dice(seed: u64) -> u64 {
    thread_local!(static WHEEL: Cell<u64> = const { Cell::new(0) });
    let turn = WHEEL.with(|wheel| {
        wheel.set(wheel.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        wheel.get()
    });
    let mixed = (seed ^ turn).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 32)
}

/// Loom runs each order once and must meet the same one again.
#[cfg(loom)]
const fn dice(_: u64) -> u64 {
    0
}

#[cfg(all(test, loom))]
mod loom;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::gcra::{Act, Latest, Rate};

    const NOW: u64 = 1 << 40;
    const SECOND: u64 = 1_000_000_000;

    fn job<'a>(table: &'a Table, units: u64, latest: &'a Latest) -> Job<'a> {
        let rate = Rate::new(10, 1, 10).expect("in range");
        let (pair, tag) = table.place(spread(42));
        Job { pair, tag, op: Op::new(Act::Charge, rate, units, NOW, latest), dice: 0 }
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
}
