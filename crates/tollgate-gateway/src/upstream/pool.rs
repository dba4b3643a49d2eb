//! Idle connections of one worker to one upstream: the last one used is the first one taken.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tollgate_core::time::Tick;

use super::link::Link;

/// Idle connections, one list for each endpoint.
pub struct Pool {
    idle: Vec<Mutex<VecDeque<Idle>>>,
}

struct Idle {
    link: Box<Link>,
    since: Tick,
}

impl Pool {
    /// An empty pool for that many endpoints.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self { idle: (0..endpoints).map(|_| Mutex::default()).collect() }
    }

    /// A live idle connection that is not older than `oldest`.
    pub fn take(&self, endpoint: usize, oldest: Tick) -> Option<Box<Link>> {
        let mut idle = self.idle.get(endpoint)?.lock();
        while let Some(mut last) = idle.pop_back() {
            if last.since < oldest {
                // The rest is older still.
                idle.clear();
                return None;
            }
            if last.link.is_live() {
                return Some(last.link);
            }
        }
        None
    }

    /// Keeps a connection for the next one, up to `most`.
    pub fn put(&self, endpoint: usize, link: Box<Link>, now: Tick, most: usize) {
        let Some(idle) = self.idle.get(endpoint) else { return };
        let mut idle = idle.lock();
        if idle.len() >= most {
            idle.pop_front();
        }
        idle.push_back(Idle { link, since: now });
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self, oldest: Tick) {
        for idle in &self.idle {
            idle.lock().retain_mut(|idle| idle.since >= oldest && idle.link.is_live());
        }
    }
}
