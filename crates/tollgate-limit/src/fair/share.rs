//! One level of start-time fair queueing: who of several is served next, so that each gets its weight of what is served.
//! Knows nothing of what it serves.
//!
//! Each flow has a tag, the virtual time at which it may be served next; the smallest is served first, and being served
//! moves it on by cost ÷ weight. A flow that was away comes back at the present, so it neither saves up nor falls behind.

use std::collections::{BTreeSet, HashMap};

/// Virtual time: cost in units of 2^-16, divided by the weight.
type Virtual = u128;

/// The tags of flows that are away are kept while they are ahead of the present, so many of them.
const AWAY: usize = 4096;

/// Flows that share what is served. `C` is what each of them holds.
#[derive(Debug)]
pub(super) struct Share<C> {
    now: Virtual,
    flows: HashMap<u64, Flow<C>>,
    /// Flows that have something to serve, by tag.
    ready: BTreeSet<(Virtual, u64)>,
    /// Flows that have not, by tag.
    away: BTreeSet<(Virtual, u64)>,
    /// Weights of those that are ready.
    weight: u64,
}

#[derive(Debug)]
pub(super) struct Flow<C> {
    tag: Virtual,
    weight: u32,
    is_ready: bool,
    pub(super) inner: C,
}

impl<C> Default for Share<C> {
    fn default() -> Self {
        Self { now: 0, flows: HashMap::new(), ready: BTreeSet::new(), away: BTreeSet::new(), weight: 0 }
    }
}

impl<C: Default> Share<C> {
    /// The flow, which has something to serve from now on.
    pub(super) fn ready(&mut self, id: u64, weight: u32) -> &mut C {
        let weight = weight.max(1);
        let now = self.now;
        let flow =
            self.flows.entry(id).or_insert_with(|| Flow { tag: now, weight, is_ready: false, inner: C::default() });
        if flow.is_ready {
            self.weight = self.weight - u64::from(flow.weight) + u64::from(weight);
        } else {
            self.away.remove(&(flow.tag, id));
            flow.tag = flow.tag.max(now);
            flow.is_ready = true;
            self.ready.insert((flow.tag, id));
            self.weight += u64::from(weight);
        }
        flow.weight = weight;
        &mut flow.inner
    }

    /// Who is served next.
    pub(super) fn next(&self) -> Option<u64> {
        self.ready.first().map(|(_, id)| *id)
    }

    pub(super) fn get(&self, id: u64) -> Option<&C> {
        self.flows.get(&id).map(|flow| &flow.inner)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut C> {
        self.flows.get_mut(&id).map(|flow| &mut flow.inner)
    }

    /// The flow was served `cost`.
    pub(super) fn served(&mut self, id: u64, cost: u64) {
        if let Some(flow) = self.flows.get(&id) {
            self.now = self.now.max(flow.tag);
            self.shift(id, i128::from(cost));
        }
    }

    /// The flow was served `cost` out of turn: it is later by that, whether it has something to serve or not.
    pub(super) fn charge(&mut self, id: u64, weight: u32, cost: u64) -> &mut C {
        self.forget();
        let (weight, now) = (weight.max(1), self.now);
        let flow = self.flows.entry(id).or_insert_with(|| {
            self.away.insert((now, id));
            Flow { tag: now, weight, is_ready: false, inner: C::default() }
        });
        if flow.tag < now {
            let list = if flow.is_ready { &mut self.ready } else { &mut self.away };
            list.remove(&(flow.tag, id));
            flow.tag = now;
            list.insert((now, id));
        }
        self.shift(id, i128::from(cost));
        &mut self.flows.get_mut(&id).expect("it was there a moment ago").inner
    }

    /// What the flow was served cost so much more, or less, than was thought.
    pub(super) fn shift(&mut self, id: u64, cost: i128) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let list = if flow.is_ready { &mut self.ready } else { &mut self.away };
        list.remove(&(flow.tag, id));
        let by = (cost.unsigned_abs() << 16) / u128::from(flow.weight);
        flow.tag = if cost < 0 { flow.tag.saturating_sub(by) } else { flow.tag.saturating_add(by) };
        list.insert((flow.tag, id));
    }

    /// The flow has nothing to serve any more.
    pub(super) fn leave(&mut self, id: u64) {
        if let Some(flow) = self.flows.get_mut(&id).filter(|flow| flow.is_ready) {
            flow.is_ready = false;
            self.ready.remove(&(flow.tag, id));
            self.away.insert((flow.tag, id));
            self.weight -= u64::from(flow.weight);
        }
        self.forget();
    }

    /// Forgets flows that are away and have nothing before them.
    fn forget(&mut self) {
        // Whoever is behind the present would come back at it: there is nothing to remember.
        while let Some(&(tag, id)) = self.away.first().filter(|(tag, _)| *tag <= self.now || self.away.len() > AWAY) {
            self.away.remove(&(tag, id));
            self.flows.remove(&id);
        }
        if self.ready.is_empty() && self.away.is_empty() {
            self.now = 0;
        }
    }

    /// The part of everything that a flow of this weight gets while those that are ready stay so.
    pub(super) fn part(&self, id: u64, weight: u32) -> f64 {
        let own = self.flows.get(&id).filter(|flow| flow.is_ready).map_or(0, |flow| u64::from(flow.weight));
        let weight = weight.max(1);
        f64::from(weight) / (self.weight - own + u64::from(weight)) as f64
    }

    /// The part that a flow gets which has something to serve.
    pub(super) fn part_of(&self, id: u64) -> Option<f64> {
        self.flows.get(&id).filter(|flow| flow.is_ready).map(|flow| f64::from(flow.weight) / self.weight as f64)
    }

    /// Forgets everybody.
    pub(super) fn clear(&mut self) {
        if !self.flows.is_empty() {
            *self = Self::default();
        }
    }

    /// Flows that have something to serve.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &C)> {
        self.ready.iter().filter_map(|(_, id)| Some((*id, &self.flows.get(id)?.inner)))
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.flows.len()
    }
}
