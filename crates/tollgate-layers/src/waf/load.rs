//! From the configuration to compiled rules: which files a route loads, in which order, and where their mistakes stand.
//!
//! One library of patterns serves all routes, and routes of equal settings share one rule set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seclang::{Library, Options, RuleSet, Source};
use tollgate_core::check::{Checker, FilePlace, Step};
use tollgate_core::guard::Mode;
use tollgate_core::stage::Stage;

use super::config::{Pack, Profile, RouteWaf, WafConfig};
use super::files::Files;
use super::scratch::Scratches;
use super::{Plan, Waf, pack};
use crate::routes::RouteConfig;

/// What a compilation is given.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Every route, in order.
    pub routes: &'a [RouteConfig],
    /// Reads rule files; names are relative to the configuration.
    pub source: &'a dyn Source,
    /// How many threads may ask at once.
    pub threads: usize,
}

impl WafConfig {
    /// Reports every mistake of the section, of the routes' own words and of all rule files, then builds the layer;
    /// `None` where there is one, or where no route runs it. To be called at the root of the configuration.
    pub fn compile(&self, check: &mut Checker, given: &Given<'_>) -> Option<Waf> {
        let mode = |route: &RouteConfig| route.stages.get(&Stage::Waf).map_or(self.mode, |modes| modes.mode);
        if self.mode == Mode::Off && given.routes.iter().all(|route| mode(route) == Mode::Off) {
            return None;
        }
        check.within("waf", |check| self.check(check));
        let mut loader = Loader::new(self, given.source);
        let common = check.within("waf", |check| loader.common(check));
        let mut plans = Vec::with_capacity(given.routes.len() + 1);
        let mut sound = true;
        for (index, route) in given.routes.iter().enumerate() {
            if mode(route) == Mode::Off {
                plans.push(None);
                continue;
            }
            let plan = loader.plan(check, &common, Some((index, route)));
            sound &= plan.is_some();
            plans.push(plan);
        }
        let rest = loader.plan(check, &common, None);
        sound &= rest.is_some();
        if let Some(plan) = &rest {
            self.say_what_is_missing(check, &plan.rules);
        }
        plans.push(rest);
        let sets: Vec<_> = loader.loaded.into_values().flatten().collect();
        sound.then(|| Waf { plans, scratches: Scratches::warmed(given.threads, &sets) })
    }

    /// Calls `look` with the files of every route, and with those of exchanges without one.
    pub(super) fn with_files(
        &self,
        check: &mut Checker,
        given: &Given<'_>,
        look: &mut dyn FnMut(&dyn Source, &[String]),
    ) {
        let mut loader = Loader::new(self, given.source);
        let common = check.within("waf", |check| loader.common(check));
        let nothing = RouteWaf::default();
        let routes =
            given.routes.iter().enumerate().map(|(i, route)| Some((i, route.waf.as_ref().unwrap_or(&nothing))));
        let mut seen = BTreeSet::new();
        for route in routes.chain([None]) {
            let files = loader.files_of(check, &common, route);
            if seen.insert(files.clone()) {
                look(&loader.files, &files);
            }
        }
    }

    fn check(&self, check: &mut Checker) {
        check.require((1..=1_000_000).contains(&self.max_args), "max_args", "a number from 1 to 1000000");
        check.require(self.max_scan_work >= 100_000, "max_scan_work", "at least 100000: less scans no request whole");
        let level = self.paranoia.is_none_or(|level| (1..=4).contains(&level));
        check.require(level, "paranoia", "a level from 1 to 4");
        if self.log.as_ref().is_some_and(|log| log.data) {
            check.within("log", |check| check.warn("data", "lines hold text of requests"));
        }
    }

    fn say_what_is_missing(&self, check: &mut Checker, rules: &RuleSet) {
        if rules.rules().any(|rule| rule.id / 1000 == 901) {
            return;
        }
        let alone = match self.pack {
            Pack::Ml => "without the Core Rule Set, the pack for model endpoints and your own rules run alone",
            Pack::None => "without the Core Rule Set and the pack, only your own rules run",
        };
        let hint = "`tollgate crs install` fetches a release; `crs: debian` takes the package `modsecurity-crs`";
        check.within("waf", |check| check.warn_here(alone, hint));
    }
}

/// What all routes load.
struct Common {
    before: Vec<String>,
    after: Vec<String>,
}

/// Loads rule sets, each once.
struct Loader<'a> {
    config: &'a WafConfig,
    files: Files<'a>,
    library: Library,
    loaded: BTreeMap<Settings, Option<Arc<RuleSet>>>,
    told: BTreeSet<(String, u32, u32, String)>,
}

/// What tells rule sets apart.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct Settings {
    files: Vec<String>,
    stock: bool,
    prompt_fields: Vec<String>,
}

impl<'a> Loader<'a> {
    fn new(config: &'a WafConfig, disk: &'a dyn Source) -> Self {
        let files = Files::new(disk);
        Self { config, files, library: Library::default(), loaded: BTreeMap::new(), told: BTreeSet::new() }
    }

    fn common(&mut self, check: &mut Checker) -> Common {
        let config = self.config;
        let mut before = vec![pack::BASE.to_owned()];
        let (early, after) = self.files.keep(&config.exclusions, &["waf".into()]);
        before.extend(early);
        if config.pack == Pack::Ml {
            before.extend(pack::rules().map(str::to_owned));
        }
        if let Some(crs) = &config.crs {
            before.extend(self.files.core_rule_set(crs, check));
        }
        before.extend(self.files.listed(&config.rules, check));
        Common { before, after }
    }

    /// The files of a route, or of exchanges without one, in the order of loading.
    fn files_of(&mut self, check: &mut Checker, common: &Common, route: Option<(usize, &RouteWaf)>) -> Vec<String> {
        let mut files = common.before.clone();
        let mut last = Vec::new();
        if let Some((index, own)) = route {
            let path: [Step; 3] = ["routes".into(), index.into(), "waf".into()];
            at(check, &path, &mut |check| files.extend(self.files.listed(&own.rules, check)));
            let (early, after) = self.files.keep(&own.exclusions, &path);
            files.splice(1..1, early);
            last = after;
        }
        files.extend(common.after.iter().cloned());
        files.extend(last);
        files
    }

    /// The plan of a route, or of exchanges without one.
    fn plan(&mut self, check: &mut Checker, common: &Common, route: Option<(usize, &RouteConfig)>) -> Option<Plan> {
        let nothing = RouteWaf::default();
        let own = route.and_then(|(_, route)| route.waf.as_ref()).unwrap_or(&nothing);
        let files = self.files_of(check, common, route.map(|(index, _)| (index, own)));
        let settings = Settings {
            files,
            stock: own.profile.unwrap_or(self.config.profile) == Profile::Stock,
            prompt_fields: own.prompt_fields.as_ref().unwrap_or(&self.config.prompt_fields).clone(),
        };
        let rules = self.load(check, settings)?;
        if let Some((index, route)) = route {
            warn_of_limit(check, index, route, &rules);
        }
        let looks_at_replies = rules.rules().any(|rule| rule.phase == 4);
        let concludes = rules.rules().any(|rule| rule.phase == 5);
        let stream_reply = self.config.stream_reply;
        Some(Plan { rules, pinned: self.pinned(own), stream_reply, looks_at_replies, concludes })
    }

    fn load(&mut self, check: &mut Checker, settings: Settings) -> Option<Arc<RuleSet>> {
        if let Some(known) = self.loaded.get(&settings) {
            return known.clone();
        }
        let options = Options {
            profile: if settings.stock { seclang::Profile::Stock } else { seclang::Profile::Ml },
            prompt_fields: settings.prompt_fields.clone(),
            count_numbers: settings.stock,
            arguments: self.config.max_args,
            work: self.config.max_scan_work,
            store: false,
            plain: false,
        };
        let (rules, problems) = match RuleSet::load(&self.files, &settings.files, &options, &mut self.library) {
            Ok((rules, warnings)) => (Some(rules), warnings),
            Err(problems) => (None, problems),
        };
        for problem in &problems {
            self.tell(check, problem);
        }
        self.loaded.insert(settings, rules.clone());
        rules
    }

    /// Reports what is wrong with a rule file, once, where it stands.
    fn tell(&mut self, check: &mut Checker, problem: &seclang::Problem) {
        let place = &problem.place;
        let key = (place.file.to_string(), place.line, place.column, problem.message.clone());
        if !self.told.insert(key) {
            return;
        }
        let fatal = problem.severity == seclang::Severity::Error;
        let (message, hint) = (&problem.message, &problem.hint);
        if let Some(path) = self.files.path_of(&place.file) {
            at(check, path, &mut |check| {
                if fatal {
                    check.problem_here(message.clone());
                } else {
                    check.warn_here(message.clone(), hint.clone().unwrap_or_default());
                }
            });
            return;
        }
        let place = FilePlace { file: place.file.to_string(), line: place.line, column: place.column };
        check.within("waf", |check| check.elsewhere(place, fatal, message.clone(), hint.clone()));
    }

    fn pinned(&self, own: &RouteWaf) -> Arc<[(Box<str>, Box<str>)]> {
        let mut pinned: Vec<(Box<str>, Box<str>)> = Vec::new();
        let mut pin = |name: &str, value: Option<u32>| {
            pinned.extend(value.map(|value| (name.into(), value.to_string().into_boxed_str())));
        };
        let config = self.config;
        let paranoia = own.paranoia.or(config.paranoia).map(u32::from);
        // The names of the Core Rule Set 4, then those of 3.3.
        for name in
            ["blocking_paranoia_level", "detection_paranoia_level", "paranoia_level", "executing_paranoia_level"]
        {
            pin(name, paranoia);
        }
        pin("inbound_anomaly_score_threshold", own.inbound_threshold.or(config.inbound_threshold));
        pin("outbound_anomaly_score_threshold", own.outbound_threshold.or(config.outbound_threshold));
        pinned.into()
    }
}

/// `SecRequestBodyLimit` can only lower the route's own cap.
fn warn_of_limit(check: &mut Checker, index: usize, route: &RouteConfig, rules: &RuleSet) {
    let Some(limit) = rules.request_body_limit().filter(|limit| *limit > route.body_cap()) else { return };
    let cap = route.body_cap();
    let why = format!("`SecRequestBodyLimit {limit}` is above the cap of this route, {cap} bytes: the cap holds");
    at(check, &["routes".into(), index.into()], &mut |check| check.warn("max_body_bytes", why.clone()));
}

/// Goes to `path`, from where `check` is.
fn at(check: &mut Checker, path: &[Step], then: &mut dyn FnMut(&mut Checker)) {
    match path {
        [] => then(check),
        [first, rest @ ..] => check.within(first.clone(), |check| at(check, rest, then)),
    }
}
