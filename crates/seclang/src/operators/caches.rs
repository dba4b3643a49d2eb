//! The memory in which regular expressions run: one per thread, bounded, the least recently used going first.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use regex_automata::meta::{Cache, Regex};

/// What the caches of one thread may hold together, unless told otherwise.
const BUDGET: usize = 16 << 20;

/// Mutable memory of matchers (lazy DFA caches), one per thread, bounded; reused over transactions.
#[derive(Debug)]
pub struct Caches {
    slots: HashMap<u32, Slot, BuildHasherDefault<Spread>>,
    bytes: usize,
    budget: usize,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    cache: Cache,
    bytes: usize,
    used: u64,
}

/// Numbers of patterns are dense and our own: one multiplication spreads them.
#[derive(Debug, Default)]
struct Spread(u64);

impl Default for Caches {
    fn default() -> Self {
        Self::with_budget(BUDGET)
    }
}

impl Caches {
    /// With another bound than 16 MB. The cache in use at the moment is never dropped, so the bound can be exceeded by
    /// one pattern's.
    #[must_use]
    pub fn with_budget(budget: usize) -> Self {
        Self { slots: HashMap::default(), bytes: 0, budget, clock: 0 }
    }

    /// What the caches hold.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Runs a search in the cache of the pattern with that number.
    pub(super) fn with<T>(&mut self, number: u32, regex: &Regex, search: impl FnOnce(&mut Cache) -> T) -> T {
        self.clock += 1;
        let slot = self.slots.entry(number).or_insert_with(|| Slot { cache: regex.create_cache(), bytes: 0, used: 0 });
        slot.used = self.clock;
        let result = search(&mut slot.cache);
        let bytes = slot.cache.memory_usage();
        self.bytes = self.bytes - slot.bytes + bytes;
        slot.bytes = bytes;
        if self.bytes > self.budget {
            self.evict();
        }
        result
    }

    /// Drops the least recently used until a quarter is free, so that the next searches do not evict at once again.
    fn evict(&mut self) {
        let mut ages: Vec<(u64, u32)> = self.slots.iter().map(|(&number, slot)| (slot.used, number)).collect();
        ages.sort_unstable();
        ages.pop();
        for (_, number) in ages {
            if self.bytes <= self.budget / 4 * 3 {
                break;
            }
            if let Some(slot) = self.slots.remove(&number) {
                self.bytes -= slot.bytes;
            }
        }
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
