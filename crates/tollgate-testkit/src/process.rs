//! The real binary in a process of its own, for what can only be measured from outside.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::House;
use crate::house::environment;

/// A running `tollgate serve`; killed when it is dropped.
pub struct Process {
    child: Child,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Process {
    /// Builds the binary if that is due, and serves the configuration of a house that was only furnished.
    ///
    /// # Panics
    /// If it does not build or does not start.
    #[must_use]
    pub fn serve(house: &House) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(house.folder.join("tollgate.yaml")).envs(environment());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let mut addresses = BTreeMap::new();
        for line in said.lines().map_while(Result::ok) {
            let Some((name, at)) = line.strip_prefix("tollgate: `").and_then(|rest| rest.split_once("` listens on "))
            else {
                panic!("the gateway says: {line}");
            };
            addresses.insert(name.to_owned(), at.parse().expect("an address"));
            if addresses.len() == 3 {
                break;
            }
        }
        assert_eq!(addresses.len(), 3, "the gateway says where it listens");
        Self { child, addresses }
    }

    /// Where a listener is.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn at(&self, listener: &str) -> SocketAddr {
        *self.addresses.get(listener).unwrap_or_else(|| panic!("no listener `{listener}`"))
    }

    /// The most bytes of memory that it ever had resident.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a running process has memory");
        let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number");
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary of the same profile as this test: building it is how we know that it is not an old one.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let profile = test.parent().and_then(Path::parent).expect("tests stand in PROFILE/deps");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "tollgate", "--bin", "tollgate"]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.arg("--target-dir").arg(profile.parent().expect("profiles stand in a target directory"));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(build.status().expect("cargo runs").success(), "the binary builds");
    profile.join("tollgate")
}
