//! The program itself, serving as a child process: for tests of what only a process has, such as signals.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at before it counts as never met: 20 seconds.
const LOOKS: u32 = 2000;

/// A directory of its own for one test, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A serving gateway; killed when dropped.
pub(crate) struct Served {
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
    /// Held open, so that what the gateway says about itself has a reader.
    _said: std::thread::JoinHandle<()>,
}

impl Served {
    /// Starts it and waits until each of its two listeners is told.
    pub(crate) fn start(config: &Path, env: &[(&str, &str)]) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        serve.args(["serve", "--config"]).arg(config).env_clear().envs(env.iter().copied());
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut addresses = BTreeMap::new();
        while addresses.len() < 2 {
            let (name, address) = listener(&mut said).expect("a gateway that listens");
            addresses.insert(name, address);
        }
        let said = std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
        Self { child, addresses, _said: said }
    }

    /// Tells it to read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Looks at `condition` until it holds, or for long enough: whether it holds.
    pub(crate) fn comes_true(&self, condition: impl Fn() -> bool) -> bool {
        (0..LOOKS).any(|_| {
            let holds = condition();
            if !holds {
                std::thread::sleep(Duration::from_millis(10));
            }
            holds
        })
    }

    /// Status of a GET on a listener.
    pub(crate) fn get(&self, listener: &str, path: &str, key: Option<&str>) -> u16 {
        status(&self.answer(listener, path, key))
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str, key: &str) -> Option<f64> {
        let answer = self.answer("admin", "/metrics", Some(key));
        assert_eq!(status(&answer), 200, "{answer}");
        let line = answer.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.trim().parse().ok()
    }

    /// Where a listener is.
    pub(crate) fn at(&self, listener: &str) -> SocketAddr {
        *self.addresses.get(listener).expect("a listener of that name")
    }

    /// Asks it to stop, and sees that it does.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }

    /// The whole answer to a GET on a listener.
    pub(crate) fn answer(&self, listener: &str, path: &str, key: Option<&str>) -> String {
        let to = self.at(listener);
        let mut stream = TcpStream::connect(to).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n{key}Connection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a living process");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The next line that tells of a listener: "tollgate: `NAME` listens on ADDR".
fn listener(said: &mut BufReader<ChildStderr>) -> Option<(String, SocketAddr)> {
    let mut line = String::new();
    while said.read_line(&mut line).ok()? > 0 {
        if let Some((name, address)) = line.split_once("` listens on ") {
            return Some((name.rsplit('`').next()?.to_owned(), address.trim().parse().ok()?));
        }
        line.clear();
    }
    None
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
