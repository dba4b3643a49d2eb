//! A folder, a mock model server and gateways before it that differ in their rules.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::super::super::process::{Core, Running, free_port, pinned};
use super::Tools;

const STEP: Duration = Duration::from_millis(20);
/// How long a run of the generator may take, whatever it was told.
const PATIENCE: Duration = Duration::from_secs(120);

/// The section `waf` of a gateway without rules.
pub(super) const OFF: &str = "waf: { mode: \"off\" }";

/// Everything that runs; it ends with this.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    upstream: u16,
    keep: bool,
    _mock: Running,
}

/// One gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
    pub(super) port: u16,
    log: PathBuf,
}

/// How a gateway is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) name: &'static str,
    /// The section `waf`, or nothing.
    pub(super) waf: &'a str,
    /// More sections.
    pub(super) more: &'a str,
    pub(super) workers: usize,
    pub(super) core: Core,
}

impl Place {
    /// A mock with those arguments.
    pub(super) fn set(tools: &Tools, mock: &[&str], keep: bool) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("tollgate-bench-waf-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let mut command = pinned(Core::Load, &tools.mock);
        command.args(mock).stdout(Stdio::piped());
        let mut mock = Running::start("mock", command, &dir)?;
        let upstream = mock.first_line()?.parse()?;
        Ok(Self { dir, upstream, keep, _mock: mock })
    }

    /// A gateway that listens.
    pub(super) fn gateway(&self, tools: &Tools, shape: Shape<'_>) -> anyhow::Result<Gateway> {
        let port = free_port()?;
        let file = self.dir.join(format!("{}.yaml", shape.name));
        fs::write(&file, config((port, self.upstream), &shape))?;
        let mut command = pinned(shape.core, &tools.tollgate);
        command.args(["serve", "--config"]).arg(file).stdout(Stdio::null());
        let mut running = Running::start(shape.name, command, &self.dir)?;
        running.listening(port)?;
        Ok(Gateway { running, port, log: self.dir.join(format!("{}.log", shape.name)) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies in the folder for temporary things.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Gateway {
    fn pid(&self) -> u32 {
        self.running.pids().first().copied().unwrap_or_default()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.running.pids()
    }

    /// Asks for a reload.
    pub(super) fn hang_up(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no process")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// How many reloads it has told of.
    pub(super) fn reloads(&self) -> anyhow::Result<usize> {
        let said = fs::read_to_string(&self.log)?;
        ensure!(!said.contains("the old policy goes on"), "a reload failed: {said}");
        Ok(said.lines().filter(|line| line.starts_with("tollgate: policy ") && line.ends_with(" serves")).count())
    }

    /// Kilobytes resident: now, and at most since the last [`Gateway::forget_peak`].
    pub(super) fn memory_kb(&self) -> anyhow::Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).context("no such memory")
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    pub(super) fn forget_peak(&self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").context("the peak cannot be reset")
    }
}

/// A run of a program that prints one JSON document.
pub(super) struct Run(Child);

impl Run {
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?))
    }

    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Waits for it.
    pub(super) fn report(mut self) -> anyhow::Result<Value> {
        let mut waited = Duration::ZERO;
        while !self.has_ended()? {
            if waited > PATIENCE {
                bail!("it did not end");
            }
            std::thread::sleep(STEP);
            waited += STEP;
        }
        let mut text = String::new();
        self.0.stdout.take().context("stdout is a pipe")?.read_to_string(&mut text)?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // It is a child that nobody waited for: its id is still its own.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The generator with those arguments; of a connection's address only the port is missing.
pub(super) fn load(tools: &Tools, gateway: &Gateway, args: &[&str]) -> Command {
    let mut command = pinned(Core::Load, &tools.load);
    command.args(["--port", &gateway.port.to_string()]).args(args);
    command.args(["-H", "user-agent: python-httpx/0.27", "-H", "accept: */*"]);
    command
}

/// A number of a report.
pub(super) fn number(report: &Value, path: &str) -> anyhow::Result<f64> {
    report.pointer(path).and_then(Value::as_f64).with_context(|| format!("no `{path}` in {report}"))
}

/// The middle of some values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The section `waf` with the Core Rule Set, blocking, at paranoia level 1, and the pack beside it.
pub(super) fn with_rules(tools: &Tools) -> String {
    format!("waf: {{ mode: enforce, crs: \"{}\" }}", tools.crs.display())
}

fn config((port, upstream): (u16, u16), shape: &Shape<'_>) -> String {
    let Shape { waf, more, workers, .. } = shape;
    format!(
        r#"version: 1
runtime: {{ workers: {workers} }}
memory: {{ bodies: 1GiB }}
listeners:
  plain: {{ bind: "127.0.0.1:{port}" }}
upstreams:
  mock: {{ endpoints: ["http://127.0.0.1:{upstream}"], inflight: {{ max: 256 }} }}
routes:
  - {{ name: rest, path: "/{{*rest}}", methods: [GET, POST], protocol: none, auth: none, upstream: mock, max_body_bytes: 16777216 }}
network: {{ mode: "off" }}
authz: {{ mode: "off" }}
limits: {{ mode: "off" }}
record: {{ access: "off" }}
{waf}
{more}
"#
    )
}
