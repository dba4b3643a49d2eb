//! A fleet that takes the place of another one after a reload: what was learned of an endpoint stays with its address.
//!
//! What runs at the old one ends there: it is counted out where it was counted in.

use std::sync::atomic::Ordering::Relaxed;

use super::Fleet;

impl Fleet {
    /// Goes on from `before`, before anything is sent: ejections, slowness, the breaker and what came of checks.
    pub fn inherit(&self, before: &Self) {
        let at = |place: usize| before.get(place).map(|address| format!("{address:?}"));
        let known: Vec<_> = (0..before.len()).map(at).collect();
        let of: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| known.iter().position(|was| *was == Some(format!("{:?}", endpoint.address))))
            .collect();
        for (endpoint, was) in self.endpoints.iter().zip(&of) {
            let Some(was) = was.and_then(|was| before.endpoints.get(was)) else { continue };
            endpoint.pace.store(was.pace.load(Relaxed), Relaxed);
            endpoint.streaks.store(was.streaks.load(Relaxed), Relaxed);
        }
        let mut judge = self.judge.lock();
        judge.inherit(&before.judge.lock(), &of);
        self.publish(&judge);
    }
}
