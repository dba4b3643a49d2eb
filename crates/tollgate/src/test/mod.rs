//! `tollgate test`: holds a configuration against cases.

mod body;
mod case;
mod check;
mod client;
mod judge;
mod report;
mod run;
mod stub;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tollgate_gateway::config::{Config, Sources, load_config, schema};
use tollgate_gateway::start::StartError;

use crate::environment;
use crate::exit::Exit;
use case::CaseFile;
use check::Cases;
use report::{Report, Title};
use run::Stand;

/// Test a configuration: send the requests of YAML cases through the whole gateway, and compare what comes of them
/// with what the cases promise.
///
/// Nothing outside is touched. The gateway listens on a free port of 127.0.0.1, one stub answers for every model
/// server and keeps what it was sent, embedded models work as they are, and keys for the tenants that a case names
/// are made for it. No secret of the configuration is opened, and TLS is left out: `tollgate check` looks at those.
/// Every case meets a fresh gateway, so that its budgets are full.
///
/// A case:
///
///   cases:
///     - what: a caller without a key is refused
///       steps:
///         - send: { path: /predict/digits, json: { features: [] } }
///           expect: { status: 401, stage: auth, upstream: untouched }
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Test {
    /// Case files, or directories that are searched for `*.yaml`. Default: `cases` beside the configuration.
    #[arg(value_name = "CASES")]
    cases: Vec<PathBuf>,
    /// The configuration file of all cases that name none themselves.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// Print one JSON document instead of one line for each case.
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of case files, for editors, and do nothing else.
    #[arg(long)]
    schema: bool,
}

/// A case file, and the configuration that it is about.
struct Sheet {
    path: PathBuf,
    cases: Cases,
    config: PathBuf,
}

impl Test {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the bin speaks to people")]
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if self.schema {
            println!("{}", serde_json::to_string_pretty(&schema::<CaseFile>())?);
            return Ok(Exit::Good);
        }
        let env = environment();
        let (sheets, configs) = match self.read(&env) {
            Ok(read) => read,
            Err(error) => match error.downcast_ref::<StartError>() {
                Some(StartError::Config(report)) if self.json => {
                    println!("{}", serde_json::json!({ "good": false, "problems": report.problems }));
                    return Ok(Exit::Config);
                }
                _ => return Err(error),
            },
        };
        if sheets.is_empty() {
            eprintln!("tollgate: no case file was found; name one, or put some into `cases` beside the configuration");
            return Ok(Exit::Usage);
        }
        let stand = Stand::new(env)?;
        let mut report = Report::default();
        for sheet in &sheets {
            let config = configs.get(&sheet.config).context("every configuration was read")?;
            for (number, case) in sheet.cases.file.cases.iter().enumerate() {
                let steps = stand.run(&sheet.config, config, case)?;
                let title = Title { file: &sheet.path, line: sheet.cases.line(number), what: &case.what };
                let text = report.case(title, &steps);
                if !self.json {
                    println!("{text}");
                }
            }
        }
        if self.json {
            println!("{}", report.to_json());
        } else {
            println!("{}", report.summary());
        }
        Ok(if report.is_good() { Exit::Good } else { Exit::Findings })
    }

    /// Reads every case file and every configuration before the first request.
    fn read(&self, env: &BTreeMap<String, String>) -> anyhow::Result<(Vec<Sheet>, BTreeMap<PathBuf, Config>)> {
        let env = |name: &str| env.get(name).cloned();
        let (mut sheets, mut configs) = (Vec::new(), BTreeMap::new());
        for path in self.files()? {
            let cases = Cases::read(&path, &env)?;
            let own = cases.file.config.as_ref().map(|own| path.parent().unwrap_or(Path::new("")).join(own));
            let config = own.unwrap_or_else(|| self.config.clone());
            if !configs.contains_key(&config) {
                let loaded = load_config(&config, &Sources::disk(&env)).map_err(StartError::Config)?;
                configs.insert(config.clone(), loaded.value);
            }
            if let Some(loaded) = configs.get(&config) {
                cases.check(loaded)?;
            }
            sheets.push(Sheet { path, cases, config });
        }
        Ok((sheets, configs))
    }

    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let beside = self.config.parent().unwrap_or(Path::new("")).join("cases");
        let named = if self.cases.is_empty() && beside.is_dir() { vec![beside] } else { self.cases.clone() };
        let mut files = Vec::new();
        for path in named {
            if path.is_dir() {
                search(&path, &mut files)?;
            } else {
                files.push(path);
            }
        }
        Ok(files)
    }
}

/// Every `*.yaml` below `directory` in the order of names, except configurations, which say so by their `version`.
fn search(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut entries = read().with_context(|| format!("reading `{}`", directory.display()))?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            search(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") && !is_config(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file is a configuration that lies among the cases.
fn is_config(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.starts_with("version:"))
}
