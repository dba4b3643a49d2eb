//! Memory of the matchers, one for each thread that may ask at once: warmed with a policy, dropped with it.

use std::sync::Arc;

use parking_lot::Mutex;
use seclang::{RuleSet, Scratch};

/// As many as there are threads that ask.
#[derive(Debug, Default)]
pub(super) struct Scratches(Vec<Mutex<Scratch>>);

impl Scratches {
    /// So many, at least one, each of which has seen text, code and JSON through every rule set.
    pub(super) fn warmed(threads: usize, rule_sets: &[Arc<RuleSet>]) -> Self {
        let warm = || {
            let mut scratch = Scratch::default();
            for rules in rule_sets {
                rules.warm(&mut scratch);
            }
            Mutex::new(scratch)
        };
        Self((0..threads.max(1)).map(|_| warm()).collect())
    }

    /// Lends one: that of the thread of this number, or the next one that is free.
    // INVARIANT: there are as many as threads, and a thread borrows one at a time: one is always free.
    pub(super) fn with<T>(&self, thread: usize, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let count = self.0.len();
        for turn in 0..count {
            if let Some(mut scratch) = self.0.get((thread + turn) % count).and_then(|scratch| scratch.try_lock()) {
                return work(&mut scratch);
            }
        }
        // Only a caller beyond the threads that were counted comes here; it pays with cold caches.
        work(&mut Scratch::default())
    }
}
