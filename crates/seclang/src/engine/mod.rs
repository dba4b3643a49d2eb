//! Runs a compiled rule set over one request and its reply.

mod act;
mod board;
mod body;
mod clock;
mod collections;
mod derived;
mod eval;
mod head;
mod inputs;
mod looks;
mod macros;
mod names;
mod overlay;
mod overture;
mod proofs;
mod runs;
pub(crate) mod seen;
mod state;
mod transaction;
mod tx;
mod warm;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

pub use self::transaction::Transaction;
pub(crate) use self::warm::warm;
use crate::engine::board::Board;
use crate::engine::names::Walkers;
use crate::engine::overture::Overtures;
use crate::engine::proofs::Proofs;
use crate::engine::seen::Seen;
use crate::engine::transaction::Parts;
use crate::operators::{Caches, Captures};

/// What the embedder knows of an exchange before its head.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `REMOTE_ADDR`
    pub remote: (IpAddr, u16),
    /// `SERVER_ADDR`
    pub server: (IpAddr, u16),
    /// `UNIQUE_ID`
    pub unique_id: Box<str>,
    /// Wall time, ms since 1970, UTC: `TIME_*`
    pub unix_ms: u64,
    /// `SecRuleEngine DetectionOnly`, whatever the rules say.
    pub detect_only: bool,
    /// TX variables that are set before phase 1 and that no rule changes: the route's paranoia level and thresholds.
    pub pinned: Arc<[(Box<str>, Box<str>)]>,
}

/// The head of a request, as received.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    /// The whole first line, without its end.
    pub line: &'a [u8],
    /// `REQUEST_METHOD`
    pub method: &'a [u8],
    /// The request target as received.
    pub target: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`
    pub protocol: &'a [u8],
    /// Names and values, in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// The head of a reply.
#[derive(Clone, Copy, Debug)]
pub struct ReplyView<'a> {
    /// Its status.
    pub status: u16,
    /// `HTTP/1.1`
    pub protocol: &'a [u8],
    /// Names and values, in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// How an untyped body is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Processor {
    /// As the rules choose (`ctl:requestBodyProcessor`, content type).
    Auto,
    /// As JSON, whatever the content type: the caller has parsed it as such.
    Json,
    /// Not at all: no arguments, no `REQUEST_BODY`.
    None,
}

/// What the caller already knows of a part of a JSON body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// Where the value stands: from its first to behind its last byte (brackets or quotes included).
    pub at: Range<usize>,
    /// What it is.
    pub what: Knowledge,
}

/// See [`Known`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Knowledge {
    /// An array, at any nesting, of nothing but numbers, validated.
    Numbers,
    /// A string, or an array of strings, for a model to read.
    Prompt,
}

/// What the rules decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A rule lets the rest pass.
    Allow(Scope),
    /// A rule refuses.
    Deny {
        /// What the client is to get.
        status: u16,
        /// Which rule; 0 when it was a limit.
        rule: u64,
    },
    /// A rule wants the connection closed.
    Drop {
        /// Which rule.
        rule: u64,
    },
    /// The transaction has scanned more than it may.
    OutOfWork,
    /// Nothing objects.
    Pass,
    /// A rule sends the client elsewhere.
    Redirect {
        /// Where to.
        to: Vec<u8>,
        /// Which rule.
        rule: u64,
    },
}

/// What an `allow` covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Everything but phase 5.
    All,
    /// The phases of the request.
    Request,
}

/// A rule that matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matched {
    /// Its id.
    pub id: u64,
    /// The phase in which it matched.
    pub phase: u8,
    /// Its severity.
    pub severity: Option<u8>,
    /// `log` is in effect.
    pub log: bool,
    /// Its message, expanded.
    pub msg: Vec<u8>,
    /// Its `logdata`, expanded: may hold text of the request.
    pub data: Vec<u8>,
    /// Name of the last matching variable, as `ARGS:q`. The part behind the colon is the client's text.
    pub variable: Vec<u8>,
    /// Its disruptive action was noted and not done.
    pub spared: bool,
}

/// What a transaction found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Matched rules, in order.
    pub matched: Vec<Matched>,
    /// `tx.blocking_inbound_anomaly_score`, where the rules keep one.
    pub inbound: Option<i64>,
    /// `tx.blocking_outbound_anomaly_score`
    pub outbound: Option<i64>,
    /// Bytes × rules that were scanned.
    pub work: u64,
}

/// Where persistent collections live.
pub trait Store: Send + Sync {
    /// All variables of `collection` under `key`.
    fn load(&self, collection: &str, key: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)>;
    /// Replaces them; `None` deletes. `seconds` is when it expires.
    #[expect(clippy::too_many_arguments, reason = "it takes all of these to say what is kept where and how long")]
    fn save(&self, collection: &str, key: &[u8], name: &[u8], value: Option<&[u8]>, seconds: u64);
}

/// Mutable memory of one thread: matcher caches and the buffers of transactions that have ended. Reused over
/// transactions.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) caches: Caches,
    pub(crate) captures: Captures,
    pub(crate) board: Board,
    pub(crate) seen: Seen,
    pub(crate) proofs: Proofs,
    pub(crate) overtures: Overtures,
    pub(crate) walkers: Walkers,
    pub(crate) parameter: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) digits: Vec<u8>,
    pub(crate) value: Vec<u8>,
    #[expect(
        clippy::vec_box,
        reason = "they move between here and transactions: a pointer is moved, not its kilobytes"
    )]
    spare: Vec<Box<Parts>>,
}

/// How many ended transactions leave their buffers.
const SPARE: usize = 4;

impl Scratch {
    /// Forgets what the rules found of single values, so that the next request costs what its first one did.
    pub fn forget_values(&mut self) {
        self.seen = Seen::default();
    }

    pub(crate) fn take_parts(&mut self) -> Box<Parts> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, parts: Box<Parts>) {
        if self.spare.len() < SPARE {
            self.spare.push(parts);
        }
    }
}

#[cfg(test)]
mod tests;
