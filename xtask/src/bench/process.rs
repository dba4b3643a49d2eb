//! Processes that end with the benchmark: by their own id, also after an error, their children included.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end by itself. nginx needs a moment, a drain none: nothing runs any more.
const PATIENCE: u32 = 50;
const STEP: Duration = Duration::from_millis(100);

/// The cores of the two sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Core {
    /// All there are: what shares them with others.
    Both,
    Gateway,
    /// Generator and mock model server.
    Load,
}

/// A process that was started here.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

/// A command that is pinned to a core where there are two, and that is told to end when this process dies.
pub(super) fn pinned(core: Core, program: &Path) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut words: Vec<&str> = Vec::new();
    let place = match core {
        Core::Both => None,
        Core::Gateway => Some("0"),
        Core::Load => Some("1"),
    };
    if let Some(place) = place.filter(|_| cores > 1 && present("taskset")) {
        words.extend(["taskset", "-c", place]);
    }
    if present("setpriv") {
        words.extend(["setpriv", "--pdeathsig", "TERM"]);
    }
    let Some((first, rest)) = words.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// Whether both sides can have a core of their own.
pub(super) fn can_pin() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) && present("taskset")
}

fn present(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Running {
    /// Starts it; what it says goes into `NAME.log` in that folder.
    pub(super) fn start(name: &'static str, mut command: Command, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let child = command.stdin(Stdio::null()).stderr(File::create(&log)?).spawn();
        Ok(Self { child: child.with_context(|| format!("`{name}` cannot be started"))?, name, log })
    }

    /// Waits until it listens.
    pub(super) fn listening(&mut self, port: u16) -> anyhow::Result<()> {
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended with {status}\n{}", self.name, std::fs::read_to_string(&self.log)?);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(STEP);
        }
        bail!("`{}` does not listen on port {port}\n{}", self.name, std::fs::read_to_string(&self.log)?)
    }

    /// The first line that it prints. Its stdout must be a pipe.
    pub(super) fn first_line(&mut self) -> anyhow::Result<String> {
        let stdout = self.child.stdout.take().context("stdout is not a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// It and its children, grandchildren included.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            tree.extend(children(parent));
            next += 1;
        }
        tree
    }

    /// Ends it as a crash would, without a word.
    pub(super) fn kill(mut self) {
        self.pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
        let _ = self.child.wait();
    }

    fn ended(&mut self) -> bool {
        (0..PATIENCE).any(|_| {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if !ended {
                std::thread::sleep(STEP);
            }
            ended
        })
    }
}

impl Drop for Running {
    /// Asks it to end, and ends it. The workers of a killed nginx master would live on: they are killed as well.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let tree = self.pids();
        signal(self.child.id(), Signal::TERM);
        if !self.ended() {
            tree.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            let _ = self.child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Running;

    #[test]
    fn a_process_and_its_children_are_found_and_ended() {
        let dir = std::env::temp_dir();
        let mut command = Command::new("sh");
        // A shell that ignores the request to end, with a child.
        command.args(["-c", "trap '' TERM; sleep 60 & wait; sleep 60"]);
        let running = Running::start("xtask-bench-process-test", command, &dir).expect("a shell");
        let mut tree = running.pids();
        while tree.len() < 2 {
            tree = running.pids();
        }
        drop(running);
        let lives = |pid: &u32| {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        // The kernel takes a moment to end an orphan.
        let ended = (0..100).any(|_| {
            std::thread::sleep(super::STEP);
            !tree.iter().any(lives)
        });
        assert!(ended, "{tree:?}");
        std::fs::remove_file(dir.join("xtask-bench-process-test.log")).expect("its log");
    }
}
