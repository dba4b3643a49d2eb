//! Our own two corpora, `rules/suites`: what must be blocked and what must pass. Their format is in the README there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::base64;
use crate::cases;

/// One request and what must come of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Unique over all files.
    pub name: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, Lines>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    /// What must happen.
    pub verdict: Expected,
    /// With [`Expected::Block`]: the status, when it is not 403.
    #[serde(default)]
    pub status: Option<u16>,
    /// The inbound anomaly score of the Core Rule Set alone, where it is pinned.
    #[serde(default)]
    pub score: Option<i64>,
    /// Which rules block it.
    #[serde(default)]
    pub needs: Vec<Needs>,
    /// Ids that must be among the matched ones.
    #[serde(default)]
    pub rules: Vec<u64>,
    /// Arguments that hold a prompt.
    #[serde(default)]
    pub prompt_fields: Vec<String>,
    /// Kind of attack or of traffic.
    pub class: String,
    /// One of the prompts with code, of which one may be blocked.
    #[serde(default)]
    pub code_heavy: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Several(Vec<String>),
}

/// What must happen to an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It is refused.
    Block,
    /// It is not.
    Pass,
}

/// Whose rules an entry is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// `rules/base.conf`
    Base,
    /// The Core Rule Set.
    Crs,
    /// `rules/ml`
    Pack,
}

impl Entry {
    /// Its bytes.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let body = match (&self.body, &self.body_base64) {
            (Some(body), _) => Some(body.clone().into_bytes()),
            (_, Some(encoded)) => Some(base64::decode(encoded)),
            (None, None) => None,
        };
        let mut headers: Vec<(&str, String)> = Vec::new();
        for (name, lines) in &self.headers {
            match lines {
                Lines::One(line) => headers.push((name, line.clone())),
                Lines::Several(lines) => headers.extend(lines.iter().map(|line| (name.as_str(), line.clone()))),
            }
        }
        let length = body.as_ref().map(|body| body.len().to_string());
        let defaults = [
            ("Host", Some("model.example".to_owned())),
            ("User-Agent", Some("tollgate-suite/1".to_owned())),
            ("Accept", Some("*/*".to_owned())),
            ("Content-Length", length),
        ];
        for (name, value) in defaults {
            if let Some(value) = value.filter(|_| !self.headers.keys().any(|known| known.eq_ignore_ascii_case(name))) {
                headers.push((name, value));
            }
        }
        let mut raw = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in headers {
            raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        raw.extend_from_slice(&body.unwrap_or_default());
        raw
    }
}

/// The entries of all files of one corpus, `attacks` or `benign`.
///
/// # Errors
/// What cannot be read.
pub fn load(corpus: &str) -> Result<Vec<Entry>, String> {
    let folder = rules().join("suites").join(corpus);
    let mut entries: Vec<Entry> = Vec::new();
    for file in cases::files(&folder)? {
        let text = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        let more: Vec<Entry> = cases::yaml(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        entries.extend(more);
    }
    Ok(entries)
}

/// `rules/` of the repository.
#[must_use]
pub fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

#[cfg(test)]
mod tests {
    use super::{Entry, Expected};
    use crate::cases::yaml;

    #[test]
    fn a_request_gets_what_it_does_not_name_and_nothing_else() {
        let text = "name: a\nmethod: POST\npath: /x\nheaders: {host: h, Cookie: [a=1, b=2]}\nbody: \"a\\r\\n\"\nverdict: block\nclass: c\n";
        let entry: Entry = yaml(text).expect("an entry");
        assert_eq!(entry.verdict, Expected::Block);
        let raw = String::from_utf8(entry.request()).expect("text");
        let expected = "POST /x HTTP/1.1\r\nCookie: a=1\r\nCookie: b=2\r\nhost: h\r\nUser-Agent: tollgate-suite/1\r\n\
                        Accept: */*\r\nContent-Length: 3\r\n\r\na\r\n";
        assert_eq!(raw, expected);
    }
}
