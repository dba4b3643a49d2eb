//! Tests of the engine: a few rules in memory and one request, told in one line.

mod equality;
mod overture;
mod persistence;
mod phases;
mod semantics;
mod targets;
mod updates;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Facts, HeadView, Knowledge, Known, Processor, ReplyView, Scratch, Tally, Transaction, Verdict};
use crate::ir::{Library, Options, Profile, RuleSet};
use crate::problem::Problem;
use crate::source::Memory;

/// A request and its reply; the defaults are those of a small `GET`.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) processor: Processor,
    pub(super) known: Vec<Known>,
    pub(super) reply: Option<(u16, &'static str, &'static [u8])>,
    pub(super) detect_only: bool,
    pub(super) pinned: Vec<(Box<str>, Box<str>)>,
}

impl Request {
    pub(super) fn get(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), "shop.example".to_owned())],
            body: Vec::new(),
            processor: Processor::Auto,
            known: Vec::new(),
            reply: None,
            detect_only: false,
            pinned: Vec::new(),
        }
    }

    pub(super) fn json(body: &str) -> Self {
        let mut request = Self::get("/");
        request.body = body.as_bytes().to_vec();
        request.processor = Processor::Json;
        request.with("Content-Type", "application/json")
    }

    pub(super) fn form(body: &str) -> Self {
        let mut request = Self::get("/");
        request.body = body.as_bytes().to_vec();
        request.with("Content-Type", "application/x-www-form-urlencoded")
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    /// Of each phase that ran, 5 apart.
    pub(super) verdicts: Vec<Verdict>,
    pub(super) tally: Tally,
}

impl Outcome {
    /// Ids of the rules that matched and log, in order.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.tally.matched.iter().filter(|matched| matched.log).map(|matched| matched.id).collect()
    }

    /// The message of the last rule.
    pub(super) fn msg(&self) -> String {
        let last = self.tally.matched.last().map(|matched| matched.msg.clone());
        String::from_utf8(last.unwrap_or_default()).unwrap()
    }

    /// The first verdict that is not to pass.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdicts.iter().find(|verdict| **verdict != Verdict::Pass).cloned().unwrap_or(Verdict::Pass)
    }
}

pub(super) fn load_with(text: &str, options: &Options) -> Result<(Arc<RuleSet>, Vec<Problem>), Vec<Problem>> {
    let source = Memory::default().with("rules.conf", text).with("words.data", "# words\nfox\nbadger\n");
    RuleSet::load(&source, &["rules.conf".to_owned()], options, &mut Library::default())
}

/// Options of a plain or a fast engine, as `stock`.
pub(super) fn options(plain: bool) -> Options {
    Options { profile: Profile::Stock, plain, ..Options::default() }
}

pub(super) fn load(text: &str) -> Arc<RuleSet> {
    match load_with(text, &options(false)) {
        Ok((rules, _)) => rules,
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// Runs a request through rules, fast and plain; both must agree.
pub(super) fn run(text: &str, request: &Request) -> Outcome {
    run_as(text, request, Profile::Stock)
}

pub(super) fn run_as(text: &str, request: &Request, profile: Profile) -> Outcome {
    let outcome = |plain| {
        let options = Options { profile, plain, ..Options::default() };
        match load_with(text, &options) {
            Ok((rules, _)) => {
                let scratch = &mut Scratch::default();
                let first = once(&rules, request, scratch);
                let mut again = once(&rules, request, scratch);
                // What is remembered of a value changes what is scanned, and nothing else.
                again.tally.work = first.tally.work;
                assert_eq!(first, again);
                first
            }
            Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    };
    let mut fast = outcome(false);
    let mut plain = outcome(true);
    // What was scanned is what the optimisations change.
    (fast.tally.work, plain.tally.work) = (0, 0);
    assert_eq!(fast, plain);
    fast
}

pub(super) fn facts(request: &Request) -> Facts {
    Facts {
        remote: (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 40_000),
        server: (IpAddr::V4(Ipv4Addr::LOCALHOST), 443),
        unique_id: "unique".into(),
        unix_ms: 1_709_211_600_000,
        detect_only: request.detect_only,
        pinned: request.pinned.clone().into(),
    }
}

pub(super) fn once(rules: &Arc<RuleSet>, request: &Request, scratch: &mut Scratch) -> Outcome {
    drive(Transaction::new(Arc::clone(rules), facts(request)), request, scratch)
}

pub(super) fn drive(mut turn: Transaction, request: &Request, scratch: &mut Scratch) -> Outcome {
    let method = if request.body.is_empty() { "GET" } else { "POST" };
    let line = format!("{method} {} HTTP/1.1", request.target);
    let headers: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let head = HeadView {
        line: line.as_bytes(),
        method: method.as_bytes(),
        target: request.target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &headers,
    };
    let mut verdicts = vec![turn.head(&head, scratch)];
    turn.read_body(Bytes::from(request.body.clone()), request.processor, &request.known);
    verdicts.push(turn.body(scratch));
    let mut status = 200;
    if let Some((code, media, body)) = request.reply {
        status = code;
        let headers: [(&[u8], &[u8]); 1] = [(b"Content-Type", media.as_bytes())];
        let reply = ReplyView { status: code, protocol: b"HTTP/1.1", headers: &headers };
        verdicts.push(turn.reply_head(&reply, scratch));
        verdicts.push(turn.reply_body(Bytes::from_static(body), scratch));
    }
    let tally = turn.finish(status, scratch);
    Outcome { verdicts, tally }
}

/// The range of a part of a body, as the caller knows it.
pub(super) fn known(body: &str, part: &str, what: Knowledge) -> Known {
    let start = body.find(part).unwrap();
    Known { at: start..start + part.len(), what }
}
