//! Instructions of four bodies, counted by callgrind and kept in `bench/waf-counts.txt`: a regression shows without a clock.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::super::{build, root};
use crate::project::answers;
use crate::tally::say;

const FILE: &str = "bench/waf-counts.txt";
const BODIES: [&str; 4] = ["get", "chat", "tensor_768", "prose_10000"];
/// How much a count may grow: inlining differs a little from build to build.
const TOLERANCE: f64 = 0.10;

/// Counts, and compares with what is kept; `pin` keeps the new ones.
pub(super) fn run(pin: bool) -> anyhow::Result<()> {
    ensure!(answers("valgrind", &["--version"]), "not run: valgrind is not here; apt-get install valgrind");
    let crs = super::crs()?;
    let program = build::build(&[("tollgate-conformance", "counted")])?.remove(0);
    let out = std::env::temp_dir().join(format!("tollgate-callgrind-{}", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
    let status = valgrind.arg(program).arg("bodies").env("TOLLGATE_CRS_DIR", crs).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "the counted program failed");
    let told = Command::new("callgrind_annotate").args(["--inclusive=yes", "--threshold=100"]).arg(&out).output()?;
    fs::remove_file(&out)?;
    let found = counts(&String::from_utf8_lossy(&told.stdout))?;
    let path = root().join(FILE);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let kept = parse(&text);
    let mut worse = Vec::new();
    for body in BODIES {
        let count = found[body];
        let before = kept.get(body).copied();
        let change = before.map(|before| count as f64 / before as f64 - 1.0);
        say(&format!("{body:12} {count:>12} instructions, kept {}", told_change(before, change)));
        worse.extend(change.filter(|change| *change > TOLERANCE).map(|_| body));
    }
    if pin {
        let lines: Vec<String> = BODIES.iter().map(|body| format!("{body} {}\n", found[body])).collect();
        fs::write(
            &path,
            format!("# Instructions of one request, by `cargo xtask bench waf --callgrind --pin`.\n{}", lines.concat()),
        )?;
        return Ok(());
    }
    if worse.is_empty() { Ok(()) } else { bail!("more instructions than kept in `{FILE}`: {}", worse.join(", ")) }
}

fn told_change(before: Option<u64>, change: Option<f64>) -> String {
    match (before, change) {
        (Some(before), Some(change)) => format!("{before} ({:+.1} %)", change * 100.0),
        _ => "nothing yet: `--pin`".to_owned(),
    }
}

/// From the annotated profile: `1,234,567 (12.3%)  …:counted::counted_get …`.
fn counts(text: &str) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let count = |body: &'static str| {
        let name = format!("counted_{body}");
        let line = text.lines().find(|line| {
            line.split_once(&name)
                .is_some_and(|(_, after)| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        let digits: String =
            line.unwrap_or_default().trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        let count = digits.replace(',', "").parse().ok().with_context(|| format!("no count of `{name}`"))?;
        Ok((body, count))
    };
    BODIES.into_iter().map(count).collect()
}

fn parse(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{counts, parse};

    #[test]
    fn counts_are_read_from_an_annotated_profile_and_from_the_file() {
        let text = "Ir\n9,000,000 (100.0%)  PROGRAM TOTALS\n\
                    1,200 ( 0.1%)  ???:counted::counted_get [/x/counted]\n5 (0.0%)  ???:counted::counted_chat\n\
                    77,000 (1.0%)  x.rs:counted::counted_tensor_768 [/x]\n8 ( 0.0%)  ???:counted::counted_prose_10000'2\n";
        let found = counts(text).expect("all four");
        assert_eq!(found.get("get"), Some(&1_200));
        assert_eq!(found.get("tensor_768"), Some(&77_000));
        assert!(counts("1 (0%) counted_get").is_err());
        assert_eq!(parse("# x\nget 12\n").get("get"), Some(&12));
    }
}
