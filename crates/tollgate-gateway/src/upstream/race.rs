//! One request at two endpoints: sent to a second one where the first is late, and answered by whichever answers first. The
//! other is broken off, which frees its connection's server.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::fleet::{Pick, Tried};
use super::outlier::Outcome;
use super::remote::{Failure, Got, outcome};
use super::retry::Permit;
use super::running::{Face, Running};
use super::{Caller, Over, Patience, Remote, Upload, Upward, Want};

/// A request that runs at its first endpoint.
pub(super) struct Racing<'a, 'w> {
    /// There; at the second endpoint, where that answers.
    pub(super) running: &'a mut Running,
    /// Its head; afterwards that of the attempt that counts.
    pub(super) head: &'a mut Upward,
    /// Where it was sent.
    pub(super) tried: &'a mut Tried,
    pub(super) want: &'a Want<'w>,
    /// After how long it is sent a second time.
    pub(super) delay: Duration,
}

/// Whose attempt counts.
enum Counts {
    First(Result<Got, Failure>),
    Second(Result<Got, Failure>),
}

impl Remote {
    /// After how long a request is sent to a second endpoint as well; never, where it is not known to be cheap, may not go
    /// twice, or there is no second one.
    pub(super) fn hedge_after(&self, want: &Want<'_>, (tried, over): (&Tried, Over)) -> Option<Duration> {
        let fleet = &self.endpoints;
        let rules = fleet.rules().hedge?;
        let may = over == Over::Rest && want.hedges && tried.len() == 1 && fleet.len() > 1;
        (may && want.cost <= fleet.rules().retry.max_cost).then(|| fleet.habits.delay(want.cost, rules)).flatten()
    }

    /// Waits for the first endpoint, and after a while for a second one too.
    pub(super) async fn raced(
        self: &Arc<Self>,
        on: Racing<'_, '_>,
        (upload, patience): (Upload, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        let Racing { running, head, tried, want, delay } = on;
        let (again, mut spare) = (upload.again(), head.clone());
        let counts = {
            let mut first = pin!(self.attempt(running.endpoint(), head, (upload, Over::Rest, patience), by));
            if let Ok(answered) = tokio::time::timeout(delay, first.as_mut()).await {
                return answered;
            }
            let now = by.ticker.now();
            let by = Caller { now, ..by };
            let (Some(again), Some((pick, permit))) = (again, self.second_place(want, tried, by)) else {
                return first.await;
            };
            let mut other = Running::begin(self, (Face::Rest, pick), (want.cost, now), Some(permit));
            self.endpoints.habits.count();
            // No attempt is one too many for the list.
            let _full = tried.try_push(pick.endpoint);
            let second = pin!(self.attempt(pick.endpoint, &mut spare, (again, Over::Rest, patience), by));
            let counts = match select(first.as_mut(), second).await {
                Either::Left((done, _)) if is_good(&done) => Counts::First(done),
                Either::Left((failed, second)) => {
                    tell(running, &failed, by);
                    Counts::Second(second.await)
                }
                Either::Right((done, _)) if is_good(&done) => {
                    running.lost_race(by.ticker.now());
                    Counts::Second(done)
                }
                Either::Right((failed, first)) => {
                    tell(&mut other, &failed, by);
                    Counts::First(first.await)
                }
            };
            if matches!(counts, Counts::Second(_)) {
                *running = other;
            }
            counts
        };
        match counts {
            Counts::First(attempt) => attempt,
            Counts::Second(attempt) => {
                if is_good(&attempt) {
                    self.endpoints.habits.win();
                }
                *head = spare;
                attempt
            }
        }
    }

    /// Another endpoint, with room in the budget for sending again.
    fn second_place(&self, want: &Want<'_>, tried: &Tried, by: Caller<'_>) -> Option<(Pick, Permit)> {
        let fleet = &self.endpoints;
        let permit = fleet.retries.permit(&fleet.rules().retry, fleet.running())?;
        let pick = fleet.choose(want, tried, by.now).ok()?;
        if tried.contains(&pick.endpoint) {
            fleet.lost(pick, || by.now);
            return None;
        }
        Some((pick, permit))
    }
}

fn is_good(attempt: &Result<Got, Failure>) -> bool {
    attempt.as_ref().is_ok_and(|got| outcome(&got.response) == Outcome::Answered)
}

/// What an attempt says of its endpoint that does not count for the request.
fn tell(running: &mut Running, attempt: &Result<Got, Failure>, by: Caller<'_>) {
    let outcome = match attempt {
        Ok(got) => Some(outcome(&got.response)),
        Err(failure) => failure.outcome,
    };
    if let Some(outcome) = outcome {
        running.ended(outcome, || by.ticker.now());
    }
}
