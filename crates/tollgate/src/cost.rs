//! `tollgate cost`: what was learned of the cost of calls.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tollgate_gateway::config::OperatorDesk;
use tollgate_gateway::keep::{KeptCost, KeptCosts};
use tollgate_layers::cost::NAMES;

use crate::door::{Door, Whose};
use crate::exit::Exit;

/// What the gateway has learned of the cost of calls: asked of the one that runs, or read from `state.directory` where none
/// does.
#[derive(Args, Debug)]
pub(crate) struct Cost {
    #[command(flatten)]
    whose: Whose,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print prices as configuration: `models.NAME.cost.prior`, with which a fresh gateway begins.
    Export,
    /// Print what calls of each model cost, how long answers become, and how far predictions are off.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Cost {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let Some((costs, whence)) = self.learned()? else {
            eprintln!("tollgate: no gateway runs, and none has kept what it learned");
            return Ok(Exit::Missing);
        };
        match self.what {
            What::Export => print!("{}", export(&costs)),
            What::Show { json: true } => println!("{}", costs.to_json()),
            What::Show { json: false } => println!("{}{whence}", show(&costs)),
        }
        Ok(Exit::Good)
    }

    /// What was learned, and who says so.
    fn learned(&self) -> anyhow::Result<Option<(KeptCosts, String)>> {
        let OperatorDesk { admin, key, kept } = self.whose.desk()?;
        let door = admin.zip(key).map(|(at, key)| Door::new(at, key));
        if let Some(answer) = door.map(|door| door.read("/costs")).transpose()?.flatten() {
            let costs =
                KeptCosts::from_json(answer.as_bytes()).map_err(anyhow::Error::msg).context("the gateway's answer")?;
            return Ok(Some((costs, "As the gateway says that runs now.".to_owned())));
        }
        let Some(directory) = kept else { return Ok(None) };
        let kept = KeptCosts::read(&directory).map_err(anyhow::Error::msg);
        let kept = kept.with_context(|| format!("`{}`", directory.join("costs").display()))?;
        Ok(kept.map(|costs| (costs, format!("As kept in `{}`; no gateway runs.", directory.display()))))
    }
}

/// A page for people.
fn show(costs: &KeptCosts) -> String {
    let mut out = String::new();
    for cost @ KeptCost { model, upstream, learned } in &costs.costs {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{model} at {upstream}: {} calls", learned.samples);
        if learned.samples == 0 {
            let _ = writeln!(out, "  nothing was learned; prices are those expected beforehand");
        } else {
            let error = learned.error * 100.0;
            let _ = writeln!(out, "  {} a call on average; half of them within {error:.0} %", time(learned.mean_us));
        }
        for (price, name) in learned.prices.iter().zip(WORDS).filter(|(price, _)| **price > 0.0) {
            let _ = writeln!(out, "  {:>9} {name}", time(*price));
        }
        let _ = write!(out, "{}", answers(cost));
    }
    out
}

fn answers(cost: &KeptCost) -> String {
    let KeptCost { learned, .. } = cost;
    let mut out = String::new();
    if learned.answers.count > 0 {
        let (mean, limit) = (learned.answers.mean, learned.answers.limit);
        let _ = writeln!(out, "  answers of {mean:.0} tokens on average, 19 of 20 up to {limit:.0}");
        let _ = writeln!(out, "  {} tenants are known by their own answers", learned.tenants.len());
    }
    if (learned.tokens_per_guess - 1.0).abs() > 0.01 {
        let _ = writeln!(out, "  {:.2} tokens to a token guessed from bytes", learned.tokens_per_guess);
    }
    out
}

/// What a price is of, in the order of the features.
const WORDS: [&str; NAMES.len()] = [
    "for every call",
    "for a thousand tokens read",
    "for a thousand tokens written",
    "for a million pixels",
    "for a million elements",
    "for each row",
    "for a thousand million squared tokens read",
];

/// Microseconds, so that people can read them.
fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.2} s", us / 1e6),
        us if us >= 1e3 => format!("{:.2} ms", us / 1e3),
        us => format!("{us:.1} us"),
    }
}

/// What was learned, as configuration.
fn export(costs: &KeptCosts) -> String {
    let mut out = String::from("models:\n");
    for KeptCost { model, upstream, learned } in &costs.costs {
        if learned.samples == 0 {
            let _ = writeln!(out, "  # {model:?} at {upstream}: nothing was learned");
            continue;
        }
        let _ = writeln!(out, "  {model:?}: # at {upstream}, from {} calls\n    cost:\n      prior:", learned.samples);
        for (price, name) in learned.prices.iter().zip(NAMES) {
            let _ = writeln!(out, "        {name}_us: {price:.1}");
        }
        if learned.answers.count > 0 {
            let _ = writeln!(out, "        output_tokens_mean: {:.0}", learned.answers.mean.ceil());
            let limit = learned.answers.limit.max(learned.answers.mean);
            let _ = writeln!(out, "        output_tokens_limit: {:.0}", limit.ceil());
        }
    }
    out
}
