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

/// What a server says before it ends that was built without TLS and is asked for it, and what to say then.
const NO_TLS: (&str, &str) =
    ("Failed finding TLS support", "the server of TOLLGATE_STORE_SERVER was built without TLS");

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
        let Err(log) = server.try_start() else { return Ok(server) };
        assert!(log.contains(NO_TLS.0), "{} does not accept: {log}", server.program.display());
        Err(NO_TLS.1)
    }

    /// Starts it again, and waits until it accepts.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|log| panic!("{} does not accept: {log}", self.program.display()));
    }

    /// What it said, if it does not accept.
    fn try_start(&mut self) -> Result<(), String> {
        self.kill();
        let path = self.folder.join("store.log");
        let log = std::fs::File::create(&path).expect("a folder of ours");
        let mut command = Command::new(&self.program);
        // The port comes first: an argument of the test may name another.
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
        let socket = self.socket();
        command.arg(&socket).arg("--dir").arg(self.folder.path()).args(&self.arguments);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn();
        let child = self.child.insert(child.expect("it starts"));
        for _ in 0..15_000 {
            std::thread::sleep(Duration::from_millis(1));
            if UnixStream::connect(&socket).is_ok() {
                return Ok(());
            }
            if child.try_wait().expect("a child of ours").is_some() {
                break;
            }
        }
        Err(std::fs::read_to_string(path).unwrap_or_default())
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
