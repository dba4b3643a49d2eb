//! Rule files for tests: the Core Rule Set from its folder, with our configurations around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use seclang::{Library, Options, Problem, RuleSet, Source};

use crate::folder::Folder;
use crate::suites;

/// The base configuration that every rule set stands on.
pub const BASE: &str = include_str!("../../../rules/base.conf");
/// Detection only at paranoia level 4, with the settings that the regression tests expect.
pub const REGRESSION: &str = include_str!("../conf/regression.conf");

/// Files in memory, and below them those of a folder.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    files: BTreeMap<String, Vec<u8>>,
    folder: Option<PathBuf>,
}

/// Our own pack of rules, with its data files, under `pack/`.
///
/// # Errors
/// What cannot be read.
pub fn with_pack(mut overlay: Overlay) -> Result<(Overlay, Vec<String>), String> {
    let folder = suites::rules().join("ml");
    let entries = fs::read_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    for name in &names {
        let text = fs::read(folder.join(name)).map_err(|why| format!("{name}: {why}"))?;
        overlay = overlay.with(&format!("pack/{name}"), text);
    }
    let files = names.iter().filter(|name| name.ends_with(".conf")).map(|name| format!("pack/{name}"));
    Ok((overlay, files.collect()))
}

impl Overlay {
    /// Over the files of a Core Rule Set.
    #[must_use]
    pub fn over(folder: &Folder) -> Self {
        Self { files: BTreeMap::new(), folder: Some(folder.path().to_owned()) }
    }

    /// With one more file.
    #[must_use]
    pub fn with(mut self, path: &str, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), text.into());
        self
    }
}

impl Source for Overlay {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if let Some(text) = self.files.get(path) {
            return Ok(text.clone());
        }
        let folder = self.folder.as_ref().ok_or_else(|| "no such file".to_owned())?;
        fs::read(folder.join(path)).map_err(|why| why.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some((before, after)) = pattern.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
        let (below, start) = before.rsplit_once('/').unwrap_or((".", before));
        let folder = self.folder.as_ref().ok_or_else(|| "no such folder".to_owned())?;
        let entries = fs::read_dir(folder.join(below)).map_err(|why| why.to_string())?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start) && name.ends_with(after)).collect();
        names.sort_unstable();
        Ok(names.into_iter().map(|name| format!("{below}/{name}")).collect())
    }
}

/// The Core Rule Set between our base configuration and `settings`.
///
/// # Errors
/// Every problem of its files.
pub fn load(folder: &Folder, settings: &str, options: &Options) -> Result<Arc<RuleSet>, Vec<Problem>> {
    let source = Overlay::over(folder).with("base.conf", BASE).with("settings.conf", settings);
    let files = ["base.conf", "crs-setup.conf.example", "settings.conf", "rules/*.conf"].map(str::to_owned);
    RuleSet::load(&source, &files, options, &mut Library::default()).map(|(rules, _)| rules)
}

/// The problems, one on a line.
#[must_use]
pub fn told(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
