//! `tollgate policy diff`: requests that were, decided by two configurations.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tollgate_gateway::config::PolicyDesk;
use tollgate_layers::authz::Explained;

use super::desk;
use super::records::{Known, Records, UNTOLD};
use crate::exit::Exit;

/// Decide recorded requests again, by this configuration and by a new one, and list those that come out differently.
///
/// It reads access lines (`record.access`): tenant, principal, route, model, method, address and time. Scopes, certificates,
/// prices and bodies stand in no record: a request whose policies look at them is listed as one that cannot be told.
#[derive(Args, Debug)]
pub(super) struct Diff {
    /// Files of access lines; `-` is the standard input.
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<PathBuf>,
    /// The configuration that serves.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// The configuration that might.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What becomes of a request.
enum Fate {
    /// What is decided now, and what would be.
    Changes(String, String),
    Same,
    /// Facts that records do not hold, and that policies look at.
    Untold(BTreeSet<&'static str>),
}

impl Diff {
    #[expect(clippy::print_stdout, reason = "the bin speaks to people")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let (now, then) = (desk(&self.config)?, desk(&self.to)?);
        let mut records = Records::default();
        for log in &self.logs {
            let read = match log.to_str() {
                Some("-") => records.read(io::stdin().lock()),
                _ => File::open(log).map_err(Into::into).and_then(|file| records.read(BufReader::new(file))),
            };
            read.with_context(|| format!("`{}`", log.display()))?;
        }
        let (mut changed, mut untold, mut facts, mut odd) = (0, 0, BTreeSet::new(), 0);
        for (known, (lines, denied)) in &records.known {
            match fate(known, &now, &then) {
                Fate::Changes(before, after) => {
                    changed += lines;
                    let Known { tenant, principal, route, model, .. } = known;
                    let model = model.as_deref().unwrap_or("no model");
                    println!("{tenant} {principal} on {route} with {model}: {before} -> {after} ({lines} records)");
                }
                Fate::Same => odd += if allows(known, &now) { *denied } else { lines - denied },
                Fate::Untold(of) => {
                    untold += lines;
                    facts.extend(of);
                }
            }
        }
        let all: u64 = records.known.values().map(|(lines, _)| lines).sum();
        println!("{changed} of {all} records change");
        if untold > 0 {
            let facts: Vec<_> = facts.into_iter().collect();
            println!("{untold} cannot be told: their policies look at {}, which no record holds", facts.join(", "));
        }
        if odd > 0 {
            println!("{odd} were decided otherwise when they were made than `{}` decides", self.config.display());
        }
        if records.passed_over > 0 {
            println!("{} are about no caller", records.passed_over);
        }
        Ok(if changed > 0 { Exit::Findings } else { Exit::Good })
    }
}

fn fate(known: &Known, now: &PolicyDesk, then: &PolicyDesk) -> Fate {
    let mut fates = Vec::new();
    let mut untold = BTreeSet::new();
    for imagined in known.imagined(&now.routes) {
        let decide = |desk: &PolicyDesk| desk.authz.explain(&imagined, desk.routes.all());
        let (before, after) = (decide(now), decide(then));
        for explained in [&before, &after].into_iter().flatten() {
            let reads = explained.steps.iter().flat_map(|step| step.reads.iter().copied());
            untold.extend(reads.filter(|fact| UNTOLD.contains(fact)));
        }
        let changes = is_allowed(&before) != is_allowed(&after);
        fates.push(changes.then(|| (told(before), told(after))));
    }
    if !untold.is_empty() {
        return Fate::Untold(untold);
    }
    let same = fates.iter().filter(|fate| fate.is_none()).count();
    match fates.into_iter().flatten().next() {
        Some((before, after)) if same == 0 => Fate::Changes(before, after),
        // Whether its answer came in pieces decides.
        Some(_) => Fate::Untold(BTreeSet::from(["action"])),
        None => Fate::Same,
    }
}

fn allows(known: &Known, desk: &PolicyDesk) -> bool {
    known.imagined(&desk.routes).iter().any(|imagined| is_allowed(&desk.authz.explain(imagined, desk.routes.all())))
}

fn is_allowed(decided: &Result<Explained, String>) -> bool {
    decided.as_ref().is_ok_and(|explained| explained.allowed)
}

fn told(decided: Result<Explained, String>) -> String {
    match decided {
        Ok(Explained { allowed: true, .. }) => "allowed".to_owned(),
        Ok(explained) => format!("denied, {}", explained.because.unwrap_or_default()),
        Err(why) => format!("denied, {why}"),
    }
}
