//! The index of an authority: one line of JSON for each thing that happened, appended and never changed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Authority, CaError, files};

/// Its file.
pub(super) const FILE: &str = "index.jsonl";

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The authority was made.
    Born {
        /// Its trust domain.
        domain: String,
        /// Domains of the hosts that it may name; the trust domain where there are none.
        dns: Vec<String>,
        /// When.
        at_ms: u64,
        /// When its intermediate ends.
        ends_ms: u64,
    },
    /// A certificate was issued. The line is on disk before anybody gets it.
    Issued(Entry),
    /// A list was signed.
    Listed {
        /// Its number.
        number: u64,
        /// When.
        at_ms: u64,
    },
    /// A certificate was revoked.
    Revoked {
        /// Its serial number.
        serial: String,
        /// When.
        at_ms: u64,
        /// Why.
        reason: String,
    },
}

/// A certificate that was issued.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// Its SPIFFE id.
    pub id: String,
    /// Hosts that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Whether it may serve, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server: bool,
    /// When it was issued, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// When it ends.
    pub ends_ms: u64,
    /// The serial number of the one that it renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<String>,
    /// When it was revoked.
    #[serde(skip)]
    pub revoked_ms: Option<u64>,
}

/// Begins an index.
pub(super) fn begin(directory: &Path, records: &[Record]) -> Result<(), CaError> {
    let lines: String = records.iter().map(line).collect();
    files::write_new(&directory.join(FILE), lines.as_bytes())
}

/// An index that was read.
pub(super) struct Read {
    /// To append to.
    pub(super) file: File,
    pub(super) entries: Vec<Entry>,
    /// Of the last list.
    pub(super) number: u64,
    pub(super) domain: String,
    pub(super) ends_ms: u64,
}

/// Reads an index.
pub(super) fn open(directory: &Path) -> Result<Read, CaError> {
    let path = directory.join(FILE);
    let text = files::read(&path)?;
    let damaged = |line: usize, why: &str| CaError::Damaged(path.clone(), format!("line {}: {why}", line + 1));
    let (mut entries, mut places): (Vec<Entry>, HashMap<String, usize>) = Default::default();
    let (mut born, mut last) = (None, 0);
    for (at, line) in text.split_inclusive('\n').enumerate() {
        // The last line of a machine that went down while it was written: nobody got what it speaks of.
        if !line.ends_with('\n') {
            break;
        }
        match serde_json::from_str(line).map_err(|error| damaged(at, &error.to_string()))? {
            Record::Born { domain, ends_ms, .. } => born = Some((domain, ends_ms)),
            Record::Issued(entry) => {
                places.insert(entry.serial.clone(), entries.len());
                entries.push(entry);
            }
            Record::Listed { number, .. } => last = number,
            Record::Revoked { serial, at_ms, .. } => {
                let place = places.get(&serial).and_then(|place| entries.get_mut(*place));
                place.ok_or_else(|| damaged(at, "it revokes what was never issued"))?.revoked_ms = Some(at_ms);
            }
        }
    }
    let (domain, ends_ms) = born.ok_or_else(|| damaged(0, "no authority was made"))?;
    let file = File::options().append(true).open(&path).map_err(|error| CaError::System(path.clone(), error))?;
    if !text.ends_with('\n') {
        // Half a line is taken away, so that the next one is whole.
        let kept = text.rfind('\n').map_or(0, |end| end + 1);
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        file.set_len(kept).map_err(|error| CaError::System(path.clone(), error))?;
    }
    Ok(Read { file, entries, number: last, domain, ends_ms })
}

fn line(record: &Record) -> String {
    // INVARIANT: maps with text keys alone, which JSON can always say.
    let mut line = serde_json::to_string(record).unwrap_or_default();
    line.push('\n');
    line
}

impl Authority {
    /// Puts a record on disk.
    pub(super) fn note(&mut self, record: &Record) -> Result<(), CaError> {
        let written = self.index.write_all(line(record).as_bytes()).and_then(|()| self.index.sync_all());
        written.map_err(|error| CaError::System(self.directory.join(FILE), error))?;
        match record {
            Record::Born { .. } => {}
            Record::Listed { number, .. } => self.number = *number,
            Record::Issued(entry) => self.entries.push(entry.clone()),
            Record::Revoked { serial, at_ms, .. } => {
                for entry in self.entries.iter_mut().filter(|entry| entry.serial == *serial) {
                    entry.revoked_ms = Some(*at_ms);
                }
            }
        }
        Ok(())
    }
}
