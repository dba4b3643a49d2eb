//! Making, revoking and listing keys: what `tollgate keys` does, without the file and without the clock. Rotation is in
//! `rotate.rs`, keys of other systems are in `foreign.rs`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::secret::Secret;
use zeroize::Zeroizing;

use super::file::{MAX_KEYS, MAX_LIFE};
use super::{
    BrokenRandom, KeyFile, KeyId, KeyKind, KeyRecord, KeyState, Pepper, Presented, Random, Seal, Timestamp, Unfit,
    compose, is_env,
};
use crate::authz::Scope;

pub(super) const DAY: Duration = Duration::from_hours(24);
const DEFAULT_DAYS: u32 = 90;
/// The label of keys that ask for none.
pub(super) const DEFAULT_ENV: &str = "live";
/// How many keys of one client live for one purpose: one, and the one that follows it.
const MOST_LIVE: usize = 2;
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
    /// Who of the tenant uses it; nobody else than the key, if it is empty.
    pub client: String,
    /// What the client uses it for.
    pub purpose: String,
    /// Without a `client`: the key by whose id its user is known.
    pub first: Option<String>,
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

/// What a record holds of a key itself.
pub(super) struct Sealed {
    pub(super) id: KeyId,
    pub(super) seal: Seal,
    pub(super) kind: KeyKind,
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
    /// It is recorded already, under this id.
    #[error("it is known already: its id is `{0}`")]
    Known(String),
    /// No such key.
    #[error("no key has the id `{0}`")]
    NoSuchKey(String),
    /// Only a key that lives, and is not followed by another one yet, can be rotated.
    #[error("key `{id}` is {}", .standing.name())]
    NotActive {
        /// The key.
        id: String,
        /// What it is worth.
        standing: Standing,
    },
    /// The random source gave nothing that can be used.
    #[error(transparent)]
    Random(#[from] BrokenRandom),
    /// The client has as many keys as it may.
    #[error("two keys of `{client}` live already for this purpose: revoke one of them")]
    TwoLive {
        /// Whose they are.
        client: String,
    },
    /// A key of another system that is not fit to be one.
    #[error(transparent)]
    Unfit(#[from] Unfit),
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

impl Standing {
    /// The word of lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
        }
    }

    /// Whether it is, or will be, accepted.
    #[must_use]
    pub const fn lives(self) -> bool {
        matches!(self, Self::Active | Self::NotYet | Self::Retiring)
    }
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
    /// How it is recognised.
    pub kind: KeyKind,
    /// Who of the tenant uses it; may be empty.
    pub client: &'a str,
    /// What the client uses it for; may be empty.
    pub purpose: &'a str,
    /// What budgets and policies know its user by.
    pub principal: Cow<'a, str>,
    /// Which pepper it was sealed with.
    pub pepper_id: &'a str,
    /// The key that follows it.
    pub successor: Option<&'a str>,
    /// What it may do; empty means everything that the tenant may do.
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
    /// What the request breaks, a client with two keys, a full file, or a broken random source; the file is then as before.
    pub fn issue(
        &mut self,
        request: NewKey,
        pepper: PepperValue<'_>,
        random: &mut Random<'_>,
        now: Timestamp,
    ) -> Result<IssuedKey, KeyFileError> {
        let id = self.free_id(random)?;
        let text = compose(if is_env(&request.env) { &request.env } else { "x" }, id, random)?;
        let key = Presented::parse(text.as_bytes()).expect("a composed key can be read");
        let sealed = Sealed { id, seal: Pepper::new(pepper.value).seal(&key), kind: KeyKind::Issued };
        let record = self.append(request, &sealed, pepper.id, now)?;
        Ok(IssuedKey { text, record })
    }

    /// Appends the record of a key, whoever made it.
    pub(super) fn append(
        &mut self,
        request: NewKey,
        sealed: &Sealed,
        pepper_id: &str,
        now: Timestamp,
    ) -> Result<KeyRecord, KeyFileError> {
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyFileError::Full);
        }
        let mut check = Checker::default();
        check.require(is_env(&request.env), "env", format!("`{}` is not 1 to 8 of `a-z`, `0-9`", request.env));
        let days = request.days.unwrap_or(DEFAULT_DAYS);
        let record = KeyRecord {
            id: sealed.id.to_string(),
            hash: sealed.seal.to_string(),
            pepper_id: pepper_id.to_owned(),
            kind: sealed.kind,
            env: Some(request.env).filter(|env| env != DEFAULT_ENV),
            tenant: request.tenant,
            client: request.client,
            purpose: request.purpose,
            first: request.first,
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
            successor: None,
            note: request.note,
        };
        record.check(&mut check);
        let (mut problems, _) = check.finish();
        if record.env.as_ref().is_some_and(|env| !is_env(env)) {
            // It was told of above, with what was asked for.
            problems.retain(|problem| problem.message != "a label is 1 to 8 of `a-z`, `0-9`");
        }
        if !problems.is_empty() {
            return Err(KeyFileError::Invalid(problems));
        }
        if self.live_beside(&record, now) >= MOST_LIVE {
            return Err(KeyFileError::TwoLive { client: record.principal().into_owned() });
        }
        self.keys.push(record.clone());
        Ok(record)
    }

    /// How many other keys of the same user and purpose live.
    fn live_beside(&self, record: &KeyRecord, now: Timestamp) -> usize {
        let (who, id) = (record.principal(), &record.id);
        let same = |other: &&KeyRecord| {
            other.id != *id
                && other.purpose == record.purpose
                && other.tenant == record.tenant
                && other.principal() == who
        };
        self.keys.iter().filter(same).filter(|other| other.standing(now).lives()).count()
    }

    /// Revokes a key, for ever. Revoking it again changes nothing.
    ///
    /// # Errors
    /// No key has that id.
    pub fn revoke(&mut self, id: &str, now: Timestamp) -> Result<Revoked, KeyFileError> {
        let record = self.find(id)?;
        if record.state == KeyState::Revoked {
            return Ok(Revoked::Before);
        }
        record.state = KeyState::Revoked;
        record.revoked_at = Some(now);
        Ok(Revoked::Now)
    }

    /// The record of that id, to be changed.
    pub(super) fn find(&mut self, id: &str) -> Result<&mut KeyRecord, KeyFileError> {
        // Whoever pastes a whole key here by mistake must not find it in the message.
        let shown = || KeyId::parse(id).map_or("…".to_owned(), |id| id.to_string());
        self.keys.iter_mut().find(|record| record.id == id).ok_or_else(|| KeyFileError::NoSuchKey(shown()))
    }

    /// Takes over when keys were last used, as the gateway knows it.
    pub fn note_used(&mut self, used: &[(KeyId, Timestamp)]) {
        let used: HashMap<&str, Timestamp> = used.iter().map(|(id, at)| (id.as_str(), *at)).collect();
        for record in &mut self.keys {
            record.last_used = record.last_used.max(used.get(&*record.id).copied());
        }
    }

    /// The keys as a list for people, in the order of the file.
    pub fn rows(&self, now: Timestamp) -> impl Iterator<Item = KeyRow<'_>> {
        self.keys.iter().map(move |record| KeyRow {
            id: &record.id,
            tenant: &record.tenant,
            standing: record.standing(now),
            kind: record.kind,
            client: &record.client,
            purpose: &record.purpose,
            principal: record.principal(),
            pepper_id: &record.pepper_id,
            successor: record.successor.as_deref(),
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

    pub(super) fn free_id(&self, random: &mut Random<'_>) -> Result<KeyId, KeyFileError> {
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

#[cfg(test)]
mod tests {
    use super::{KeyFileError, NewKey, PepperValue, Revoked, Standing};
    use crate::auth::tests::{NOW, at, id_of, issue, pepper, random, request};
    use crate::auth::{BrokenRandom, KeyFile, KeyState};
    use crate::authz::Scope;

    #[test]
    fn a_broken_random_source_is_an_error_and_no_endless_loop() {
        let value = pepper("v1");
        let pepper = PepperValue { id: "v1", value: &value };
        let mut file = KeyFile::default();
        let mut stuck = |bytes: &mut [u8]| bytes.fill(0xff);
        let error = file.issue(request(), pepper, &mut stuck, at(NOW)).expect_err("no byte of it can be used");
        assert_eq!(error, KeyFileError::Random(BrokenRandom));
        // A source that repeats itself gives the same id again and again.
        let mut zero = |bytes: &mut [u8]| bytes.fill(0);
        file.issue(request(), pepper, &mut zero, at(NOW)).expect("the first id is free");
        let error = file.issue(request(), pepper, &mut zero, at(NOW)).expect_err("the id is taken");
        assert_eq!(error, KeyFileError::Random(BrokenRandom));
        assert_eq!(file.keys.len(), 1);
    }

    #[test]
    fn a_request_that_breaks_a_rule_changes_nothing() {
        let value = pepper("v1");
        let pepper = PepperValue { id: "v1", value: &value };
        let mut file = KeyFile::default();
        let bad = NewKey {
            env: "Live_1".into(),
            tenant: String::new(),
            scopes: vec![Scope::Infer, Scope::Infer],
            cidrs: vec!["10.0.0.1/8".into(), "nowhere".into()],
            not_before: Some(at("2029-01-01T00:00:00Z")),
            days: Some(u32::MAX),
            note: "x".repeat(257),
            ..NewKey::default()
        };
        let error = file.issue(bad, pepper, &mut random(1), at(NOW)).expect_err("it is bad");
        assert_eq!(
            error.to_string(),
            "env: `Live_1` is not 1 to 8 of `a-z`, `0-9`; \
             tenant: a key belongs to a tenant; \
             expires_at: a key lives at most 365 days; \
             not_before: the key ends before it is valid; \
             scopes.1: `infer` is listed twice; \
             cidrs.0: `10.0.0.1/8` has bits set beyond its prefix; \
             cidrs.1: `nowhere` is not a network; \
             note: at most 256 characters"
        );
        assert_eq!(file, KeyFile::default());
        let zero =
            file.issue(NewKey { days: Some(0), ..request() }, pepper, &mut random(1), at(NOW)).expect_err("no life");
        assert_eq!(zero.to_string(), "expires_at: the key ends before it was made");
        file.issue(NewKey { days: Some(365), ..request() }, pepper, &mut random(1), at(NOW)).expect("the longest life");
        assert_eq!(file.keys[0].expires_at, at("2028-01-01T00:00:00Z"));
    }

    #[test]
    fn lists_of_a_key_are_bounded() {
        let value = pepper("v1");
        let pepper = PepperValue { id: "v1", value: &value };
        let mut file = KeyFile::default();
        let models = |count: u32| NewKey { models: (0..count).map(|i| format!("m{i}")).collect(), ..request() };
        file.issue(models(64), pepper, &mut random(1), at(NOW)).expect("64 fit");
        let error = file.issue(models(65), pepper, &mut random(2), at(NOW)).expect_err("65 do not");
        assert_eq!(error.to_string(), "models: at most 64 entries");
    }

    #[test]
    fn keys_are_revoked_once_and_listed_as_they_stand() {
        let mut file = KeyFile::default();
        let key = issue(&mut file, request(), 1);
        issue(&mut file, NewKey { days: Some(1), ..request() }, 2);
        issue(&mut file, NewKey { not_before: Some(at("2027-01-20T00:00:00Z")), ..request() }, 3);
        issue(&mut file, request(), 4);
        issue(&mut file, request(), 5);
        file.keys[4].state = KeyState::Retiring;
        let now = at("2027-01-10T00:00:00Z");
        assert_eq!(file.revoke(id_of(&key), now), Ok(Revoked::Now));
        assert_eq!(file.revoke(id_of(&key), at("2027-01-11T00:00:00Z")), Ok(Revoked::Before));
        assert_eq!(file.keys[0].revoked_at, Some(now));
        let standings: Vec<_> = file.rows(now).map(|row| row.standing).collect();
        let expected = [Standing::Revoked, Standing::Expired, Standing::NotYet, Standing::Active, Standing::Retiring];
        assert_eq!(standings, expected);
        assert_eq!(file.rows(now).last().expect("five").expires_at, at("2027-04-01T00:00:00Z"), "90 days");
        let error = file.revoke(&key, now).expect_err("a whole key is no id");
        assert_eq!(error.to_string(), "no key has the id `…`");
    }
}
