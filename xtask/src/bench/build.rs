//! Builds what is measured, with the profile that is shipped, and finds or installs nginx.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::root;
use crate::tally::say;

/// Builds programs, given as package and name, with the profile `dist`; their files in the same order.
pub(super) fn build(programs: &[(&str, &str)]) -> anyhow::Result<Vec<PathBuf>> {
    build_with("dist", programs)
}

/// The same with another profile.
pub(super) fn build_with(profile: &str, programs: &[(&str, &str)]) -> anyhow::Result<Vec<PathBuf>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", profile, "--message-format", "json-render-diagnostics"]).current_dir(root());
    for (package, program) in programs {
        cargo.args(["--package", package, "--bin", program]);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("`cargo` cannot be run")?;
    ensure!(output.status.success(), "the build failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let built: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let file = |program: &str| {
        let artifact = |message: &&Value| message["target"]["name"] == program && message["executable"].is_string();
        built.iter().find(artifact).and_then(|message| message["executable"].as_str()).map(PathBuf::from)
    };
    programs.iter().map(|(_, program)| file(program).with_context(|| format!("no `{program}` was built"))).collect()
}

/// The peer.
#[derive(Clone, Debug)]
pub(super) struct Nginx {
    pub(super) program: &'static str,
    /// Such as `nginx 1.22.1, OpenSSL 3.0.20`.
    pub(super) version: String,
    /// Whether `http2 on` is a directive of its own (1.25.1).
    pub(super) http2_directive: bool,
}

impl Nginx {
    /// Finds nginx; installs it where that is possible.
    pub(super) fn find() -> anyhow::Result<Self> {
        if let Some(nginx) = Self::installed() {
            return Ok(nginx);
        }
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
        if root {
            say("installing nginx");
            // A package must not start its service: it would answer in our place.
            let script = "apt-get update && apt-get install -y --no-install-recommends nginx";
            let mut apt = Command::new("sh");
            apt.args(["-c", script]).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
            // Whether it worked shows below.
            let _ = apt.stdout(Stdio::null()).status();
        }
        match Self::installed() {
            Some(nginx) => Ok(nginx),
            None => bail!("nginx is not installed: `apt-get install nginx`"),
        }
    }

    fn installed() -> Option<Self> {
        ["nginx", "/usr/sbin/nginx"].into_iter().find_map(|program| {
            let output = Command::new(program).arg("-V").output().ok()?;
            let text = String::from_utf8_lossy(&output.stderr);
            let number = text.split("nginx/").nth(1)?.split_whitespace().next()?;
            let named = |before: &str| text.split(before).nth(1);
            let openssl = named("running with ").or_else(|| named("built with ")).unwrap_or("no OpenSSL");
            let openssl = openssl.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            Some(Self {
                program,
                version: format!("nginx {number}, {openssl}"),
                http2_directive: at_least(number, [1, 25, 1]),
            })
        })
    }
}

fn at_least(version: &str, least: [u32; 3]) -> bool {
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.as_slice() >= least.as_slice()
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(!at_least("1.22.1", [1, 25, 1]) && !at_least("1.9.15", [1, 25, 1]) && !at_least("x", [1, 25, 1]));
        assert!(at_least("1.25.1", [1, 25, 1]) && at_least("1.100.0", [1, 25, 1]) && at_least("2.0.0", [1, 25, 1]));
    }
}
