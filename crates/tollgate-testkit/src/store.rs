//! A real `redis-server` or `valkey-server` of one test, on a socket file, gone when the test is over.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Folder;

/// A server that forgets everything when it ends.
#[derive(Debug)]
pub struct StoreServer {
    folder: Folder,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// Where the servers are looked for, and the package that brings each.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "apt-get install redis-server"), ("valkey-server", "Valkey 8")];

impl StoreServer {
    /// A `redis-server` that runs, or how to get one.
    ///
    /// # Errors
    /// The command that installs it.
    pub fn redis() -> Result<Self, &'static str> {
        Self::new(PROGRAMS[0], &[])
    }

    /// A `valkey-server` that runs, or what is missing.
    ///
    /// # Errors
    /// What would have to be installed.
    pub fn valkey() -> Result<Self, &'static str> {
        Self::new(PROGRAMS[1], &[])
    }

    /// A `redis-server` with more arguments, `DIR` in which stands for its directory.
    ///
    /// # Errors
    /// The command that installs it.
    pub fn redis_with(arguments: &[&str]) -> Result<Self, &'static str> {
        Self::new(PROGRAMS[0], arguments)
    }

    fn new((program, how): (&'static str, &'static str), arguments: &[&str]) -> Result<Self, &'static str> {
        if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(how);
        }
        let folder = Folder::fresh();
        let here = folder.path().display().to_string();
        let arguments = arguments.iter().map(|argument| argument.replace("DIR", &here)).collect();
        let mut server = Self { folder, program, arguments, child: None };
        server.start();
        Ok(server)
    }

    /// Starts it, or starts it again, and waits until it accepts.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self) {
        self.kill();
        let mut command = Command::new(self.program);
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
        command.arg(self.socket()).arg("--dir").arg(self.folder.path()).args(&self.arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("it starts"));
        let accepts = (0..5_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            UnixStream::connect(self.socket()).is_ok()
        });
        assert!(accepts, "{} does not accept", self.program);
    }

    /// Kills it hard.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
        }
        drop(std::fs::remove_file(self.socket()));
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its number, for signals.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its directory.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("store.sock")
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.kill();
    }
}
