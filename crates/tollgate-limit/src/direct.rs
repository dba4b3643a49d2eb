//! Direct cells: one exact time per key, found by hash without a lock. Does not evict a configured key to make room.
//!
//! A cell is a pair of words, the key's hash and its theoretical arrival time. Readers take no lock; creating and
//! removing cells does, and is rare. The rules that keep a reader from charging a cell that has changed hands:
//!
//! 1. A reader loads the time first and the hash after it. If the hash matches, the time belonged to that key.
//! 2. A cell changes hands only when its time has passed, and its new time is later than any it had before. A reader
//!    that was overtaken therefore fails its compare-and-swap and looks again.

use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use crate::gcra::{Op, Outcome, Taken};
use crate::key::{pick, spread};
use crate::sync::{AtomicU64, Ordering};

const CELLS_PER_GROUP: usize = 8;

const CELLS_PER_LINE: usize = 4;

/// Groups in the first segment: 128 KiB, enough for some thousand keys. Each further segment has four times as many, so
/// that few are searched.
const FIRST_GROUPS: usize = 1_024;

/// With all of them: 2^33 cells.
const SEGMENTS: usize = 10;

/// Marks a cell that was never used.
const VACANT: u64 = 0;

/// Marks a cell whose key was removed.
const DEAD: u64 = 1;

/// The cells of all keys, in segments that are added as they fill up and never move.
#[derive(Debug)]
pub(crate) struct Direct {
    segments: [OnceLock<Box<[Group]>>; SEGMENTS],
    count: AtomicUsize,
    writer: Mutex<()>,
    /// Bounds the number of cells.
    cap: usize,
    when_full: WhenFull,
    evictions: AtomicU64,
}

/// What a new key does when there are `cap` cells and none of its own is free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WhenFull {
    /// Takes the cell of the key with the least backlog.
    Evict,
    /// Gets no cell.
    Overflow,
}

/// Two cache lines of [`CELLS_PER_LINE`] cells. They fill from the first, so that most keys are found in the first line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Group([Cell; CELLS_PER_GROUP]);

#[derive(Debug, Default)]
struct Cell {
    hash: AtomicU64,
    tat: AtomicU64,
}

/// There is no cell for the key, and none can be made.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Full;

impl Direct {
    pub(crate) fn new(cap: usize, when_full: WhenFull) -> Self {
        Self {
            segments: [const { OnceLock::new() }; SEGMENTS],
            count: AtomicUsize::new(0),
            writer: Mutex::new(()),
            cap,
            when_full,
            evictions: AtomicU64::new(0),
        }
    }

    /// Applies `op` to the key; makes its cell if it has none and needs one.
    #[inline]
    pub(crate) fn apply(&self, hash: u64, op: &Op<'_>) -> Result<Taken, Full> {
        let hash = name(hash);
        loop {
            let Some(cell) = self.find(hash) else {
                let Outcome { store, taken, .. } = op.on(0);
                if store.is_none() {
                    return Ok(taken);
                }
                self.insert(hash, op.now)?;
                continue;
            };
            if let Some(taken) = cell.apply(hash, op) {
                return Ok(taken);
            }
        }
    }

    /// Brings the groups in which the key may be near: several keys can come at once.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) {
        for group in self.groups(name(hash)) {
            let _ = group.0[0].hash.load(Ordering::Relaxed);
        }
    }

    /// The key's backlog; none if it has no cell.
    pub(crate) fn backlog(&self, hash: u64, now: u64) -> Option<u64> {
        let hash = name(hash);
        let cell = self.find(hash)?;
        let tat = cell.tat.load(Ordering::Acquire);
        (cell.hash.load(Ordering::Acquire) == hash).then(|| tat.saturating_sub(now))
    }

    /// Removes the cells of keys that `keep` disowns.
    pub(crate) fn retain(&self, mut keep: impl FnMut(u64) -> bool) {
        let _writing = self.writer.lock();
        for cell in self.cells() {
            let hash = cell.hash.load(Ordering::Relaxed);
            if hash > DEAD && !keep(hash) {
                cell.hash.store(DEAD, Ordering::Release);
            }
        }
    }

    /// Shows the hash, the time and the backlog of each key.
    pub(crate) fn show(&self, now: u64, mut see: impl FnMut(u64, u64, u64)) {
        for cell in self.cells() {
            let tat = cell.tat.load(Ordering::Acquire);
            let hash = cell.hash.load(Ordering::Acquire);
            if hash > DEAD {
                see(hash, tat, tat.saturating_sub(now));
            }
        }
    }

    /// Makes the key's backlog at least so long.
    pub(crate) fn raise(&self, hash: u64, backlog: u64, now: u64) -> Result<(), Full> {
        let hash = name(hash);
        self.insert(hash, now)?;
        if let Some(cell) = self.find(hash) {
            cell.tat.fetch_max(now.saturating_add(backlog), Ordering::AcqRel);
        }
        Ok(())
    }

    /// How many keys have a cell.
    pub(crate) fn len(&self) -> usize {
        self.cells().filter(|cell| cell.hash.load(Ordering::Relaxed) > DEAD).count()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segments().map(size_of_val::<[Group]>).sum()
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<&Cell> {
        self.groups(hash).find_map(|group| group.find(hash))
    }

    /// Where the key may be: the newest and largest segment first.
    #[inline]
    fn groups(&self, hash: u64) -> impl Iterator<Item = &Group> {
        let bits = (spread(hash) >> 32) as u32;
        self.segments().map(move |groups| &groups[pick(bits, groups.len())])
    }

    fn candidates(&self, hash: u64) -> impl Iterator<Item = &Cell> {
        self.groups(hash).flat_map(|group| &group.0)
    }

    #[inline]
    fn segments(&self) -> impl Iterator<Item = &[Group]> {
        let count = self.count.load(Ordering::Acquire);
        self.segments[..count].iter().rev().filter_map(|segment| segment.get().map(|groups| &**groups))
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.segments().flatten().flat_map(|group| &group.0)
    }

    #[cold]
    fn insert(&self, hash: u64, now: u64) -> Result<(), Full> {
        let _writing = self.writer.lock();
        if self.find(hash).is_some() {
            return Ok(());
        }
        loop {
            if self.candidates(hash).any(|cell| cell.settle(hash)) {
                return Ok(());
            }
            if self.when_full == WhenFull::Evict && self.take_expired(hash, now) {
                return Ok(());
            }
            if !self.grow() {
                break;
            }
        }
        if self.take_expired(hash, now) {
            return Ok(());
        }
        if self.when_full == WhenFull::Overflow {
            return Err(Full);
        }
        let least = self.candidates(hash).min_by_key(|cell| cell.tat.load(Ordering::Relaxed)).ok_or(Full)?;
        self.evictions.fetch_add(1, Ordering::Relaxed);
        least.evict_for(hash, now);
        Ok(())
    }

    fn take_expired(&self, hash: u64, now: u64) -> bool {
        self.candidates(hash).any(|cell| cell.take_over(hash, now))
    }

    /// Adds a segment, unless that would exceed the cap. Only under the writer's lock.
    fn grow(&self) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        let held: usize = self.segments().map(<[Group]>::len).sum();
        // The first group is always granted: a ledger of no cells at all could not evict.
        let left = (self.cap / CELLS_PER_GROUP).max(1).saturating_sub(held);
        if count == SEGMENTS || left == 0 {
            return false;
        }
        let groups = left.min(FIRST_GROUPS << (2 * count));
        self.segments[count].get_or_init(|| (0..groups).map(|_| Group::default()).collect());
        self.count.store(count + 1, Ordering::Release);
        true
    }
}

/// The name under which a key's cell is found: two values are taken by the marks.
const fn name(hash: u64) -> u64 {
    if hash <= DEAD { hash | 1 << 63 } else { hash }
}

impl Group {
    /// Compares the hashes of a line without a branch: where in it a key stands is random.
    #[inline]
    fn find(&self, hash: u64) -> Option<&Cell> {
        self.0.chunks(CELLS_PER_LINE).find_map(|line| {
            let mut hits = 0_u32;
            for (i, cell) in line.iter().enumerate() {
                hits |= u32::from(cell.hash.load(Ordering::Acquire) == hash) << i;
            }
            line.get(hits.trailing_zeros() as usize)
        })
    }
}

impl Cell {
    /// `None` if the cell is no longer the key's.
    #[inline]
    fn apply(&self, hash: u64, op: &Op<'_>) -> Option<Taken> {
        let mut op = *op;
        let mut tat = self.tat.load(Ordering::Acquire);
        loop {
            if self.hash.load(Ordering::Acquire) != hash {
                return None;
            }
            let Outcome { store, taken, leapt } = op.on(tat.saturating_sub(op.now));
            if leapt && op.catch_up() {
                continue;
            }
            let Some(backlog) = store else { return Some(taken) };
            let next = op.now.saturating_add(backlog);
            match self.tat.compare_exchange_weak(tat, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(taken),
                Err(changed) => tat = changed,
            }
        }
    }

    /// Gives the cell to `hash` if it was never used. Only under the writer's lock.
    fn settle(&self, hash: u64) -> bool {
        let vacant = self.hash.load(Ordering::Relaxed) == VACANT;
        if vacant {
            self.hash.store(hash, Ordering::Release);
        }
        vacant
    }

    /// Gives the cell to `hash` if its time has passed: an expired cell equals an absent one. Only under the writer's
    /// lock.
    fn take_over(&self, hash: u64, now: u64) -> bool {
        let owner = self.hash.load(Ordering::Relaxed);
        let tat = self.tat.load(Ordering::Acquire);
        // INVARIANT: strictly less, so that the new time, `tat + 1`, has passed too.
        if tat >= now {
            return false;
        }
        // First the name, then the time: who reads the new time cannot still read the old name.
        self.hash.store(DEAD, Ordering::Release);
        let taken = self.tat.compare_exchange(tat, tat + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.hash.store(if taken { hash } else { owner }, Ordering::Release);
        taken
    }

    /// Gives the cell to `hash` although its key is in use: that key's debt is forgotten. Only under the writer's lock,
    /// and only where keys are open-ended: the time may step back here, which rule 2 forbids for exact cells.
    fn evict_for(&self, hash: u64, now: u64) {
        self.hash.store(DEAD, Ordering::Release);
        self.tat.store(now, Ordering::Release);
        self.hash.store(hash, Ordering::Release);
    }
}
