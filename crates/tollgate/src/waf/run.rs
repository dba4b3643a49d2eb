//! `tollgate waf run`: one request through the rules, and what each of them found.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use tollgate_core::call::Call;
use tollgate_core::guard::{Guard, Mode, OnFault, Switch};
use tollgate_core::identity::{ExchangeId, Facts, Peer};
use tollgate_core::journal::Journal;
use tollgate_core::ruling::Refusal;
use tollgate_core::stage::Stage;
use tollgate_core::time::Clock;
use tollgate_gateway::firewall;
use tollgate_gateway::listen::head::{HeadCheck, HeadLimits, Progress, RawHead};
use tollgate_layers::waf::{Asked, Content, Turn, Waf};

use super::explain::severity;
use super::load::Which;
use crate::exit::Exit;

/// The largest request that is read.
const LARGEST: u64 = 64 << 20;

/// Run a request through the rules, and print what matched with which variable and value, and the score. Exits with 1
/// where the request would be refused.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// File with the request as it would be sent: head, empty line, body. `-` reads it from standard input.
    request: PathBuf,
    #[command(flatten)]
    which: Which,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let request = self.read()?;
        let (head, body) = split(&request).context("the request has no head: a request line and fields are due")?;
        let opened = self.which.open()?;
        let waf = opened.compile()?;
        let turn = walk(waf, opened.route, &head, &body);
        let refused = turn.spared();
        if self.json {
            as_json(&turn, refused.as_ref().map(Refusal::evidence));
        } else {
            as_text(&turn, refused.as_ref().map(Refusal::evidence));
        }
        Ok(if refused.is_some() { Exit::Findings } else { Exit::Good })
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.request.as_os_str() == "-" {
            std::io::stdin().take(LARGEST).read_to_end(&mut bytes).context("reading standard input")?;
        } else {
            let file = std::fs::File::open(&self.request);
            let file = file.with_context(|| format!("opening `{}`", self.request.display()))?;
            file.take(LARGEST).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

/// The head and the body of a request; lines may end in LF alone, as editors write them.
fn split(request: &[u8]) -> Option<(RawHead, Bytes)> {
    let limits = HeadLimits { max_head_bytes: 1 << 20, max_headers: 1000, max_target_bytes: 1 << 20 };
    for text in [request.to_vec(), [request, b"\r\n\r\n"].concat()] {
        if let Progress::Complete { end, head } = HeadCheck::lenient(limits).scan(&text) {
            let body = request.get(end..).unwrap_or_default();
            return Some((head, Bytes::copy_from_slice(body)));
        }
    }
    None
}

/// The request through phases 1, 2 and 5, watched, so that no rule keeps another from being seen.
fn walk(waf: Waf, route: usize, head: &RawHead, body: &Bytes) -> Turn {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer = Peer {
        ip,
        port: 49_152,
        local: (ip, 443),
        listener: "waf run".into(),
        sni: None,
        tls: true,
        certificate: None,
    };
    let clock = Clock::real();
    let facts = Facts { id: ExchangeId(0), peer: Arc::new(peer), started: clock.now(), unix_ms: clock.unix_ms() };
    let switch = Switch { mode: Mode::Observe, on_fault: OnFault::Close };
    let guard = Guard { stage: Stage::Waf, switch, layer: Some(waf) };
    let (mut log, mut turn) = (Journal::default(), Turn::default());
    let asked = Asked { facts: &facts, from: ip, route: Some(route), thread: 0 };
    let call = Call::default();
    // A watched guard lets everything pass; what it would have refused is in the turn.
    drop(guard.ask(&mut log, |f, notes| firewall::head(f, &mut turn, &asked, (Some(head), None), notes)));
    drop(guard.ask(&mut log, |f, _| f.body(&mut turn, Content { bytes: Some(body), call: &call }, 0)));
    if let Some(waf) = &guard.layer {
        waf.finish(&mut turn, &asked, Mode::Observe, 200);
    }
    turn
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn as_text(turn: &Turn, refused: Option<&str>) {
    for matched in turn.logged() {
        println!(
            "phase {}  {:<7} {:<9} {}",
            matched.phase,
            matched.id,
            severity(matched.severity),
            plain(&matched.msg)
        );
        if !matched.variable.is_empty() {
            println!("    {}", plain(&matched.variable));
        }
        if !matched.data.is_empty() {
            println!("    {}", plain(&matched.data));
        }
    }
    if let Some(tally) = turn.tally() {
        if let Some(score) = tally.inbound {
            println!("score {score}");
        }
        println!("work {} bytes x rules", tally.work);
    }
    if let Some(phase) = turn.spent() {
        println!("the budget was spent in phase {phase}: `max_scan_work`");
    }
    match refused {
        Some(why) => println!("it would be refused: {why}"),
        None => println!("nothing refuses it"),
    }
}

#[expect(clippy::print_stdout, reason = "the bin speaks to people")]
fn as_json(turn: &Turn, refused: Option<&str>) {
    let matched: Vec<_> = turn
        .logged()
        .map(|matched| {
            serde_json::json!({
                "id": matched.id,
                "phase": matched.phase,
                "severity": severity(matched.severity),
                "message": plain(&matched.msg),
                "variable": plain(&matched.variable),
                "data": plain(&matched.data),
            })
        })
        .collect();
    let score = turn.tally().and_then(|tally| tally.inbound);
    println!("{}", serde_json::json!({ "matched": matched, "score": score, "refused": refused }));
}

/// Text of a request, fit for a terminal.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
