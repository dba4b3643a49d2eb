//! A request at an endpoint: counted there for as long as it runs, and judged once by how it ended.

use std::sync::Arc;

use tollgate_core::time::Tick;

use super::fleet::{Fleet, Pick};
use super::outlier::Outcome;
use super::retry::Permit;
use super::standing::Trial;
use super::{Answer, Remote};

/// Which endpoints of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Face {
    /// `endpoints`
    Rest,
    /// `grpc`
    Rpc,
}

/// Proof that a request runs at an endpoint. Dropped, it no longer does.
pub struct Running {
    remote: Arc<Remote>,
    face: Face,
    pick: Pick,
    cost: u64,
    began: Tick,
    told: bool,
    /// Room in the retry budget, where it is sent again.
    _permit: Option<Permit>,
}

impl Running {
    pub(super) fn begin(
        remote: &Arc<Remote>,
        (face, pick): (Face, Pick),
        (cost, began): (u64, Tick),
        permit: Option<Permit>,
    ) -> Self {
        let running = Self { remote: Arc::clone(remote), face, pick, cost, began, told: false, _permit: permit };
        running.fleet().enter(pick.endpoint, cost);
        running
    }

    /// The place of its endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> usize {
        self.pick.endpoint
    }

    /// When it was sent.
    #[must_use]
    pub const fn began(&self) -> Tick {
        self.began
    }

    /// How its attempt ended, as far as that says anything about the endpoint.
    pub(super) fn ended(&mut self, outcome: Outcome, now: impl FnOnce() -> Tick) {
        // Only the first word decides about a trial.
        let trial = if self.told { Trial::default() } else { self.pick.trial };
        self.told = true;
        self.fleet().told(Pick { trial, ..self.pick }, outcome, now);
    }

    /// The answer broke off.
    pub fn broke(&mut self, now: Tick) {
        self.ended(Outcome::Local, || now);
    }

    /// Another endpoint was faster with the same request: this one is at least so slow.
    pub(super) fn lost_race(&self, now: Tick) {
        self.fleet().took(self.pick.endpoint, now.since(self.began), self.cost, now);
    }

    /// The answer was read to its end: its connection is kept if it can carry another one.
    /// `timed` says whether the time that it took says anything of the endpoint.
    pub fn done(&self, worker: usize, answer: &mut Answer, (now, timed): (Tick, bool)) {
        self.fleet().finished(self.pick.endpoint);
        if timed {
            self.fleet().took(self.pick.endpoint, now.since(self.began), self.cost, now);
        }
        self.remote.keep(self.pick.endpoint, worker, answer, now);
    }

    fn fleet(&self) -> &Fleet {
        self.remote.fleet(self.face)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.fleet().leave(self.pick.endpoint, self.cost);
        if !self.told {
            self.fleet().lost(self.pick, || self.began);
        }
    }
}
