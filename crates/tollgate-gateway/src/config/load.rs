//! From the path of the main file to a value of any type, or to the report of every mistake.
//!
//! Does no I/O of its own: files, directories and the environment come through [`Sources`]. Checks no meaning.

use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use siphasher::sip128::{Hasher128, SipHasher13};
use tollgate_core::check::{Problem, Step};

use super::disk::{list_directory, read_file};
use super::include::{Expanded, Merge, Wanted, expand};
use super::parse::{Reading, parse};
use super::place::{Place, Places};
use super::report::{Finding, Findings, Located, Report};
use super::scalar::{Scalar, Typed};
use super::schema::schema;
use super::shape::check;
use super::text::text;
use super::tree::{Kind, Node};
use super::words::{lower, quoted};

/// How much all files of one configuration may hold together.
const MOST_BYTES: usize = 16 << 20;

/// Where a configuration comes from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The bytes of a file. Should read no more than a few MiB; see [`read_file`].
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The names in a directory, in any order.
    pub list: &'a dyn Fn(&Path) -> io::Result<Vec<String>>,
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Sources<'a> {
    /// Files and directories from disk, the environment as given.
    #[must_use]
    pub fn disk(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { read: &read_file, list: &list_directory, env }
    }
}

/// A configuration that has the right shape. Whether it makes sense is for its owner to check.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    /// Where everything stands, for the problems that checks of meaning find.
    pub places: Places,
    /// What is no mistake and yet worth a word.
    pub warnings: Vec<Located>,
    /// 32 hexadecimal digits over the names and contents of all files and what `${…}` was filled with: equal when
    /// nothing changed. Not a cryptographic digest.
    pub fingerprint: String,
}

/// Loads the configuration whose main file is `main`.
///
/// # Errors
/// The report of every mistake in all files; with a syntax error in one file, of every mistake that could still be seen.
pub fn load<T: DeserializeOwned + JsonSchema>(main: &Path, sources: &Sources<'_>) -> Result<Loaded<T>, Report> {
    let schema = schema::<T>();
    let document = read_all(main, sources, &schema)?;
    let places = Places::new(document.files, &document.root);
    let warnings = document.warnings.into_iter().map(|finding| finding.locate(places.files())).collect();
    match serde_path_to_error::deserialize::<_, T>(document.root.to_json()) {
        Ok(value) => Ok(Loaded { value, places, warnings, fingerprint: document.fingerprint }),
        Err(error) => {
            let path = error.path().iter().map_while(step).collect();
            let problem = Problem {
                path,
                message: lower(error.into_inner().to_string().trim_end_matches('.')),
                hint: None,
                place: None,
            };
            Err(Report::new(vec![places.locate(&problem)]))
        }
    }
}

/// A document that fits its schema.
struct Document {
    root: Node,
    files: Vec<PathBuf>,
    warnings: Vec<Finding>,
    fingerprint: String,
}

fn read_all(main: &Path, sources: &Sources<'_>, schema: &Value) -> Result<Document, Report> {
    let mut files = Files {
        sources,
        reading: Reading {
            env: sources.env,
            files: vec![main.to_owned()],
            findings: Findings::default(),
            filled: Vec::new(),
            nodes: 0,
        },
        hasher: SipHasher13::new(),
        bytes: 0,
    };
    let Some(mut root) = files.main(main) else { return Err(files.report()) };
    let Expanded { files: wanted, findings, warnings } = expand(&mut root, main, sources);
    let mut whole = findings.is_empty();
    files.reading.findings.append(findings);
    let mut merge = Merge::new(schema, &root);
    for wanted in wanted {
        match files.included(&wanted) {
            Some(tree) => merge.add(&mut root, tree, &files.reading.files, &mut files.reading.findings),
            None => whole = false,
        }
    }
    files.reading.findings.append(check(&root, schema, whole));
    if !files.reading.findings.is_empty() {
        return Err(files.report());
    }
    for filled in &files.reading.filled {
        part(&mut files.hasher, filled.as_bytes());
    }
    let fingerprint = format!("{:032x}", files.hasher.finish128().as_u128());
    Ok(Document { root, files: files.reading.files, warnings, fingerprint })
}

/// The files read so far.
struct Files<'a> {
    sources: &'a Sources<'a>,
    reading: Reading<'a>,
    hasher: SipHasher13,
    bytes: usize,
}

impl Files<'_> {
    fn main(&mut self, main: &Path) -> Option<Node> {
        let bytes = (self.sources.read)(main).map_err(|error| {
            let message = format!("the file cannot be read: {}", error.kind());
            self.reading.findings.push(Finding::new(Place::start(0), &[], message));
        });
        let root = self.tree(main, &bytes.ok()?, 0)?;
        if matches!(root.kind, Kind::Scalar(Scalar { value: Typed::Null, .. })) {
            let finding = Finding::new(Place::start(0), &[], "the file is empty");
            self.reading.findings.push(finding.hint("`tollgate schema` shows what may stand here"));
            return None;
        }
        Some(root)
    }

    fn included(&mut self, wanted: &Wanted) -> Option<Node> {
        let refused = match (self.sources.read)(&wanted.file) {
            Ok(bytes) if self.bytes.saturating_add(bytes.len()) > MOST_BYTES => {
                format!("all files together are larger than {} MiB", MOST_BYTES >> 20)
            }
            Ok(bytes) => {
                let number = u32::try_from(self.reading.files.len()).ok()?;
                self.reading.files.push(wanted.file.clone());
                return self.tree(&wanted.file, &bytes, number);
            }
            Err(error) => format!("{} cannot be read: {}", quoted(&wanted.file.display().to_string()), error.kind()),
        };
        self.reading.findings.push(Finding::new(wanted.at, &wanted.path, refused));
        None
    }

    fn tree(&mut self, name: &Path, bytes: &[u8], number: u32) -> Option<Node> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        part(&mut self.hasher, name.as_os_str().as_encoded_bytes());
        part(&mut self.hasher, bytes);
        let text = text(bytes, number, &mut self.reading.findings)?;
        parse(text, number, &mut self.reading)
    }

    fn report(self) -> Report {
        self.reading.findings.locate(&self.reading.files)
    }
}

/// Lengths keep `ab`, `c` and `a`, `bc` apart.
fn part(hasher: &mut SipHasher13, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Enum { variant: key } | Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Unknown => None,
    }
}
