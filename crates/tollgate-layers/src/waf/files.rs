//! The files of a load: those of the disk, those that ship with the gateway, and lines of the configuration.

use std::collections::BTreeMap;

use seclang::Source;
use tollgate_core::check::{Checker, Step};

use super::pack;

/// Where Debian's package puts the rules, and what its own loader includes before and after them.
const DEBIAN_RULES: &str = "/usr/share/modsecurity-crs/rules/*.conf";
const DEBIAN_BEFORE: [&str; 2] =
    ["/etc/modsecurity/crs/crs-setup.conf", "/etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf"];
const DEBIAN_AFTER: [&str; 1] = ["/etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf"];

/// The files of a load.
pub(super) struct Files<'a> {
    disk: &'a dyn Source,
    /// By name: where the line stands in the configuration, and the line.
    lines: BTreeMap<String, (Vec<Step>, String)>,
}

impl<'a> Files<'a> {
    pub(super) const fn new(disk: &'a dyn Source) -> Self {
        Self { disk, lines: BTreeMap::new() }
    }

    /// Where a file that is a line of the configuration stands there.
    pub(super) fn path_of(&self, name: &str) -> Option<&[Step]> {
        self.lines.get(name).map(|(path, _)| path.as_slice())
    }

    /// Keeps lines of the configuration as files of their own, so that a mistake in one is found where it stands. Rules
    /// that decide at run time come before all others, the rest after them.
    pub(super) fn keep(&mut self, exclusions: &[String], path: &[Step]) -> (Vec<String>, Vec<String>) {
        let mut sorted = (Vec::new(), Vec::new());
        for (index, line) in exclusions.iter().enumerate() {
            let mut path = path.to_vec();
            path.extend(["exclusions".into(), index.into()]);
            let name = path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            let runs = matches!(word.as_str(), "secrule" | "secaction");
            let list = if runs { &mut sorted.0 } else { &mut sorted.1 };
            list.push(name.clone());
            self.lines.insert(name, (path, format!("{line}\n")));
        }
        sorted
    }

    /// The files that `rules` names.
    pub(super) fn listed(&self, rules: &[String], check: &mut Checker) -> Vec<String> {
        let mut found = Vec::new();
        check.within("rules", |check| {
            for (index, entry) in rules.iter().enumerate() {
                match self.disk.glob(entry) {
                    Ok(files) if files.is_empty() => check.problem(index, format!("`{entry}` names no rule file")),
                    Ok(files) => found.extend(files),
                    Err(why) => check.problem(index, format!("`{entry}`: {why}")),
                }
            }
        });
        found
    }

    /// The files of the Core Rule Set at `place`, in the order in which it wants to be loaded.
    pub(super) fn core_rule_set(&self, place: &str, check: &mut Checker) -> Vec<String> {
        if place == "debian" {
            let rules = self.all(&[DEBIAN_RULES]);
            if rules.is_empty() {
                let hint = "`apt install modsecurity-crs`, or `tollgate crs install`";
                check.problem_hint("crs", "the package `modsecurity-crs` is not installed", hint);
            }
            return [self.all(&DEBIAN_BEFORE), rules, self.all(&DEBIAN_AFTER)].concat();
        }
        let mut files = self.all(&[&format!("{place}/crs-setup.conf")]);
        if files.is_empty() {
            files = self.all(&[&format!("{place}/crs-setup.conf.example")]);
        }
        let rules = self.all(&[&format!("{place}/rules/*.conf")]);
        if files.is_empty() || rules.is_empty() {
            let why = format!("`{place}` holds no Core Rule Set: `crs-setup.conf` and `rules/*.conf` are due");
            check.problem_hint("crs", why, "`tollgate crs install` fetches a release");
        }
        files.extend(rules);
        files
    }

    /// The files of the disk that fit, also none.
    fn all(&self, patterns: &[&str]) -> Vec<String> {
        patterns.iter().flat_map(|pattern| self.disk.glob(pattern).unwrap_or_default()).collect()
    }
}

impl Source for Files<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if let Some((_, line)) = self.lines.get(path) {
            return Ok(line.clone().into_bytes());
        }
        if path.starts_with(pack::SHIPPED) {
            let file = pack::FILES.iter().find(|(name, _)| *name == path);
            return file.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "no such file is shipped".to_owned());
        }
        self.disk.read(path)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        if self.lines.contains_key(pattern) || pattern.starts_with(pack::SHIPPED) {
            return Ok(vec![pattern.to_owned()]);
        }
        self.disk.glob(pattern)
    }
}
