//! Programs of the system that some tests need, and how to get them on Debian.

use std::path::Path;

use anyhow::Result;

use crate::project::{Project, answers};
use crate::tally::say;
use crate::test::Done;

/// A Debian package, and how to tell that it is there.
type Need = (&'static str, fn() -> bool);

const NEEDS: [Need; 7] = [
    ("curl", || answers("curl", &["--version"])),
    ("haproxy", || answers("haproxy", &["-v"]) || answers("/usr/sbin/haproxy", &["-v"])),
    ("modsecurity-crs", || Path::new("/usr/share/modsecurity-crs/rules").is_dir()),
    ("nginx", || Path::new("/usr/sbin/nginx").exists() || answers("nginx", &["-v"])),
    ("openssl", || answers("openssl", &["version"])),
    ("python3-venv", || answers("python3", &["-c", "import ensurepip, venv"])),
    ("redis-server", || answers("redis-server", &["--version"])),
];

/// Installs what is missing if that is allowed and possible, or names the command.
pub(crate) fn run(project: &Project) -> Result<Done> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(Done::Passed(format!("{} are here", NEEDS.map(|(package, _)| package).join(", "))));
    }
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if is_root() && answers("apt-get", &["--version"]) {
        say(&format!("   installing: {command}"));
        // A package must not start its service: a test's own nginx is what counts.
        let script = format!("export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; {command}");
        let _status = project.command("sh", &["-c", &script]).status()?;
    }
    let missing = self::missing();
    if missing.is_empty() {
        return Ok(Done::Passed("installed what was missing".into()));
    }
    Ok(Done::NotRun(format!("missing: {}; run as root: {command}", missing.join(", "))))
}

fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|(_, is_here)| !is_here()).map(|(package, _)| *package).collect()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}
