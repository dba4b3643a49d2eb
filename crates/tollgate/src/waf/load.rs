//! Which rules a verb is about: those of a configuration, or files named on the command line.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::guard::Mode;
use tollgate_gateway::config::{Places, RuleFiles, Sources, load_config};
use tollgate_gateway::start::StartError;
use tollgate_layers::routes::RouteConfig;
use tollgate_layers::waf::{Given, Waf, WafConfig};

use crate::environment;

/// Which rules are meant.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The configuration whose rules are meant. Default: `tollgate.yaml`, unless `--rules` or `--crs` is given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The route whose rules are meant. Default: those of requests without a route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// A rule file, directory or pattern; may be given more than once.
    #[arg(long, value_name = "FILE")]
    rules: Vec<String>,
    /// The Core Rule Set: a directory, or `debian`.
    #[arg(long, value_name = "DIR")]
    crs: Option<String>,
    /// The paranoia level.
    #[arg(long, value_name = "1-4")]
    paranoia: Option<u8>,
}

/// Rules, before they are compiled.
pub(super) struct Opened {
    pub(super) waf: WafConfig,
    pub(super) routes: Vec<RouteConfig>,
    /// Place of the route that is meant; beyond the last one, none.
    pub(super) route: usize,
    places: Option<Places>,
    base: PathBuf,
}

impl Which {
    /// Reads what is meant.
    ///
    /// # Errors
    /// The mistakes of the configuration, or a route that is not there.
    pub(super) fn open(&self) -> anyhow::Result<Opened> {
        let by_hand = !self.rules.is_empty() || self.crs.is_some();
        let mut opened = if by_hand && self.config.is_none() {
            let waf = WafConfig::default();
            Opened { waf, routes: Vec::new(), route: usize::MAX, places: None, base: PathBuf::new() }
        } else {
            let path = self.config.clone().unwrap_or_else(|| PathBuf::from("tollgate.yaml"));
            let env = environment();
            let env = |name: &str| env.get(name).cloned();
            let loaded = load_config(&path, &Sources::disk(&env)).map_err(StartError::Config)?;
            let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let (waf, routes) = (loaded.value.waf, loaded.value.routes);
            Opened { waf, routes, route: usize::MAX, places: Some(loaded.places), base }
        };
        if let Some(name) = &self.route {
            let Some(place) = opened.routes.iter().position(|route| route.name == *name) else {
                bail!("there is no route `{name}`");
            };
            opened.route = place;
        }
        opened.waf.mode = Mode::Observe;
        opened.waf.log = None;
        opened.waf.paranoia = self.paranoia.or(opened.waf.paranoia);
        if self.crs.is_some() {
            opened.waf.crs.clone_from(&self.crs);
        }
        // Named on the command line, they are relative to where it was typed.
        let here = std::env::current_dir().unwrap_or_default();
        opened.waf.rules.extend(self.rules.iter().map(|rule| here.join(rule).display().to_string()));
        if let Some(crs) = opened.waf.crs.as_mut().filter(|crs| self.crs.is_some() && *crs != "debian") {
            *crs = here.join(&*crs).display().to_string();
        }
        Ok(opened)
    }
}

impl Opened {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Every mistake.
    pub(super) fn compile(&self) -> anyhow::Result<Waf> {
        let mut check = Checker::default();
        let files = RuleFiles::new(&self.base);
        let given = Given { routes: &self.routes, source: &files, threads: 1 };
        let waf = self.waf.compile(&mut check, &given);
        let problems = check.finish().0;
        match waf {
            Some(waf) if problems.is_empty() => Ok(waf),
            _ => Err(self.refused(&problems)),
        }
    }

    /// Calls `look` with what rules are read from.
    pub(super) fn with_given<T>(&self, look: impl FnOnce(&WafConfig, &Given<'_>) -> T) -> T {
        let files = RuleFiles::new(&self.base);
        look(&self.waf, &Given { routes: &self.routes, source: &files, threads: 1 })
    }

    /// Mistakes as an error.
    pub(super) fn refused(&self, problems: &[Problem]) -> anyhow::Error {
        if let Some(places) = &self.places {
            return StartError::Config(places.report(problems)).into();
        }
        let told: Vec<String> = problems.iter().map(tell).collect();
        anyhow::anyhow!("the rules have mistakes\n{}", told.join("\n"))
    }
}

fn tell(problem: &Problem) -> String {
    let path: Vec<String> = problem.path.iter().map(ToString::to_string).collect();
    let place = match &problem.place {
        Some(place) => format!("{}:{}:{}", place.file, place.line, place.column),
        None => path.join("."),
    };
    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    format!("{place}: {}{hint}", problem.message)
}
