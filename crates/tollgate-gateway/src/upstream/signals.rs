//! What model servers say of their own load, asked by the control thread: how many requests wait inside, and how much of the
//! cache for their texts is used. A server that says it has too much is given less; one that falls silent is not one that has
//! nothing to do, so an old word is forgotten and never read as zero.

pub mod exposition;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::snapshot::Policy;
use crate::state::State;
use crate::upstream::Queue;
use crate::upstream::probe::Place;
use exposition::Load;

/// More waiting inside than this is too much.
const WAITING: f64 = 2.0;
/// More of the cache used than this is too much.
const USED: f64 = 0.9;
/// A word is good for so many intervals.
const GOOD_FOR: u32 = 3;
/// How often it is looked whether another policy serves.
const LOOK: Duration = Duration::from_secs(1);

/// Where an upstream's servers tell of their load, and how often they are asked.
pub struct Signals {
    /// Pages of metrics.
    pub places: Vec<Place>,
    /// From one question to the next.
    pub every: Duration,
}

/// Asks for as long as it is polled.
pub async fn watch(state: Arc<State>) {
    loop {
        let policy = state.policy();
        let generation = policy.generation;
        let asked = watched(&policy);
        // Not held while nothing is asked: it may be replaced, and is large.
        drop(policy);
        let replaced = async {
            while state.generation() == generation {
                tokio::time::sleep(LOOK).await;
            }
        };
        let asking = join_all(asked.iter().map(|(queue, signals)| follow(&state, queue, signals)));
        tokio::select! {
            () = replaced => {}
            _ = asking, if !asked.is_empty() => {}
        }
    }
}

fn watched(policy: &Policy) -> Vec<(Arc<Queue>, Arc<Signals>)> {
    let upstreams = policy.upstreams.iter();
    upstreams
        .filter_map(|upstream| Some((Arc::clone(&upstream.queue), Arc::clone(upstream.signals.as_ref()?))))
        .collect()
}

async fn follow(state: &State, queue: &Queue, signals: &Signals) {
    let mut every = tokio::time::interval(signals.every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let asked =
            signals.places.iter().map(|place| tokio::time::timeout(signals.every * GOOD_FOR, place.ask(&place.path)));
        let heard: Vec<Load> =
            join_all(asked).await.into_iter().flatten().flatten().map(|page| exposition::read(&page)).collect();
        if let Some(too_much) = verdict(&heard) {
            queue.hear(too_much, state.clock.now().after(signals.every * GOOD_FOR));
        }
    }
}

/// Whether any server has too much; `None` if none of them said.
fn verdict(heard: &[Load]) -> Option<bool> {
    let over = |load: &Load| match (load.waiting, load.used) {
        (None, None) => None,
        (waiting, used) => {
            Some(waiting.is_some_and(|waiting| waiting > WAITING) || used.is_some_and(|used| used > USED))
        }
    };
    heard.iter().filter_map(over).reduce(|one, other| one || other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(waiting: Option<f64>, used: Option<f64>) -> Load {
        Load { waiting, used }
    }

    #[test]
    fn one_server_with_too_much_is_enough_and_silence_says_nothing() {
        assert_eq!(verdict(&[]), None);
        assert_eq!(verdict(&[load(None, None)]), None);
        assert_eq!(verdict(&[load(Some(2.0), Some(0.9))]), Some(false));
        assert_eq!(verdict(&[load(Some(3.0), None)]), Some(true));
        assert_eq!(verdict(&[load(None, Some(0.91))]), Some(true));
        assert_eq!(verdict(&[load(Some(0.0), None), load(None, None), load(Some(9.0), Some(0.1))]), Some(true));
    }
}
