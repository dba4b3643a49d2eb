//! The keys as they are asked: by id, in a table that is swapped whole when the file changes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use siphasher::sip::SipHasher13;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::identity::{Identity, Method, Person};

use super::file::MAX_KEYS;
use super::{Failure, KeyFile, KeyId, KeyKind, KeyRecord, KeyState, Peppers, Presented, Seal, Timestamp, foreign};
use crate::authz::{Scope, TenantConfig};

const MINUTE_MS: u64 = 60_000;

/// The keys of now. Readers never wait; [`KeyRing::swap`] takes effect with the next request.
#[derive(Debug)]
pub struct KeyRing {
    keys: ArcSwap<Keys>,
    /// Until when they may be used without a word from where they are kept, milliseconds since the Unix epoch.
    good_until_ms: AtomicU64,
}

/// A credential that is, or may be, a key.
pub(super) enum Shown<'a> {
    Issued(Presented<'a>),
    Opaque(&'a [u8]),
}

/// One generation of keys: immutable, but for when each was last used.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<KeyId, Key>,
    /// Keys of other systems.
    by_seal: HashMap<Seal, KeyId>,
    peppers: Peppers,
}

/// What the records of a key file may name, and the key of the hashes that counters see.
#[derive(Debug)]
pub struct KeyNames<'a> {
    /// Tenants.
    pub tenants: &'a BTreeMap<String, TenantConfig>,
    /// Models.
    pub models: &'a BTreeMap<String, ModelId>,
    /// What turns names into numbers. Must be the same over reloads, or counters forget their callers.
    pub ids: IdKey,
}

/// The key of the hash that turns names into 64-bit ids: drawn at start, so that nobody can aim at a collision.
#[derive(Clone, Copy)]
pub struct IdKey([u8; 16]);

#[derive(Debug)]
struct Key {
    kind: KeyKind,
    seal: Seal,
    pepper: usize,
    who: Identity,
    networks: Vec<IpNet>,
    not_before_ms: u64,
    expires_ms: u64,
    revoked: bool,
    used_ms: AtomicU64,
}

impl KeyRing {
    /// A ring of these keys.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), good_until_ms: AtomicU64::new(u64::MAX) }
    }

    /// Puts other keys in place. When each was last used is carried over.
    pub fn swap(&self, keys: Keys) {
        let old = self.keys.load();
        for (id, key) in &keys.by_id {
            if let Some(before) = old.by_id.get(id) {
                key.used_ms.fetch_max(before.used_ms.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        self.keys.store(Arc::new(keys));
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.load().by_id.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When each key was last used, to the minute; without those that never were. In no order.
    #[must_use]
    pub fn used(&self) -> Vec<(KeyId, Timestamp)> {
        let keys = self.keys.load();
        let used = keys.by_id.iter().map(|(id, key)| (*id, key.used_ms.load(Ordering::Relaxed)));
        used.filter(|(_, at)| *at > 0).map(|(id, at)| (id, Timestamp::of_unix_ms(at))).collect()
    }

    /// From `until_ms` on, milliseconds since the Unix epoch, the keys are too old to tell anybody by.
    pub fn good_until(&self, until_ms: u64) {
        self.good_until_ms.store(until_ms, Ordering::Relaxed);
    }

    pub(super) fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.good_until_ms.load(Ordering::Relaxed)
    }

    /// Takes over when keys were last used, as somebody else knows it.
    pub fn note_used(&self, used: &[(KeyId, Timestamp)]) {
        let keys = self.keys.load();
        for (id, at) in used {
            if let Some(key) = keys.by_id.get(id) {
                key.used_ms.fetch_max(at.unix_ms(), Ordering::Relaxed);
            }
        }
    }

    pub(super) fn load(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }
}

impl Default for KeyRing {
    fn default() -> Self {
        Self::new(Keys::default())
    }
}

impl Keys {
    /// Reports every mistake of a key file, then makes its keys ready. `check` stands at the root of that file.
    pub fn compile(file: &KeyFile, check: &mut Checker, names: &KeyNames<'_>, peppers: Peppers) -> Self {
        let mut by_id = HashMap::with_capacity(file.keys.len().min(MAX_KEYS));
        let mut by_seal = HashMap::new();
        check.within("keys", |check| {
            if file.keys.len() > MAX_KEYS {
                return check.problem_here(format!("at most {MAX_KEYS} keys"));
            }
            for (i, record) in file.keys.iter().enumerate() {
                check.within(i, |check| {
                    record.check(check);
                    record.check_names(check, names);
                    let pepper = record.pepper(check, &peppers);
                    let Some((id, key)) = pepper.and_then(|pepper| record.compile(pepper, names.ids)) else { return };
                    if key.kind == KeyKind::Opaque {
                        record.check_opaque(check, &peppers);
                        if by_seal.insert(key.seal, id).is_some() {
                            check.problem("hash", "it is the seal of two keys");
                        }
                    }
                    if by_id.insert(id, key).is_some() {
                        check.problem("id", format!("`{id}` is the id of two keys"));
                    }
                });
            }
        });
        Self { by_id, by_seal, peppers }
    }

    /// Reads a credential; nothing is looked up for it.
    pub(super) fn read<'a>(&self, text: &'a [u8]) -> Result<Shown<'a>, Failure> {
        if self.peppers.opaque && foreign::may_be_one(text) {
            return Ok(Shown::Opaque(text));
        }
        Presented::parse(text).map(Shown::Issued).map_err(Failure::Malformed)
    }

    /// Who a credential belongs to.
    pub(super) fn identify(&self, key: &Shown<'_>, from: IpAddr, now_ms: u64) -> Result<Identity, Failure> {
        match key {
            Shown::Issued(key) => self.identify_issued(key, from, now_ms),
            Shown::Opaque(text) => self.identify_opaque(text, from, now_ms),
        }
    }

    /// Who a key of another system belongs to. It is sealed under every pepper, whether or not one of the seals is known.
    fn identify_opaque(&self, text: &[u8], from: IpAddr, now_ms: u64) -> Result<Identity, Failure> {
        let mut found = None;
        for seal in self.peppers.all().flat_map(|pepper| pepper.seals_whole(text)) {
            // Who can steer a look into a table of seals can already make them.
            found = self.by_seal.get(&seal).or(found);
        }
        let id = found.ok_or(Failure::UnknownOpaque)?;
        let known = self.by_id.get(id).ok_or(Failure::UnknownOpaque)?;
        known.admits(*id, from, now_ms)?;
        known.touch(now_ms);
        Ok(known.who.clone())
    }

    /// Who `key` belongs to. One seal is computed and compared whether or not the id is known, so that time tells
    /// nothing; only the right secret learns of addresses, times and revocation, and even then only our records do.
    fn identify_issued(&self, key: &Presented<'_>, from: IpAddr, now_ms: u64) -> Result<Identity, Failure> {
        let id = key.id;
        // The id of an opaque key is a name, and no part of a credential.
        let known = self.by_id.get(&id).filter(|known| known.kind == KeyKind::Issued);
        let pepper = self.peppers.at(known.map_or(0, |known| known.pepper));
        let right = pepper.made(known.map_or(&Seal::NONE, |known| &known.seal), key);
        let Some(known) = known else { return Err(Failure::Unknown(id)) };
        if !right {
            return Err(Failure::WrongSecret(id));
        }
        known.admits(id, from, now_ms)?;
        known.touch(now_ms);
        Ok(known.who.clone())
    }
}

impl Shown<'_> {
    /// The id inside it.
    pub(super) const fn id(&self) -> Option<KeyId> {
        match self {
            Self::Issued(key) => Some(key.id),
            Self::Opaque(_) => None,
        }
    }
}

impl Key {
    fn admits(&self, id: KeyId, from: IpAddr, now_ms: u64) -> Result<(), Failure> {
        if self.revoked {
            return Err(Failure::Revoked(id));
        }
        if now_ms >= self.expires_ms {
            return Err(Failure::Expired(id));
        }
        if now_ms < self.not_before_ms {
            return Err(Failure::NotYet(id));
        }
        if !self.networks.is_empty() && !self.networks.iter().any(|net| net.contains(&from)) {
            return Err(Failure::Address(id));
        }
        Ok(())
    }

    /// Written once a minute: workers that share a key do not fight over its cache line.
    fn touch(&self, now_ms: u64) {
        if now_ms.saturating_sub(self.used_ms.load(Ordering::Relaxed)) >= MINUTE_MS {
            self.used_ms.store(now_ms - now_ms % MINUTE_MS, Ordering::Relaxed);
        }
    }
}

impl KeyRecord {
    /// A revoked key may name what is gone: nothing is looked up for it.
    fn check_names(&self, check: &mut Checker, names: &KeyNames<'_>) {
        if self.state == KeyState::Revoked {
            return;
        }
        let tenant = names.tenants.get(&self.tenant);
        if tenant.is_none() && !self.tenant.is_empty() {
            check.problem_hint("tenant", format!("`{}` is not a tenant", self.tenant), "name it under `tenants`");
        }
        for (i, model) in self.models.iter().enumerate() {
            check.within("models", |check| {
                if !names.models.contains_key(model) {
                    check.problem_hint(i, format!("`{model}` is not a model"), "name it under `models`");
                } else if tenant.is_some_and(|tenant| !tenant.models.contains(model)) {
                    check.warn(i, format!("tenant `{}` may not use `{model}`, so neither may this key", self.tenant));
                }
            });
        }
        if self.scopes.contains(&Scope::Admin) && tenant.is_some_and(|tenant| !tenant.scopes.contains(&Scope::Admin)) {
            check.warn("scopes", format!("tenant `{}` is not given `admin`, so neither is this key", self.tenant));
        }
    }

    fn check_opaque(&self, check: &mut Checker, peppers: &Peppers) {
        if !peppers.opaque && self.state != KeyState::Revoked {
            check.problem_hint("kind", "keys of other systems are not accepted", "set `auth.keys.opaque: true`");
        }
    }

    /// The place of its pepper. A revoked key may have outlived it: it is then as unknown as any other.
    fn pepper(&self, check: &mut Checker, peppers: &Peppers) -> Option<usize> {
        let found = peppers.find(&self.pepper_id);
        if found.is_none() && self.state != KeyState::Revoked {
            let message = format!("`{}` is not a pepper", self.pepper_id);
            check.problem_hint("pepper_id", message, "name it under `auth.keys.pepper`");
        }
        found
    }

    fn compile(&self, pepper: usize, ids: IdKey) -> Option<(KeyId, Key)> {
        let id = KeyId::parse(&self.id)?;
        let principal = self.principal();
        let person = Person {
            principal: (*principal).into(),
            tenant: self.tenant.as_str().into(),
            scopes: self.scopes.iter().map(|scope| scope.name().into()).collect(),
            models: self.models.iter().map(|model| model.as_str().into()).collect(),
            method: Method::ApiKey,
            principal_id: ids.principal(&principal),
            tenant_id: ids.tenant(&self.tenant),
            credential: (*principal != *self.id).then(|| self.id.as_str().into()),
            retires_ms: (self.state == KeyState::Retiring).then(|| self.expires_at.unix_ms()),
        };
        let key = Key {
            kind: self.kind,
            seal: Seal::parse(&self.hash)?,
            pepper,
            who: Identity::new(person),
            networks: self.networks(),
            not_before_ms: self.not_before.map_or(0, Timestamp::unix_ms),
            expires_ms: self.expires_at.unix_ms(),
            revoked: self.state == KeyState::Revoked,
            used_ms: AtomicU64::new(self.last_used.map_or(0, Timestamp::unix_ms)),
        };
        Some((id, key))
    }
}

impl IdKey {
    /// The key of these random bytes.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The id of a principal.
    #[must_use]
    pub fn principal(&self, name: &str) -> u64 {
        self.hash(b'p', name)
    }

    /// The id of a tenant: another than that of a principal of the same name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> u64 {
        self.hash(b't', name)
    }

    fn hash(&self, kind: u8, name: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(kind);
        hasher.write(name.as_bytes());
        hasher.finish()
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(…)")
    }
}
