//! How many of a kind are under way at once: a count that goes up while a [`Place`] is held. No clock, and no balance that
//! outlives what is counted.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::key::spread;

const SHARDS: usize = 16;

/// Counts by key. Holds exactly the keys that have a place, so it is bounded by what is under way.
#[derive(Debug, Default)]
pub struct Gauges {
    shards: [Mutex<HashMap<u64, u64>>; SHARDS],
}

/// One of the places of a key: given back when it is dropped, however that comes about.
#[derive(Debug)]
#[must_use = "a place that is dropped is given back"]
pub struct Place {
    gauges: Arc<Gauges>,
    hash: u64,
}

impl Gauges {
    /// Takes a place if fewer than `max` are taken.
    #[must_use]
    pub fn enter(self: &Arc<Self>, hash: u64, max: u64) -> Option<Place> {
        {
            let mut counts = self.shard(hash).lock();
            let count = counts.entry(hash).or_default();
            if *count >= max {
                if *count == 0 {
                    counts.remove(&hash);
                }
                return None;
            }
            *count += 1;
        }
        Some(Place { gauges: Arc::clone(self), hash })
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken(&self, hash: u64) -> u64 {
        self.shard(hash).lock().get(&hash).copied().unwrap_or(0)
    }

    /// Keys that have a place.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, hash: u64) -> &Mutex<HashMap<u64, u64>> {
        &self.shards[(spread(hash) >> 60) as usize % SHARDS]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gauges.shard(self.hash).lock();
        if let Some(count) = counts.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_max_are_in_at_once_and_the_last_one_leaves_nothing_behind() {
        let gauges = Arc::new(Gauges::default());
        let first = gauges.enter(7, 2).expect("room");
        let second = gauges.enter(7, 2).expect("room");
        assert!(gauges.enter(7, 2).is_none());
        let other = gauges.enter(8, 1).expect("another key");
        assert_eq!((gauges.taken(7), gauges.taken(8), gauges.keys()), (2, 1, 2));
        drop(first);
        let third = gauges.enter(7, 2).expect("room again");
        assert!(gauges.enter(7, 1).is_none(), "a smaller limit holds at once");
        drop((second, third, other));
        assert_eq!((gauges.taken(7), gauges.keys()), (0, 0));
        assert!(gauges.enter(9, 0).is_none());
        assert_eq!(gauges.keys(), 0, "a refusal leaves nothing behind");
    }

    #[test]
    fn threads_never_pass_the_limit_together() {
        let gauges = Arc::new(Gauges::default());
        let most = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(_place) = gauges.enter(1, 3) {
                            most.fetch_max(gauges.taken(1), std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(gauges.keys(), 0);
    }
}
