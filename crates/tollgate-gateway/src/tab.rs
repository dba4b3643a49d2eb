//! The open bill of a call: settled exactly once, however the exchange ends, at a stated price, or what the server says that it
//! took, or the time that was measured. A call that was answered as asked is learned from.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response};
use tollgate_core::call::Call;
use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::identity::Identity;
use tollgate_core::time::{Clock, Tick};
use tollgate_layers::cost::{Case, Learner, Ran};
use tollgate_layers::limits::{Reservation, Used};
use tollgate_layers::routes::Route;

use crate::snapshot::Policy;
use crate::upstream::Upstream;

/// An open bill: settled exactly once, however the exchange ends. Dropping it settles it.
pub struct Tab {
    policy: Arc<Policy>,
    clock: Clock,
    held: Option<Reservation>,
    began: Option<Tick>,
    /// What it is charged once it was answered, where that is stated.
    price: Option<Cost>,
    /// What is remembered of the call, to learn from.
    case: Option<Case>,
    /// Calls that were in flight at the model's upstream when this one began, where they share its time.
    beside: Option<u32>,
    /// The server's own word for what the run took, in microseconds.
    stated_us: Option<u64>,
    /// What came with the answer, once it came whole.
    told: Option<Told>,
    /// Nothing can be learned of this one.
    odd: bool,
    /// Of other units than compute.
    used: Used,
}

/// What an answer says of its cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// Tokens read, where the server said so.
    pub read: Option<u64>,
    /// Tokens of those that it had read before.
    pub cached: u64,
    /// Tokens written: as the server said, or as the text that passed tells.
    pub written: u64,
    /// Microseconds that the model worked, where the server said so.
    pub compute_us: Option<u64>,
}

impl Tab {
    /// Opens the bill of a reservation.
    #[must_use]
    pub fn open(policy: &Arc<Policy>, clock: &Clock, held: Reservation) -> Self {
        Self {
            policy: Arc::clone(policy),
            clock: clock.clone(),
            held: Some(held),
            began: None,
            price: None,
            case: None,
            beside: None,
            stated_us: None,
            told: None,
            odd: false,
            used: Used::default(),
        }
    }

    /// Remembers which call it is for, so that it can be learned from.
    #[must_use]
    pub fn of(mut self, call: &Call, route: &Route, known: (&Identity, Estimate)) -> Self {
        self.is_for(call, route, known);
        self
    }

    /// It is for another call from here on, at the price of that one.
    pub fn is_for(&mut self, call: &Call, route: &Route, (who, estimate): (&Identity, Estimate)) {
        self.price = self.policy.cost.price(route, call.model, estimate);
        self.case = self.policy.cost.case(route, call, (who.tenant_id, estimate));
    }

    /// That upstream answers it: a version's, or another way than the model's own.
    pub fn served_by(&mut self, upstream: &Upstream) {
        let Some(case) = &mut self.case else { return };
        let is_it = |known: &Upstream| std::ptr::eq(known, upstream);
        let own = self.policy.upstream_of(case.model()).is_some_and(is_it);
        case.served_by(if own { None } else { self.policy.upstreams.iter().position(is_it) });
    }

    /// The model begins to work: from here on, time is money.
    pub fn begin(&mut self, now: Tick) {
        self.began = Some(now);
        self.beside = self.in_flight();
    }

    /// Nothing of use was done: everything is given back.
    pub const fn refund(&mut self) {
        self.began = None;
        self.stated_us = None;
        self.told = None;
    }

    /// The head of an answer has come, perhaps at the second attempt.
    pub fn received<B>(&mut self, response: &Response<B>, retried: bool) {
        self.stated_us = stated_us(response.headers());
        self.odd |= retried || !response.status().is_success();
    }

    /// Whatever it takes, it is no example of such calls.
    pub const fn learn_nothing(&mut self) {
        self.odd = true;
    }

    /// The whole answer has come.
    pub const fn answered(&mut self, told: Told) {
        self.told = Some(told);
    }

    /// What was used beside compute, as far as anybody counted.
    pub const fn used(&mut self, tokens: Option<u64>, bytes: u64) {
        (self.used.tokens, self.used.bytes) = (tokens, Some(bytes));
    }

    /// Settles the bill and says what was spent.
    pub fn settle(&mut self, now: Tick) -> Cost {
        let took = self.began.map(|began| now.since(began));
        let real = took.map(|took| self.cost_of(took)).unwrap_or_default();
        let spent = self.price.filter(|_| took.is_some() && self.told.is_some()).unwrap_or(real);
        if let Some(held) = self.held.take()
            && let Some(limits) = self.policy.limits.layer.as_ref()
        {
            limits.settle(held, Used { compute: spent, ..self.used }, now);
        }
        if let (Some(case), Some(told), Some(took)) = (self.case.take(), self.told, took) {
            let Told { read, cached, written, .. } = told;
            let ran = Ran { cost: real, took, read, cached, written, odd: self.odd };
            self.policy.cost.settled(&case, &ran, now);
        }
        spent
    }

    /// What a run of that length cost: as the server says, but never more than it took, else the time that it took, or this
    /// call's share of it.
    fn cost_of(&self, took: Duration) -> Cost {
        let wall = Cost::of(took);
        if let Some(stated) = self.told.and_then(|told| told.compute_us).or(self.stated_us) {
            return Cost(stated.max(1)).min(wall);
        }
        // What the server says of its queue is no cost.
        let learner = self.case.as_ref().and_then(|case| self.policy.cost.learner_of(case));
        let computed = wall.0 as f64 * learner.map_or(1.0, Learner::computing);
        // Half of those that came and went meanwhile were seen at either end.
        let beside = self
            .beside
            .zip(self.in_flight())
            .map_or(1.0, |(before, after)| f64::midpoint(f64::from(before.max(1)), f64::from(after.max(1))));
        Cost(((computed / beside).ceil() as u64).min(wall.0))
    }

    /// Calls in flight at the upstream, where they share its time.
    fn in_flight(&self) -> Option<u32> {
        let case = self.case.as_ref().filter(|case| self.policy.cost.is_batched(case))?;
        let upstream = match case.server() {
            Some(place) => self.policy.upstreams.get(place),
            None => self.policy.upstream_of(case.model()),
        };
        Some(upstream?.queue.level().0)
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.settle(self.clock.now());
        }
    }
}

/// What servers say of their own time in fields of the head, in microseconds. Hugging Face's `x-inference-time` is in
/// milliseconds; `x-compute-time` is in seconds where it has a point, and elsewhere of an unknown unit.
fn stated_us(headers: &HeaderMap) -> Option<u64> {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = field("x-inference-time").and_then(|text| text.parse::<f64>().ok()).map(|ms| ms * 1e3);
    let seconds = || field("x-compute-time").filter(|text| text.contains('.'))?.parse::<f64>().ok().map(|s| s * 1e6);
    let us = milliseconds.or_else(seconds)?;
    (1.0..1e12).contains(&us).then(|| us.round() as u64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn servers_say_their_time_in_two_units_and_nonsense_is_not_heard() {
        let of = |name: &'static str, value: &str| {
            stated_us(&HeaderMap::from_iter([(
                name.parse().expect("a name"),
                HeaderValue::try_from(value).expect("a value"),
            )]))
        };
        assert_eq!(of("x-inference-time", "25"), Some(25_000));
        assert_eq!(of("x-inference-time", " 0.5 "), Some(500));
        assert_eq!(of("x-compute-time", "0.025"), Some(25_000));
        for value in ["25", "", "NaN", "inf", "-1.5", "1e99", "0.0", "soon"] {
            assert_eq!(of("x-compute-time", value), None, "{value}");
        }
    }
}
