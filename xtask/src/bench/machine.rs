//! What stands beside every figure: the machine, the versions, the commit.

use std::fmt;
use std::process::Command;

use serde_json::{Value, json};

use super::root;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    rustc: String,
    commit: String,
    date: String,
    /// Load average of one minute when the benchmark began.
    load: f64,
}

impl Machine {
    pub(super) fn read() -> Self {
        let cpu_info = read("/proc/cpuinfo");
        let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let memory = read("/proc/meminfo");
        let kb =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
        let dirty = if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { " +" };
        Self {
            cpu: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gb: kb.unwrap_or(0_u64).div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: said("rustc", &["--version"]).split(" (").next().unwrap_or_default().to_owned(),
            commit: format!("{}{dirty}", said("git", &["rev-parse", "--short", "HEAD"])),
            date: said("date", &["-u", "+%Y-%m-%d"]),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }

    /// Whether something else was running, so that the figures deserve less trust.
    pub(super) fn was_busy(&self) -> bool {
        self.load > 0.5
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu, "cores": self.cores, "memory_gb": self.memory_gb, "kernel": self.kernel,
            "rustc": self.rustc, "commit": self.commit, "date": self.date, "load_average": self.load,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gb, kernel, rustc, commit, date, load } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gb} GiB, Linux {kernel}; {rustc}; commit {commit}; {date}; ")?;
        write!(f, "load average {load:.1} at the start")
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
