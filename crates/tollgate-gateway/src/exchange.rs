//! One request and its reply: its facts, its journal and what was learned of it. Owned by one task, never shared.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_core::call::ModelId;
use tollgate_core::cost::Cost;
use tollgate_core::identity::{Facts, Identity};
use tollgate_core::journal::Journal;
use tollgate_core::ruling::Denial;
use tollgate_core::time::Tick;
use tollgate_layers::authz::Occasion;
use tollgate_layers::contract::Awaited;
use tollgate_layers::routes::Route;
use tollgate_layers::waf;

use crate::body::Hold;
use crate::cache;
use crate::listen::head::RawHead;
use crate::record::Sinks;
use crate::release::Given;
use crate::release::shadow::Tap;
use crate::snapshot::Policy;
use crate::turn::Curious;

/// One exchange. However it ends, it ends in exactly one record: [`Exchange::finish`] writes it, and dropping an
/// exchange that was never finished means that the client left.
pub struct Exchange {
    /// Known before the head was read.
    pub facts: Facts,
    /// What each stage said.
    pub log: Journal,
    /// What was learned on the way, for the record.
    pub seen: Seen,
    /// Where it stands before the rules.
    pub waf: waf::Turn,
    /// Room in the budget of a body that the rules still hold.
    pub held: Option<Hold>,
    policy: Arc<Policy>,
    sinks: Arc<Sinks>,
    finished: bool,
}

/// What was learned of an exchange on the way.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its head as it was received, over HTTP/1.1.
    pub raw: Option<RawHead>,
    /// What the client calls it, where the rules' log asks for that.
    pub request_id: Option<Box<[u8]>>,
    /// Method, as text of a closed set.
    pub method: Option<http::Method>,
    /// The route that serves it.
    pub route: Option<Arc<Route>>,
    /// The client's address, behind trusted proxies.
    pub from: Option<IpAddr>,
    /// Who asks.
    pub who: Option<Identity>,
    /// Which model.
    pub model: Option<ModelId>,
    /// What was reserved.
    pub reserved: Cost,
    /// What it really cost.
    pub spent: Cost,
    /// Since when the model works on it, while that is awaited: whoever leaves then pays until then.
    pub working: Option<Tick>,
    /// Status of the answer.
    pub status: u16,
    /// It is called gRPC, over HTTP/2: refusals speak so as well.
    pub rpc: bool,
    /// How long the caller means to wait for the answer.
    pub timeout: Option<Duration>,
    /// What the caller wants to know of the queue.
    pub curious: Curious,
    /// The status that an answer over gRPC ended with.
    pub rpc_status: Option<u8>,
    /// Bytes of body that the head announced.
    pub declared: u64,
    /// Bytes of the request body, as sent.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Tokens that the model read: as it said, or as they were estimated.
    pub tokens_in: u64,
    /// Tokens that the model wrote: as it said, or as the text that passed tells.
    pub tokens_out: u64,
    /// Which other way the call went, if it did.
    pub fallback: Option<Box<str>>,
    /// What the reply is held to.
    pub awaited: Option<Box<Awaited>>,
    /// An answer that may be kept.
    pub keeping: Option<Box<cache::Awaited>>,
    /// The answer had been kept.
    pub cached: bool,
    /// The version that was chosen, where its model has several.
    pub release: Option<Given>,
    /// What listens to its answer, where a mirrored call is compared with it.
    pub tap: Option<Box<Tap>>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Answered as asked.
    Answered,
    /// The client went away first.
    ClientLeft,
    /// The answer began and could not be completed.
    Cut,
    /// Refused, or something broke before the answer began.
    Denied,
}

/// What is known of an exchange only at its end.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// How it ended.
    pub outcome: Outcome,
    /// What the client was told, if it was denied.
    pub denial: Option<&'a Denial>,
    /// From its first byte to its end.
    pub took: Duration,
}

impl Outcome {
    /// The word used in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ClientLeft => "client_left",
            Self::Cut => "cut",
            Self::Denied => "denied",
        }
    }
}

impl Exchange {
    /// Opens an exchange.
    ///
    /// Boxed: with its journal it is more than a kilobyte, and it moves with the reply.
    #[must_use]
    pub fn open(facts: Facts, policy: Arc<Policy>, sinks: Arc<Sinks>) -> Box<Self> {
        sinks.opened();
        let (log, seen, waf) = (Journal::default(), Seen::default(), waf::Turn::default());
        Box::new(Self { facts, log, seen, waf, held: None, policy, sinks, finished: false })
    }

    /// The policy that judges it, from its first byte to its last.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// From where it comes, and when it began.
    #[must_use]
    pub fn occasion(&self) -> Occasion {
        Occasion { from: self.seen.from.unwrap_or(self.facts.peer.ip), unix_ms: self.facts.unix_ms }
    }

    /// Writes the one record.
    pub fn finish(mut self: Box<Self>, outcome: Outcome, denial: Option<&Denial>) {
        let now = self.sinks.now();
        self.close(now, outcome, denial);
    }

    /// Writes the one record of an exchange that was answered, `now`.
    pub fn answered(mut self: Box<Self>, now: Tick) {
        self.close(now, Outcome::Answered, None);
    }

    fn close(&mut self, now: Tick, outcome: Outcome, denial: Option<&Denial>) {
        self.finished = true;
        let sinks = Arc::clone(&self.sinks);
        sinks.finish(self, now, outcome, denial);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            self.close(self.sinks.now(), Outcome::ClientLeft, None);
        }
    }
}
