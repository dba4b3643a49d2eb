//! `tollgate demo`: the gateway at work, without a file, an argument or a network.
//!
//! It starts a real gateway with real models on loopback, sends it real inputs and real attacks over TLS, and holds
//! every verdict against what was promised. It proves that the pieces work together; it measures no performance.

mod attacks;
mod backend;
mod client;
mod flood;
mod paint;
mod records;
mod setup;
mod tour;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_core::time::Clock;

use self::attacks::Row;
use self::flood::Flood;
use self::paint::{Paint, time};
use self::records::Records;
use self::setup::Scene;
use self::tour::Judged;
use crate::environment;
use crate::exit::Exit;
use crate::serve::until_stopped;

/// See it at work. Starts a gateway with three models on loopback, with a certificate and keys of its own; sends it a
/// handwritten digit, web addresses and sentences; then tries what an attacker would try, and shows which stage said
/// no. Afterwards it goes on serving, with ready-made `curl` lines, until Ctrl-C. It needs no network and no file, and
/// leaves nothing behind.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Exit after the tour: 0 if every verdict was as promised, 1 if not.
    #[arg(long)]
    once: bool,
    /// Print one JSON document instead of the tour.
    #[arg(long)]
    json: bool,
    /// Work in this directory, new or empty, and keep it: configuration, certificates, key file, access records.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Everything that was seen.
struct Seen {
    judged: Vec<Judged>,
    rows: Vec<Row>,
    flood: Flood,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let clock = Clock::real();
        let scene = Scene::start(self.keep.as_deref(), &clock)?;
        let show = Show { paint: Paint::of(&environment()), quiet: self.json };
        show.opening(&scene);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = runtime.block_on(async {
            tokio::select! {
                seen = show.tour(&scene, &clock) => seen,
                interrupted = interrupted() => {
                    interrupted?;
                    bail!("interrupted before the tour was over")
                }
            }
        })?;
        if self.json {
            document(&scene, &seen, self.once)?;
        }
        show.closing(&seen);
        if !self.once {
            if !self.json {
                show.curl(&scene);
            }
            until_stopped(scene.gateway().control())?;
        }
        Ok(seen.exit())
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Shows the tour while it happens; says nothing if the reader is a machine.
#[derive(Clone, Copy)]
struct Show {
    paint: Paint,
    quiet: bool,
}

impl Show {
    fn say(self, text: &str) {
        if !self.quiet {
            // A reader who has left, as `head` does, has seen enough; the verdicts count all the same.
            drop(writeln!(std::io::stdout(), "{text}"));
        }
    }

    fn opening(self, scene: &Scene) {
        let (prepare, gateway) = (time(micros(scene.took.prepare)), time(micros(scene.took.gateway)));
        self.say(&self.paint.title("Tollgate: a gate in front of model servers"));
        self.say(&format!("  serving     https://{}", scene.address));
        self.say(&format!("  config      {}", scene.home.config().display()));
        self.say(&format!("  started in  {gateway} with three models, after {prepare} for certificates and keys"));
        if let Some(memory) = memory() {
            self.say(&format!("  memory      {} MB resident, client and backend included", memory / 1_000_000));
        }
    }

    async fn tour(self, scene: &Scene, clock: &Clock) -> anyhow::Result<Seen> {
        let records = Records::new(scene.home.access(), clock.clone());
        let judged = tour::walk(scene).await?;
        let of = |model: &str| judged.iter().filter(|one| one.model == model).collect::<Vec<_>>();
        self.say(&self.paint.title("Handwritten digits that the model never saw"));
        self.say(self.paint.digits(&of("digits")).trim_end());
        self.say(&self.paint.title("Are these web addresses phishing sites? Nine features of each page"));
        self.say(self.paint.phishing(&of("phishing")).trim_end());
        self.say(&self.paint.title("Is this sentence positive or negative?"));
        self.say(self.paint.sentences(&of("sentiment")).trim_end());
        self.say(&self.paint.title("What an attacker would try"));
        self.say(&format!("{}\n\n{}", self.paint.legend(), self.paint.heading()));
        let mut rows = Vec::new();
        for attack in attacks::all(scene)? {
            let row = attack.run(scene, &records).await?;
            self.say(&self.paint.row(&row));
            rows.push(row);
        }
        let flood = flood::run(scene, &records).await.context("flooding")?;
        self.say(&self.paint.flood(&flood));
        Ok(Seen { judged, rows, flood })
    }

    fn closing(self, seen: &Seen) {
        let (kept, all) = seen.count();
        let memory = memory().map_or_else(String::new, |memory| format!("; memory {} MB", memory / 1_000_000));
        self.say(&format!("\n  {}{memory}", self.paint.sum(kept, all)));
    }

    fn curl(self, scene: &Scene) {
        self.say(&self.paint.title("It goes on serving. In another terminal:"));
        for line in curl_lines(scene) {
            self.say(format!("  {line}").trim_end());
        }
        self.say(&format!("\n  {}", self.paint.faint("Ctrl-C ends it and removes what it made")));
    }
}

fn curl_lines(scene: &Scene) -> Vec<String> {
    let (demo, url, admin) = (scene.home.path.display(), scene.address, scene.admin);
    let lines = [
        r#"ask() { curl --cacert "$DEMO/ca.pem" -H 'Content-Type: application/json' "$@"; }"#,
        "",
        "ask $URL/health",
        r#"ask -H "Authorization: Bearer $KEY" -d @"$DEMO/digit.json" $URL/predict"#,
        r#"ask -H "X-API-Key: $KEY" -d '{"text": "I love it!"}' $URL/predict/sentiment"#,
        r#"ask -H "X-API-Key: $KEY" $URL/v2/models/digits"#,
        r#"ask -H "X-API-Key: $KEY" -d @"$DEMO/tensor.json" $URL/v2/models/digits/infer"#,
        "",
        r#"curl -H "Authorization: Bearer $(cat "$DEMO/admin.key")" $ADMIN/metrics"#,
        r#"tail -f "$DEMO/access.jsonl""#,
    ];
    let exports = [
        format!("export DEMO='{demo}'"),
        format!("export KEY={}", scene.keys.demo),
        format!("export URL=https://{url} ADMIN=http://{admin}"),
    ];
    exports.into_iter().chain(lines.map(str::to_owned)).collect()
}

impl Seen {
    /// How many verdicts were as promised, of how many.
    fn count(&self) -> (usize, usize) {
        let judged = self.judged.iter().map(|one| one.as_promised);
        let all: Vec<bool> = judged.chain(self.rows.iter().map(|row| row.as_promised)).collect();
        let kept = all.iter().filter(|kept| **kept).count();
        (kept + usize::from(self.flood.as_promised), all.len() + 1)
    }

    fn exit(&self) -> Exit {
        let (kept, all) = self.count();
        if kept == all { Exit::Good } else { Exit::Findings }
    }
}

fn document(scene: &Scene, seen: &Seen, once: bool) -> anyhow::Result<()> {
    let (kept, all) = seen.count();
    let document = json!({
        "good": kept == all,
        "verdicts": all,
        "as_promised": kept,
        "started_us": { "prepare": micros(scene.took.prepare), "gateway": micros(scene.took.gateway) },
        "memory_bytes": memory(),
        "url": format!("https://{}", scene.address),
        "config": scene.home.config(),
        "tour": seen.judged,
        "attacks": seen.rows,
        "flood": seen.flood,
        // Where nothing is served any more, there is nothing to ask.
        "curl": if once { Vec::new() } else { curl_lines(scene) },
    });
    writeln!(std::io::stdout(), "{document}").context("printing")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Resident memory of this process, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::attacks::Verdict;
    use super::*;

    fn row(as_promised: bool) -> Row {
        let verdict = |status| Verdict { status, ..Verdict::default() };
        let (sent, promised) = ("an attack".to_owned(), verdict(401));
        Row { sent, promised, got: verdict(200), evidence: None, took_us: 1, as_promised }
    }

    #[test]
    fn one_broken_promise_is_a_finding_wherever_it_is() {
        let flood = |as_promised| Flood { as_promised, ..Flood::default() };
        let seen = |rows, flood| Seen { judged: Vec::new(), rows, flood };
        assert_eq!(seen(vec![row(true)], flood(true)).exit(), Exit::Good);
        assert_eq!(seen(vec![row(true), row(false)], flood(true)).exit(), Exit::Findings);
        assert_eq!(seen(vec![row(true)], flood(false)).exit(), Exit::Findings);
        assert_eq!(seen(vec![row(true), row(false)], flood(true)).count(), (2, 3));
    }

    #[test]
    fn a_broken_promise_is_shown_with_what_was_promised() {
        let plain = Paint::of(&environment());
        let line = plain.row(&row(false));
        assert!(line.contains("200 served") && line.contains("promised: 401"), "{line}");
        assert!(!plain.row(&row(true)).contains("promised"));
    }
}
