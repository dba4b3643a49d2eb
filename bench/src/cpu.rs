//! CPU time of other processes, as the kernel counts it.

use anyhow::Context;
use serde_json::{Value, json};

/// Nanoseconds in a tick of `/proc/PID/stat`: `USER_HZ` is 100 wherever Linux runs.
const TICK_NS: u64 = 10_000_000;

/// CPU time since the processes began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// All of it, exact: from `schedstat` of every thread.
    ns: u64,
    user_ns: u64,
    system_ns: u64,
}

impl Spent {
    /// The sum over those processes.
    ///
    /// # Errors
    /// A process that is not there.
    pub fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let one = Self::of_one(*pid).with_context(|| format!("no CPU time of process {pid}"))?;
            sum.ns += one.ns;
            sum.user_ns += one.user_ns;
            sum.system_ns += one.system_ns;
        }
        Ok(sum)
    }

    fn of_one(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (user, system) = ticks(&stat).context("a `stat` of another form")?;
        let (user_ns, system_ns) = (user * TICK_NS, system * TICK_NS);
        let mut ns = 0;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end in between.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        // A kernel without scheduler statistics.
        let ns = if ns == 0 { user_ns + system_ns } else { ns };
        Ok(Self { ns, user_ns, system_ns })
    }

    /// What was spent since then.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            ns: self.ns.saturating_sub(earlier.ns),
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
        }
    }

    /// All of it, in nanoseconds.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.ns
    }

    /// For the document of a load generator.
    #[must_use]
    pub fn report(self, requests: u64) -> Value {
        let each = |ns: u64| (requests > 0).then(|| ns as f64 / 1000.0 / requests as f64);
        json!({
            "us_per_request": each(self.ns),
            "user_us_per_request": each(self.user_ns),
            "system_us_per_request": each(self.system_ns),
            "seconds": self.ns as f64 / 1e9,
        })
    }
}

/// User and system ticks in `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    // The name of the program may hold blanks and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Spent, ticks};

    #[test]
    fn ticks_are_found_whatever_the_program_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 31 17 5 6 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), Some((31, 17)));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about time")]
    fn a_busy_process_spends_and_an_unknown_one_is_an_error() {
        let me = std::process::id();
        let before = Spent::of(&[me]).expect("it runs");
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        let spent = Spent::of(&[me]).expect("it runs").since(before);
        assert!(spent.ns > 10_000_000, "{spent:?}");
        assert!(Spent::of(&[u32::MAX]).is_err());
    }
}
