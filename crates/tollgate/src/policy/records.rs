//! Access lines as requests to decide again. A line tells who asked for which model on which route, from where and when; it
//! does not tell scopes, certificates, prices or anything of the body.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tollgate_layers::authz::{Action, Imagined, Payload};
use tollgate_layers::routes::{Protocol, Routes};

/// The most different requests that are told apart.
const MOST: usize = 1_000_000;
/// The longest line that is read.
const LONGEST: usize = 1 << 20;
const HOUR_MS: u64 = 3_600_000;
/// Facts of the context that no line tells.
pub(super) const UNTOLD: [&str; 5] = ["cost", "models", "mtls", "payload", "scopes"];

/// What of a line is read.
#[derive(Deserialize)]
struct Line {
    time_ms: u64,
    client: Option<IpAddr>,
    method: Option<String>,
    route: Option<String>,
    model: Option<String>,
    tenant: Option<String>,
    principal: Option<String>,
    stage: Option<String>,
}

/// A request that was, as far as its line tells. Those of one hour are one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Known {
    pub(super) tenant: String,
    pub(super) principal: String,
    pub(super) route: String,
    pub(super) model: Option<String>,
    reads: bool,
    ip: Option<IpAddr>,
    hour: u64,
}

/// What lines tell, and what they leave out.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Requests, and how many lines each has, and how many of them `authz` refused.
    pub(super) known: BTreeMap<Known, (u64, u64)>,
    /// Lines that are about no caller: refused before anybody was known.
    pub(super) passed_over: u64,
}

impl Records {
    /// Reads lines until they end.
    pub(super) fn read(&mut self, mut lines: impl BufRead) -> anyhow::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = std::io::Read::take(&mut lines, LONGEST as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let line: Line =
                serde_json::from_slice(&line).with_context(|| format!("line {number} is no access line"))?;
            let refused = line.stage.as_deref() == Some("authz");
            let Some(known) = Known::of(line) else {
                self.passed_over += 1;
                continue;
            };
            if self.known.len() >= MOST && !self.known.contains_key(&known) {
                bail!("more than {MOST} different requests: pass fewer lines");
            }
            let (lines, denied) = self.known.entry(known).or_default();
            *lines += 1;
            *denied += u64::from(refused);
        }
        Ok(())
    }
}

impl Known {
    fn of(line: Line) -> Option<Self> {
        Some(Self {
            tenant: line.tenant?,
            principal: line.principal?,
            route: line.route?,
            model: line.model,
            reads: matches!(line.method.as_deref(), Some("GET" | "HEAD")),
            ip: line.client,
            hour: line.time_ms / HOUR_MS,
        })
    }

    /// What it may have been: a line does not say whether an answer came in pieces.
    pub(super) fn imagined(&self, routes: &Routes) -> Vec<Imagined> {
        let protocol = routes.all().iter().find(|route| *route.name == *self.route).map(|route| route.protocol);
        let actions: &[Action] = match protocol {
            Some(Protocol::OipGrpc) => &[Action::Infer, Action::Stream, Action::List],
            _ if self.reads => &[Action::List],
            Some(Protocol::Anthropic) => &[Action::Infer, Action::Stream],
            Some(Protocol::Ollama | Protocol::OpenAi) => &[Action::Infer, Action::Stream, Action::Embed],
            _ => &[Action::Infer],
        };
        actions.iter().map(|action| self.doing(*action)).collect()
    }

    fn doing(&self, action: Action) -> Imagined {
        Imagined {
            tenant: Some(self.tenant.clone()),
            principal: self.principal.clone(),
            workload: self.principal.starts_with("spiffe://"),
            mtls: false,
            scopes: Vec::new(),
            held_to: Vec::new(),
            route: self.route.clone(),
            model: self.model.clone(),
            action,
            ip: self.ip.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
            hour: 0,
            payload: Payload::default(),
            cost: 0,
            unix_ms: Some(self.hour * HOUR_MS),
        }
    }
}
