//! `tollgate release`: how the versions of a model stand, and the levers that move them.

use std::fmt::Write as _;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tollgate_gateway::admin::releases::PATH;

use crate::door::{Door, Whose};
use crate::exit::Exit;

/// Versions of a model at the gateway that runs: see how they stand, start one, promote it, roll it back.
#[derive(Args, Debug)]
pub(crate) struct Release {
    #[command(flatten)]
    whose: Whose,
    /// The model. Default: all of them for `status`; the others need it.
    #[arg(long, global = true, value_name = "NAME")]
    model: Option<String>,
    /// As JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a version its next step, `--weight` percent, or all calls.
    Promote(Which),
    /// Take a version's calls away; without one on trial, go back to the baseline before.
    Rollback {
        /// The version. Default: the one on trial.
        #[arg(long, value_name = "NAME")]
        version: Option<String>,
    },
    /// Begin the trial of a version, with nothing known of it.
    Start(Which),
    /// Print how versions stand.
    Status,
}

#[derive(Args, Debug)]
struct Which {
    /// The version. Default: the only one that can be meant.
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Its share of the calls, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    weight: Option<u8>,
}

impl Release {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let door = self.whose.door()?;
        match &self.what {
            What::Promote(which) => self.order(&door, "promote", (which.version.as_deref(), which.weight)),
            What::Rollback { version } => self.order(&door, "rollback", (version.as_deref(), None)),
            What::Start(which) => self.order(&door, "start", (which.version.as_deref(), which.weight)),
            What::Status => self.status(&door),
        }
    }

    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn order(&self, door: &Door, act: &str, (version, weight): (Option<&str>, Option<u8>)) -> anyhow::Result<Exit> {
        let Some(model) = &self.model else {
            eprintln!("tollgate: `{act}` needs `--model NAME`");
            return Ok(Exit::Usage);
        };
        let order = json!({ "model": model, "act": act, "version": version, "weight": weight });
        let (status, told) = door.answer("POST", PATH, &order.to_string())?;
        let why = told.get("error").and_then(Value::as_str).unwrap_or("no word why");
        match status {
            200 if self.json => println!("{told}"),
            200 => print!("{}{}", turn(&told["done"]), release(&told["release"])),
            404 | 409 => {
                eprintln!("tollgate: {why}; nothing was changed");
                return Ok(Exit::Usage);
            }
            _ => bail!("the gateway says {status}: {why}"),
        }
        if told["recorded"] == false {
            eprintln!("it is on no record: `record.access` is off");
        }
        if told["survives_restart"] == false {
            eprintln!("a restart forgets it: `state.directory` is not set, or could not be written");
        }
        Ok(Exit::Good)
    }

    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    fn status(&self, door: &Door) -> anyhow::Result<Exit> {
        let told = door.ask("GET", PATH, "")?;
        let asked = |release: &&Value| self.model.as_deref().is_none_or(|model| release["model"] == model);
        let releases: Vec<&Value> = told["releases"].as_array().into_iter().flatten().filter(asked).collect();
        if let (Some(model), true) = (&self.model, releases.is_empty()) {
            eprintln!("tollgate: `{model}` is no model with versions");
            return Ok(Exit::Usage);
        }
        if self.json {
            println!("{}", json!({ "releases": releases }));
        } else if releases.is_empty() {
            println!("no model has versions");
        } else {
            print!("{}", releases.into_iter().map(release).collect::<String>());
        }
        Ok(Exit::Good)
    }
}

/// One turn, in words.
fn turn(turn: &Value) -> String {
    format!(
        "{} {}: {} % -> {} % by the {} ({})\n",
        word(&turn["act"]),
        word(&turn["version"]),
        turn["from_weight"],
        turn["to_weight"],
        word(&turn["by"]),
        word(&turn["why"])
    )
}

/// A page for people.
fn release(release: &Value) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", word(&release["model"]));
    for version in release["versions"].as_array().into_iter().flatten() {
        let evidence = &version["evidence"];
        let _ = write!(
            out,
            "  {:<16} {:>3} %  {:<12} {} calls, {} failed, {} broken, {} slow",
            word(&version["name"]),
            version["weight"].as_u64().unwrap_or(0),
            word(&version["standing"]),
            version["calls"],
            version["failed"],
            version["broken"],
            version["slow"],
        );
        if version["standing"] == "trial" {
            let doubted = if evidence["doubted"] == true { ", looked into call by call" } else { "" };
            let _ = write!(out, "; evidence {} of {}{doubted}", evidence["all"], evidence["needed"]);
        }
        let shadow = &version["shadow"];
        if shadow["percent"] != 0 {
            let _ = write!(out, "; {} mirrored, {} differ", shadow["compared"], shadow["mismatched"]);
        }
        out.push('\n');
    }
    for past in release["history"].as_array().into_iter().flatten().rev().take(5) {
        let _ = write!(out, "  - {}", turn(past));
    }
    out
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
