//! A real `redis-server` or `valkey-server` of one test, on a socket file, gone when the test is over.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Folder;

/// What to run instead of the installed `redis-server`: a `valkey-server`, or another version.
const OTHER: &str = "TOLLGATE_STORE_SERVER";

/// What to say where none is installed.
const HOW: &str = "apt-get install redis-server, or name a server in TOLLGATE_STORE_SERVER";

/// A server that forgets everything when it ends.
#[derive(Debug)]
pub struct StoreServer {
    folder: Folder,
    program: OsString,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl StoreServer {
    /// A server that runs, or how to get one.
    ///
    /// # Errors
    /// What to install.
    pub fn start_one() -> Result<Self, &'static str> {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// What to install.
    pub fn start_with(arguments: &[&str]) -> Result<Self, &'static str> {
        let program = std::env::var_os(OTHER).unwrap_or_else(|| "redis-server".into());
        if Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(HOW);
        }
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { folder: Folder::fresh(), program, arguments, child: None };
        server.start();
        Ok(server)
    }

    /// Starts it again, and waits until it accepts.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self) {
        self.kill();
        let mut command = Command::new(&self.program);
        // The port comes first: an argument of the test may name another.
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
        command.arg(self.socket()).arg("--dir").arg(self.folder.path()).args(&self.arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("it starts"));
        let accepts = (0..15_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            UnixStream::connect(self.socket()).is_ok()
        });
        assert!(accepts, "{} does not accept", self.program.display());
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

    fn socket(&self) -> PathBuf {
        self.folder.join("store.sock")
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.kill();
    }
}
