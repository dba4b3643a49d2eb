//! Tests in the format of the Core Rule Set (go-ftw's YAML). Every scalar stays the text that was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::DuplicateKeyPolicy;

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder that its file stands in.
    pub group: String,
    /// `RULE-TEST`
    pub name: String,
    /// The rule that it is for.
    pub rule: u64,
    /// Its number.
    pub test: u64,
    /// Its exchanges, in order.
    pub stages: Vec<Stage>,
}

/// One exchange of a test.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// What is sent.
    pub input: Input,
    /// What must come of it.
    pub output: Output,
}

/// What is sent. An absent member is autocompleted as go-ftw does it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Input {
    /// `GET` unless told.
    pub method: Option<String>,
    /// `/` unless told.
    pub uri: Option<String>,
    /// `HTTP/1.1` unless told.
    pub version: Option<String>,
    /// Sent in the order of their names' bytes; one without a value has an empty one.
    pub headers: Option<BTreeMap<String, Option<String>>>,
    /// Sent in this order, instead.
    pub ordered_headers: Option<Vec<Field>>,
    /// The body.
    pub data: Option<String>,
    /// The body, in base64.
    pub encoded_data: Option<String>,
    /// All of the request, in base64.
    pub encoded_request: Option<String>,
    /// `false` leaves headers as they are.
    pub autocomplete_headers: Option<String>,
    /// Its older, inverted name.
    pub stop_magic: Option<String>,
}

/// One header.
#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What must come of an exchange.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Output {
    /// The status of the answer.
    pub status: Option<String>,
    /// `true`: there is no answer.
    pub expect_error: Option<String>,
    /// `true`: no other rule matches.
    pub isolated: Option<String>,
    /// What the rules say.
    pub log: Option<Log>,
}

/// What the rules must say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    /// Rules that match.
    pub expect_ids: Vec<u64>,
    /// Rules that do not.
    pub no_expect_ids: Vec<u64>,
    /// A pattern that is found in the lines of the matched rules.
    pub match_regex: Option<String>,
    /// One that is not.
    pub no_match_regex: Option<String>,
}

/// Whether a test wants a rule to match.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Polarity {
    /// It does.
    Positive,
    /// It wants one not to match.
    Negative,
    /// It asks for a status alone.
    StatusOnly,
}

/// Expectations that replace those of a corpus, in go-ftw's format.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Overrides {
    /// All of them.
    pub test_overrides: Vec<Override>,
}

/// What replaces the expectation of some tests.
#[derive(Clone, Debug, Deserialize)]
pub struct Override {
    /// Tests of that rule,
    pub rule_id: u64,
    /// with those numbers.
    pub test_ids: Vec<u64>,
    /// Why.
    pub reason: String,
    /// The expectation of every stage.
    pub output: Output,
}

impl Overrides {
    /// Puts them in place; how many tests they replaced.
    pub fn apply(&self, cases: &mut [Case]) -> usize {
        let mut replaced = 0;
        for case in cases {
            let mine = |entry: &&Override| entry.rule_id == case.rule && entry.test_ids.contains(&case.test);
            if let Some(entry) = self.test_overrides.iter().find(mine) {
                replaced += 1;
                for stage in &mut case.stages {
                    stage.output = entry.output.clone();
                }
            }
        }
        replaced
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    rule_id: Option<u64>,
    tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    test_id: Option<u64>,
    #[serde(default)]
    stages: Vec<Stage>,
}

impl Case {
    /// What it wants.
    #[must_use]
    pub fn polarity(&self) -> Polarity {
        let mut logs = self.stages.iter().filter_map(|stage| stage.output.log.as_ref()).peekable();
        if logs.peek().is_none() {
            return Polarity::StatusOnly;
        }
        let wants = |log: &Log| !log.expect_ids.is_empty() || log.match_regex.is_some();
        if logs.any(wants) { Polarity::Positive } else { Polarity::Negative }
    }
}

/// All tests of a file, or of the files below a folder.
///
/// # Errors
/// What cannot be read.
pub fn load(path: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for file in files(path)? {
        let text = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        cases.extend(read(&file, &text)?);
    }
    Ok(cases)
}

/// Files below a folder, in the order of their names.
///
/// # Errors
/// What cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort_unstable();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if entry.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Reads YAML in which a repeated key is no mistake and nothing is too large.
///
/// # Errors
/// What is not as it should be.
pub fn yaml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { budget: None, duplicate_keys: DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(text, options).map_err(|why| why.to_string())
}

fn read(file: &Path, text: &str) -> Result<Vec<Case>, String> {
    let place = file.display();
    let document: Option<Document> = yaml(text).map_err(|why| format!("{place}: {why}"))?;
    let Some(document) = document else { return Ok(Vec::new()) };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let digits: String =
        name(file).chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let rule = document.rule_id.or_else(|| digits.parse().ok()).ok_or_else(|| format!("{place}: for which rule?"))?;
    let group = file.parent().map(name).unwrap_or_default();
    let case = |(test, number): (Test, u64)| {
        let test_id = test.test_id.unwrap_or(number);
        Case { group: group.clone(), name: format!("{rule}-{test_id}"), rule, test: test_id, stages: test.stages }
    };
    Ok(document.tests.into_iter().zip(1..).map(case).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Polarity, read};

    #[test]
    fn scalars_stay_as_written() {
        let text = "tests:\n  - test_id: 7\n    stages:\n      - input: {uri: /a, version: \"\", headers: {Length: 012, A: }}\n        \
                    output: {status: 400, log: {no_expect_ids: [920100]}}\n";
        let cases = read(Path::new("G/920100.yaml"), text).expect("it reads");
        let [case] = cases.as_slice() else { panic!("{cases:?}") };
        assert_eq!((case.name.as_str(), case.group.as_str(), case.polarity()), ("920100-7", "G", Polarity::Negative));
        let headers = case.stages[0].input.headers.as_ref().expect("headers");
        assert_eq!(headers.get("Length"), Some(&Some("012".to_owned())));
        assert_eq!(headers.get("A"), Some(&None));
        assert_eq!(case.stages[0].output.status.as_deref(), Some("400"));
    }

    #[test]
    fn a_file_of_comments_holds_no_test() {
        assert!(read(Path::new("G/1.yaml"), "# nothing\n").expect("it reads").is_empty());
    }
}
