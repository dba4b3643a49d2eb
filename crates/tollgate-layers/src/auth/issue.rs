//! Making, revoking and listing keys: what `tollgate keys` does, without the file and without the clock.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::secret::Secret;
use zeroize::Zeroizing;

use super::file::{MAX_KEYS, MAX_LIFE};
use super::{BrokenRandom, KeyFile, KeyId, KeyRecord, KeyState, Pepper, Presented, Random, Timestamp, compose, is_env};
use crate::authz::Scope;

const DAY: Duration = Duration::from_hours(24);
const DEFAULT_DAYS: u32 = 90;
/// How often an id is drawn again because it is taken. 62^10 ids: once is already a miracle.
const DRAWS: usize = 8;

/// What somebody asks of a new key.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Label inside the key, for people and scanners: 1 to 8 lower-case letters or digits, such as `live`.
    pub env: String,
    /// Its tenant.
    pub tenant: String,
    /// What it is for; none means everything that the tenant may do, but never `admin`.
    pub scopes: Vec<Scope>,
    /// Models that it is held to; none means all of the tenant's.
    pub models: Vec<String>,
    /// Networks that it may come from; none means anywhere.
    pub cidrs: Vec<String>,
    /// From when on it is valid; at once without.
    pub not_before: Option<Timestamp>,
    /// How many days it lives, from now: 90 without, at most 365.
    pub days: Option<u32>,
    /// Who makes it.
    pub created_by: String,
    /// What it is for, in words.
    pub note: String,
}

/// The pepper that a new key is sealed with.
#[derive(Clone, Copy, Debug)]
pub struct PepperValue<'a> {
    /// Its name under `auth.keys.pepper`.
    pub id: &'a str,
    /// Its value.
    pub value: &'a Secret,
}

/// A new key. Its text is shown once and kept nowhere.
pub struct IssuedKey {
    text: Zeroizing<String>,
    /// What the file keeps of it.
    pub record: KeyRecord,
}

/// How a revocation went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revoked {
    /// It was revoked before.
    Before,
    /// It is revoked now.
    Now,
}

/// Why the key file was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFileError {
    /// The file is full.
    #[error("the file holds {MAX_KEYS} keys already")]
    Full,
    /// The request breaks a rule of the file.
    #[error("{}", told(.0))]
    Invalid(Vec<Problem>),
    /// No such key.
    #[error("no key has the id `{0}`")]
    NoSuchKey(String),
    /// The random source gave nothing that can be used.
    #[error(transparent)]
    Random(#[from] BrokenRandom),
}

/// What a key is worth at some time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is accepted.
    Active,
    /// It has ended.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It is accepted until it ends; its successor is in use.
    Retiring,
    /// It is refused, for ever.
    Revoked,
}

/// One line of a list of keys. Holds no seal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyRow<'a> {
    /// Its public part.
    pub id: &'a str,
    /// Its tenant.
    pub tenant: &'a str,
    /// What it is worth now.
    pub standing: Standing,
    /// What it is for; empty means everything that the tenant may do.
    pub scopes: &'a [Scope],
    /// Models that it is held to; empty means all of the tenant's.
    pub models: &'a [String],
    /// Networks that it may come from; empty means anywhere.
    pub cidrs: &'a [String],
    /// Who made it.
    pub created_by: &'a str,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// What it is for, in words.
    pub note: &'a str,
}

impl KeyFile {
    /// Makes a key and appends its record. Tenant and model names are not looked up: the gateway does that when it
    /// loads the file.
    ///
    /// # Errors
    /// What the request breaks, a full file, or a broken random source; the file is then as before.
    pub fn issue(
        &mut self,
        request: NewKey,
        pepper: PepperValue<'_>,
        random: &mut Random<'_>,
        now: Timestamp,
    ) -> Result<IssuedKey, KeyFileError> {
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyFileError::Full);
        }
        let mut check = Checker::default();
        check.require(is_env(&request.env), "env", format!("`{}` is not 1 to 8 of `a-z`, `0-9`", request.env));
        let id = self.free_id(random)?;
        let text = compose(if is_env(&request.env) { &request.env } else { "x" }, id, random)?;
        let key = Presented::parse(text.as_bytes()).expect("a composed key can be read");
        let days = request.days.unwrap_or(DEFAULT_DAYS);
        let record = KeyRecord {
            id: id.to_string(),
            hash: Pepper::new(pepper.value).seal(&key).to_string(),
            pepper_id: pepper.id.to_owned(),
            tenant: request.tenant,
            scopes: request.scopes,
            models: request.models,
            cidrs: request.cidrs,
            not_before: request.not_before,
            // One day over the cap is enough to be refused, and cannot overflow.
            expires_at: now.after((DAY * days.min(1_000)).min(MAX_LIFE + DAY)),
            created_by: request.created_by,
            created_at: now,
            last_used: None,
            state: KeyState::Active,
            revoked_at: None,
            note: request.note,
        };
        record.check(&mut check);
        let (problems, _) = check.finish();
        if !problems.is_empty() {
            return Err(KeyFileError::Invalid(problems));
        }
        self.keys.push(record.clone());
        Ok(IssuedKey { text, record })
    }

    /// Revokes a key, for ever. Revoking it again changes nothing.
    ///
    /// # Errors
    /// No key has that id.
    pub fn revoke(&mut self, id: &str, now: Timestamp) -> Result<Revoked, KeyFileError> {
        let Some(record) = self.keys.iter_mut().find(|record| record.id == id) else {
            // Whoever pastes a whole key here by mistake must not find it in the message.
            let shown = KeyId::parse(id).map_or("…".to_owned(), |id| id.to_string());
            return Err(KeyFileError::NoSuchKey(shown));
        };
        if record.state == KeyState::Revoked {
            return Ok(Revoked::Before);
        }
        record.state = KeyState::Revoked;
        record.revoked_at = Some(now);
        Ok(Revoked::Now)
    }

    /// The keys as a list for people, in the order of the file.
    pub fn rows(&self, now: Timestamp) -> impl Iterator<Item = KeyRow<'_>> {
        self.keys.iter().map(move |record| KeyRow {
            id: &record.id,
            tenant: &record.tenant,
            standing: record.standing(now),
            scopes: &record.scopes,
            models: &record.models,
            cidrs: &record.cidrs,
            created_by: &record.created_by,
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used: record.last_used,
            note: &record.note,
        })
    }

    fn free_id(&self, random: &mut Random<'_>) -> Result<KeyId, KeyFileError> {
        for _ in 0..DRAWS {
            let id = KeyId::draw(random)?;
            if self.keys.iter().all(|record| record.id != id.as_str()) {
                return Ok(id);
            }
        }
        Err(BrokenRandom.into())
    }
}

impl KeyRecord {
    /// What the key is worth at `now`.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.state {
            KeyState::Revoked => Standing::Revoked,
            _ if now >= self.expires_at => Standing::Expired,
            _ if self.not_before.is_some_and(|start| now < start) => Standing::NotYet,
            KeyState::Active => Standing::Active,
            KeyState::Retiring => Standing::Retiring,
        }
    }
}

impl IssuedKey {
    /// The whole key, for the one who will use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedKey({}…)", self.record.id)
    }
}

/// Problems in one line.
fn told(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| {
        let path: Vec<String> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("."), problem.message)
    });
    lines.collect::<Vec<_>>().join("; ")
}
