//! Decisions that come again, for partitions that look at nothing that changes between two requests of a caller.
//!
//! It belongs to one set of policies and goes with it: a reload begins with an empty one.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::mem::take;

use parking_lot::Mutex;

use super::Verdict;

const SHARDS: usize = 16;
/// The most decisions of one half of a shard: 65,536 in all, some 3 MB.
const HALF: usize = 2_048;

/// Remembers decisions under 128 keyed bits of what they were about.
pub(super) struct Cache {
    hashers: [RandomState; 2],
    shards: [Mutex<Shard>; SHARDS],
}

/// What was asked for recently, and what was before that. The older half goes when the younger one is full.
#[derive(Default)]
struct Shard {
    young: HashMap<[u64; 2], Verdict>,
    old: HashMap<[u64; 2], Verdict>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Cache {
    /// The decision about `question`, made now unless it is remembered.
    pub(super) fn find(&self, question: impl Hash, decide: impl FnOnce() -> Verdict) -> Verdict {
        let key = [0, 1].map(|half: usize| self.hashers.get(half).map_or(0, |hasher| hasher.hash_one(&question)));
        let [Some(shard)] = [self.shards.get(key[0] as usize % SHARDS)] else { return decide() };
        if let Some(verdict) = shard.lock().get(key) {
            return verdict;
        }
        let verdict = decide();
        shard.lock().put(key, verdict);
        verdict
    }
}

impl Shard {
    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn get(&mut self, key: [u64; 2]) -> Option<Verdict> {
        if let Some(verdict) = self.young.get(&key) {
            return Some(*verdict);
        }
        let verdict = self.old.remove(&key)?;
        self.put(key, verdict);
        Some(verdict)
    }

    fn put(&mut self, key: [u64; 2], verdict: Verdict) {
        if self.young.len() >= HALF {
            self.old = take(&mut self.young);
        }
        self.young.insert(key, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, HALF, SHARDS, Verdict};

    #[test]
    fn what_was_asked_lately_is_remembered_and_the_rest_goes() {
        let cache = Cache::default();
        let ask = |question: usize| {
            let mut made = false;
            let verdict = cache.find(question, || {
                made = true;
                Verdict::Permitted(7)
            });
            assert_eq!(verdict, Verdict::Permitted(7));
            made
        };
        assert!(ask(0) && !ask(0));
        for question in 1..4 * HALF * SHARDS {
            ask(question);
            if question % 64 == 0 {
                assert!(!ask(0), "it was asked for all the time");
            }
        }
        let kept: usize = cache.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= 2 * HALF * SHARDS, "{kept}");
        assert!(ask(1), "it was not asked for since");
    }
}
