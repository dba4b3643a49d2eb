//! The record of an act of an operator: one JSON object on a line among the access lines, told apart by its member `act`.
//! It is written before the act is answered.

use serde::Serialize;
use serde_json::Value;
use tollgate_core::identity::ExchangeId;

use super::{Recorder, Redactor};

/// What an operator did.
#[derive(Clone, Debug, Serialize)]
pub struct Act<'a> {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its number.
    #[serde(serialize_with = "digits")]
    pub id: ExchangeId,
    /// What was done, such as `limits.override`.
    pub act: &'a str,
    /// Who did it: how they proved that they may.
    pub by: &'a str,
    /// Where they came from.
    pub client: String,
    /// To what, and how: numbers, names of the configuration, and the reason that the operator gave.
    pub what: Value,
    /// The policy that served then.
    pub generation: u64,
}

impl Act<'_> {
    /// Writes it and waits for that; blocks. `None` where nothing is recorded.
    #[must_use]
    pub fn append(&self, recorder: &Recorder, redactor: &Redactor) -> Option<bool> {
        // The reason is whatever an operator wrote.
        let line = self.line();
        let clean = str::from_utf8(&line).map(|line| redactor.clean(line).into_owned().into_bytes());
        recorder.append(clean.unwrap_or(line))
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        // It holds nothing that has no JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn digits<S: serde::Serializer>(id: &ExchangeId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}
