//! What passed, failed and did not run; and the only place that prints.

use std::fmt;
use std::ops::AddAssign;

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    pub(crate) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// What a line of `cargo test` says: `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let count = counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
            count.unwrap_or(0)
        };
        Some(Self { passed: count("passed"), failed: count("failed"), skipped: count("ignored") })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Prints a line at once.
#[expect(clippy::print_stdout, reason = "a driver speaks to people")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_result_line_of_cargo_test_is_read() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(Tally::of_line(line), Some(Tally { passed: 12, failed: 0, skipped: 1 }));
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_line(line), Some(Tally { passed: 3, failed: 2, skipped: 0 }));
        assert_eq!(Tally::of_line("test tests::result ... ok"), None);
    }

    #[test]
    fn the_closing_line_has_one_form() {
        assert_eq!(Tally { passed: 7, failed: 0, skipped: 2 }.to_string(), "7 passed, 0 failed, 2 skipped");
    }
}
