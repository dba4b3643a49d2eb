//! The access line: one JSON object for each exchange. Ids, numbers and words of closed sets; the only free text is the
//! evidence, which layers write about a request and never copy out of a body, and which passes the redactor.

use std::io::Write as _;

use serde::Serialize;
use tollgate_core::call::ModelId;
use tollgate_core::journal::{Event, Fact};
use tollgate_layers::waf::Turn;

use super::Redactor;
use crate::exchange::{Ending, Exchange};
use crate::release;

#[derive(Serialize)]
struct Line<'a> {
    time_ms: u64,
    id: String,
    listener: &'a str,
    client: Option<String>,
    tls: bool,
    method: Option<&'a str>,
    route: Option<&'a str>,
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    tenant: Option<&'a str>,
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waf_score: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waf_reply_score: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waf_rules: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waf_variables: Vec<String>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    retried: u32,
    #[serde(skip_serializing_if = "is_false")]
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'a str>,
    reserved_us: u64,
    spent_us: u64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "is_none")]
    tokens_in: u64,
    #[serde(skip_serializing_if = "is_none")]
    tokens_out: u64,
    generation: u64,
    #[serde(skip_serializing_if = "is_zero")]
    notes_lost: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_none(value: &u64) -> bool {
    *value == 0
}

/// How many rules, and how many variables, one line names.
const MOST_RULES: usize = 32;
const MOST_VARIABLES: usize = 16;
/// The most bytes of the name of a variable: the part behind its colon is the client's.
const LONGEST_VARIABLE: usize = 64;

/// Names of what matched, each once; never the values.
fn variables(waf: &Turn, redactor: &Redactor) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for matched in waf.logged() {
        let name = matched.variable.get(..LONGEST_VARIABLE).unwrap_or(&matched.variable).escape_ascii().to_string();
        if names.len() < MOST_VARIABLES && !name.is_empty() && !name.starts_with("TX:") && !names.contains(&name) {
            names.push(redactor.clean(&name).into_owned());
        }
    }
    names
}

/// Appends the line of `exchange` to `out`.
pub fn write(out: &mut Vec<u8>, exchange: &Exchange, ending: Ending<'_>, redactor: &Redactor) {
    let Ending { outcome, denial, took } = ending;
    let Exchange { facts, log, seen, waf, .. } = exchange;
    let tally = waf.tally();
    let policy = exchange.policy();
    let verdict = log.verdict().filter(|_| denial.is_some());
    let evidence = verdict.and_then(|entry| match &entry.event {
        Event::Refused(refusal) => Some(refusal.evidence()),
        Event::Faulted(fault) => Some(fault.evidence()),
        _ => None,
    });
    let watched = log.entries().iter().filter(|entry| matches!(entry.event, Event::WouldRefuse(_)));
    let who = seen.who.as_ref();
    let line = Line {
        time_ms: facts.unix_ms,
        id: facts.id.to_string(),
        listener: &facts.peer.listener,
        client: Some(seen.from.unwrap_or(facts.peer.ip).to_string()),
        tls: facts.peer.tls,
        method: seen.method.as_ref().map(http::Method::as_str),
        route: seen.route.as_ref().map(|route| &*route.name),
        model: seen.model.or_else(|| log.fact(Fact::Model).map(ModelId)).and_then(|model| policy.model_name(model)),
        version: release::version_of(exchange),
        tenant: who.map(|who| &*who.tenant),
        principal: who.map(|who| &*who.principal),
        credential: who.and_then(|who| who.credential.as_deref()),
        status: seen.status,
        grpc_status: seen.rpc_status,
        outcome: outcome.name(),
        code: denial.map(|denial| denial.code.name()),
        stage: verdict.map(|entry| entry.stage.name()),
        evidence: evidence.filter(|text| !text.is_empty()).map(|text| redactor.clean(text).into_owned()),
        would_refuse: watched.map(|entry| entry.stage.name()).collect(),
        waf_score: tally.and_then(|tally| tally.inbound).filter(|score| *score > 0),
        waf_reply_score: tally.and_then(|tally| tally.outbound).filter(|score| *score > 0),
        waf_rules: waf.logged().map(|matched| matched.id).take(MOST_RULES).collect(),
        waf_variables: variables(waf, redactor),
        duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        queue_us: log.fact(Fact::QueueWaitUs),
        upstream_status: log.fact(Fact::UpstreamStatus),
        retried: log.fact(Fact::Retried).unwrap_or(0),
        cached: seen.cached,
        fallback: seen.fallback.as_deref(),
        reserved_us: seen.reserved.0,
        spent_us: seen.spent.0,
        bytes_in: seen.bytes_in,
        bytes_out: seen.bytes_out,
        tokens_in: seen.tokens_in,
        tokens_out: seen.tokens_out,
        generation: policy.generation,
        notes_lost: log.lost(),
    };
    // Writing to memory cannot fail, and the line holds nothing that has no JSON form.
    if serde_json::to_writer(&mut *out, &line).is_ok() {
        drop(out.write_all(b"\n"));
    }
}
