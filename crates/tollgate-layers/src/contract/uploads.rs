//! What a model takes as files: the parts of a form, and images and sounds by their kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::call::{Call, Media};
use tollgate_core::check::Checker;
use tollgate_core::ruling::Refusal;

use super::wrong;
use crate::protocol::{escaped, media};

/// The form that a model takes on routes with `protocol: multipart`, and on those of OpenAI's API that take uploads. A
/// part that is not named is refused; `model` is always there for OpenAI's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormConfig {
    /// Files, by the name of their field.
    pub files: BTreeMap<String, FileConfig>,
    /// Fields of text, by name.
    pub fields: BTreeMap<String, FieldConfig>,
}

/// A file of a form.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// What it may be, by what its first bytes say: `image/png`, `audio/wav`, `application/pdf`, and
    /// `application/octet-stream` for what no header is known of.
    pub types: Vec<String>,
    /// The most files of that name. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub max_count: u64,
    /// The most bytes of one. Default: `max_bytes` of `media`.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Whether it may be left out. Default: false.
    #[serde(default)]
    pub optional: bool,
}

/// A field of a form. At most one of `one_of` and `range`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// The longest text in bytes. Default: 256.
    #[serde(default = "field_bytes")]
    pub max_bytes: u64,
    /// The only texts.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// It is a number: least and greatest.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// Whether it may be left out. Default: true.
    #[serde(default = "yes")]
    pub optional: bool,
}

const fn one() -> u64 {
    1
}

const fn field_bytes() -> u64 {
    256
}

const fn yes() -> bool {
    true
}

/// The compiled form.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    files: Vec<(Box<str>, File)>,
    fields: Vec<(Box<str>, FieldConfig)>,
}

#[derive(Clone, Debug)]
struct File {
    kinds: Vec<&'static str>,
    max_count: u64,
    max_bytes: Option<u64>,
    optional: bool,
}

/// The kinds of a list.
pub(super) fn kinds(types: &[String], check: &mut Checker) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for (at, name) in types.iter().enumerate() {
        match media::canonical(name) {
            Some(kind) => kinds.push(kind),
            None => check.problem(at, format!("`{name}` is no kind of file that is told by its first bytes")),
        }
    }
    kinds
}

impl FormConfig {
    /// Reports every mistake, then builds the form.
    pub(super) fn compile(&self, check: &mut Checker) -> Form {
        let files = check.within("files", |check| {
            let file = |(name, file): (&String, &FileConfig)| {
                check.within(name.as_str(), |check| {
                    check.require(!file.types.is_empty(), "types", "a file has at least one type");
                    check.require((1..=64).contains(&file.max_count), "max_count", "a number of files from 1 to 64");
                    let kinds = check.within("types", |check| kinds(&file.types, check));
                    let (max_count, max_bytes, optional) = (file.max_count, file.max_bytes, file.optional);
                    (name.as_str().into(), File { kinds, max_count, max_bytes, optional })
                })
            };
            self.files.iter().map(file).collect()
        });
        check.within("fields", |check| {
            for (name, field) in &self.fields {
                check.within(name.as_str(), |check| {
                    let both = !field.one_of.is_empty() && field.range.is_some();
                    check.require(!both, "one_of", "a field has at most one of `one_of` and `range`");
                    let ordered = field.range.is_none_or(|[low, high]| low <= high);
                    check.require(ordered, "range", "not two numbers, the lesser first");
                    check.require(!self.files.contains_key(name), "optional", format!("`{name}` is a file as well"));
                });
            }
        });
        let fields = self.fields.iter().map(|(name, field)| (name.as_str().into(), field.clone())).collect();
        Form { files, fields }
    }
}

impl Form {
    /// Checks the parts of a call that was parsed from `body`.
    pub(super) fn check(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        for (index, part) in call.parts.iter().enumerate() {
            let place = || format!("/{}", escaped(&part.name));
            let medium = part.file.and_then(|file| call.media.get(file));
            match (part.file, medium) {
                (Some(_), Some(medium)) => {
                    let Some((_, file)) = self.files.iter().find(|(name, _)| *name == part.name) else {
                        return Err(wrong(format!("/{index}"), "a file that the model takes", "another"));
                    };
                    file.check(medium).map_err(|(expected, found)| wrong(place(), expected, found))?;
                    let same = call.parts.iter().filter(|other| other.name == part.name).count() as u64;
                    if same > file.max_count {
                        let expected = format!("at most {} files of that name", file.max_count);
                        return Err(wrong(place(), expected, same.to_string()));
                    }
                }
                _ => {
                    let known = self.fields.iter().find(|(name, _)| *name == part.name);
                    let Some((_, field)) = known.filter(|_| part.file.is_none()) else {
                        return Err(wrong(format!("/{index}"), "a field that the model takes", "another"));
                    };
                    let text = body.get(part.at.clone()).and_then(|text| std::str::from_utf8(text).ok());
                    field
                        .check(text.unwrap_or_default())
                        .map_err(|(expected, found)| wrong(place(), expected, found))?;
                }
            }
        }
        let needed = self.files.iter().filter(|(_, file)| !file.optional).map(|(name, _)| name);
        let needed = needed.chain(self.fields.iter().filter(|(_, field)| !field.optional).map(|(name, _)| name));
        for name in needed {
            if !call.parts.iter().any(|part| part.name == *name) {
                return Err(wrong("", format!("a part `{name}`"), "none of that name"));
            }
        }
        Ok(())
    }
}

impl File {
    fn check(&self, medium: &Media) -> Result<(), (String, String)> {
        if !self.kinds.contains(&medium.kind) {
            return Err((format!("one of `{}`", self.kinds.join("`, `")), format!("`{}`", medium.kind)));
        }
        match self.max_bytes.filter(|most| medium.bytes > *most) {
            Some(most) => Err((format!("at most {most} bytes"), medium.bytes.to_string())),
            None => Ok(()),
        }
    }
}

impl FieldConfig {
    fn check(&self, text: &str) -> Result<(), (String, String)> {
        if text.len() as u64 > self.max_bytes {
            return Err((format!("at most {} bytes", self.max_bytes), text.len().to_string()));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|known| known == text) {
            return Err((format!("one of `{}`", self.one_of.join("`, `")), "another text".to_owned()));
        }
        let Some([low, high]) = self.range else { return Ok(()) };
        // Digits alone: what languages read as numbers beside them (`1_0`, `0x1`, `inf`) differs.
        let digits = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| b"0123456789.-".contains(&byte));
        let number = text.parse::<f64>().ok().filter(|number| digits && (low..=high).contains(number));
        number.map(drop).ok_or_else(|| (format!("a number from {low} to {high}"), "another text".to_owned()))
    }
}
