//! How much of an answer's time its client took to read it. What is measured of such an answer says nothing of the model
//! server, and must neither speak against an endpoint nor move a limit: a client could make it whatever it likes.

use std::time::Duration;

use crate::tick::Ticker;

/// Counted in walks of a worker's alarms, so that a piece of an answer costs no look at a clock. A pause shorter than a walk is
/// counted as a whole one as often as it is long: the sum is right.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The walk at which something was given to the client that was not asked for more since.
    given: Option<u64>,
    /// Walks between giving something and being asked for more.
    slow: u64,
}

impl Reading {
    /// The head of an answer is given.
    #[must_use]
    pub const fn begun(walk: u64) -> Self {
        Self { given: Some(walk), slow: 0 }
    }

    /// A piece is given.
    pub const fn given(&mut self, walk: u64) {
        self.given = Some(walk);
    }

    /// More is asked for.
    pub const fn asked(&mut self, walk: u64) {
        if let Some(given) = self.given.take() {
            self.slow += walk.saturating_sub(given);
        }
    }

    /// Whether more than a tenth of `took` was the client's.
    #[must_use]
    pub fn is_slow(&self, took: Duration) -> bool {
        let slow = Ticker::EVERY.saturating_mul(u32::try_from(self.slow).unwrap_or(u32::MAX));
        !slow.is_zero() && slow.saturating_mul(10) > took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_pauses_is_slow_and_one_that_waits_for_the_server_is_not() {
        let mut reading = Reading::begun(0);
        reading.asked(0);
        reading.asked(400);
        reading.given(400);
        reading.asked(400);
        assert!(!reading.is_slow(Duration::from_secs(100)), "it was the server that took its time");
        reading.given(400);
        reading.asked(440);
        assert!(!reading.is_slow(Duration::from_secs(110)), "10 of 110 seconds");
        reading.given(440);
        reading.asked(448);
        assert!(reading.is_slow(Duration::from_secs(112)), "12 of 112 seconds");
    }

    #[test]
    fn an_answer_whose_body_is_not_asked_for_is_read_slowly() {
        let mut reading = Reading::begun(10);
        reading.asked(110);
        assert!(reading.is_slow(Duration::from_secs(25)));
    }
}
