//! `tollgate waf explain`: what a rule is, and where it stands.

use clap::Args;

use super::load::Which;
use crate::exit::Exit;

/// Say what a rule looks for and where it stands.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Its id, as records name it.
    id: u64,
    #[command(flatten)]
    which: Which,
}

/// What the numbers of severities mean.
const SEVERITIES: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

/// The word for a severity.
pub(super) fn severity(number: Option<u8>) -> &'static str {
    number.and_then(|number| SEVERITIES.get(usize::from(number))).copied().unwrap_or("-")
}

impl Explain {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let opened = self.which.open()?;
        let waf = opened.compile()?;
        let Some(rule) = waf.rule(opened.route, self.id) else {
            let near = waf.rule_ids(opened.route).into_iter().min_by_key(|id| id.abs_diff(self.id));
            eprintln!("tollgate: no rule {} is loaded", self.id);
            if let Some(near) = near {
                eprintln!("  hint: the nearest one is {near}");
            }
            return Ok(Exit::Findings);
        };
        println!("{} in phase {}, severity {}", rule.id, rule.phase, severity(rule.severity));
        println!("{}", rule.place);
        if !rule.msg.is_empty() {
            println!("\n{}", rule.msg);
        }
        if !rule.tags.is_empty() {
            println!("\ntags: {}", rule.tags.join(", "));
        }
        if rule.excuses_prompts {
            println!("\nPrompts are excused from it under `profile: ml`.");
        }
        println!("\n{}", rule.text.trim_end());
        Ok(Exit::Good)
    }
}
