//! One run of the load generator.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::cells::{Cell, Stages, Transport};
use super::process::{Core, pinned};
use super::scene::{PATH, REPLY_BYTES};

/// Requests at once in the closed loop.
const AT_ONCE: usize = 64;
/// Connections of the open loop.
const OPEN_CONNECTIONS: usize = 32;
const STEP: Duration = Duration::from_millis(20);
/// How long a run may take beyond its own time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent where.
#[derive(Clone, Debug)]
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    /// The folder with bodies, certificate and key.
    pub(super) dir: &'a Path,
    pub(super) cell: Cell,
    pub(super) port: u16,
    pub(super) warmup: f64,
    pub(super) seconds: f64,
}

/// What a closed loop gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// CPU time of the gateway for each request, in microseconds.
    pub(super) cpu_us: f64,
    pub(super) per_second: f64,
}

/// What an open loop gave, in microseconds from when a request was due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Run<'_> {
    /// As many requests as the gateway takes; its CPU time is that of `pids`.
    pub(super) fn closed(&self, streams: usize, pids: &[u32]) -> anyhow::Result<Closed> {
        let streams = if self.cell.transport == Transport::TlsH2 { streams } else { 1 };
        let mut command = self.command()?;
        let connections = (AT_ONCE / streams).max(1);
        command.args(["--connections", &connections.to_string(), "--streams", &streams.to_string()]);
        for pid in pids {
            command.args(["--watch", &pid.to_string()]);
        }
        let report = self.report(command)?;
        let number = |value: &Value| value.as_f64().context("a report of another form");
        let per_second = number(&report["completed"])? / number(&report["seconds"])?;
        ensure!(per_second > 0.0, "no request was answered: {report}");
        Ok(Closed { cpu_us: number(&report["cpu"]["us_per_request"])?, per_second })
    }

    /// Requests at the cell's rate.
    pub(super) fn open(&self) -> anyhow::Result<Open> {
        let mut command = self.command()?;
        command.args(["--connections", &OPEN_CONNECTIONS.to_string(), "--rate", &self.cell.rate().to_string()]);
        let report = self.report(command)?;
        let at = |name: &str| report["latency_us"][name].as_f64().context("no latency was measured");
        Ok(Open { p50: at("p50")?, p99: at("p99")?, p999: at("p999")? })
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = pinned(Core::Load, self.program);
        command.args(["--port", &self.port.to_string(), "--path", PATH, "--expect-bytes", &REPLY_BYTES.to_string()]);
        command.args(["--warmup", &self.warmup.to_string(), "--seconds", &self.seconds.to_string()]);
        command.arg("--body").arg(self.dir.join(format!("body-{}.json", self.cell.size.name())));
        let protocol = match self.cell.transport {
            Transport::Plain => "plain",
            Transport::TlsH1 => "tls-h1",
            Transport::TlsH2 => "tls-h2",
        };
        command.args(["--protocol", protocol, "--ca"]).arg(self.dir.join("cert.pem"));
        if self.cell.stages == Stages::All {
            let key = std::fs::read_to_string(self.dir.join("api-key"))?;
            command.arg("--header").arg(format!("authorization: Bearer {}", key.trim()));
        }
        Ok(command)
    }

    /// The report of a run in which every answer was as it should be.
    fn report(&self, mut command: Command) -> anyhow::Result<Value> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("no load generator")?;
        let limit = Duration::from_secs_f64(self.warmup + self.seconds) + PATIENCE;
        if let Err(error) = wait(&mut child, limit) {
            // It is a child that nobody waited for: its id is still its own.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.context(self.cell.to_string()));
        }
        let mut text = String::new();
        child.stdout.take().context("stdout is a pipe")?.read_to_string(&mut text)?;
        let report: Value = serde_json::from_str(&text).context("the load generator said no JSON")?;
        let clean = report["bad"] == 0 && report["errors"] == 0;
        ensure!(clean, "{}: bad answers make it worthless: {report}", self.cell);
        Ok(report)
    }
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    while waited < limit {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the load generator ended with {status}");
            return Ok(());
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    bail!("the load generator did not end")
}
