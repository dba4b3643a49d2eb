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
use super::{Failure, KeyFile, KeyId, KeyRecord, KeyState, Peppers, Presented, Seal, Timestamp};
use crate::authz::{Scope, TenantConfig};

const MINUTE_MS: u64 = 60_000;

/// The keys of now. Readers never wait; [`KeyRing::swap`] takes effect with the next request.
#[derive(Debug)]
pub struct KeyRing(ArcSwap<Keys>);

/// One generation of keys: immutable, but for when each was last used.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<KeyId, Key>,
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
        Self(ArcSwap::from_pointee(keys))
    }

    /// Puts other keys in place. When each was last used is carried over.
    pub fn swap(&self, keys: Keys) {
        let old = self.0.load();
        for (id, key) in &keys.by_id {
            if let Some(before) = old.by_id.get(id) {
                key.used_ms.fetch_max(before.used_ms.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        self.0.store(Arc::new(keys));
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.load().by_id.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When each key was last used, to the minute; without those that never were. In no order.
    #[must_use]
    pub fn used(&self) -> Vec<(KeyId, Timestamp)> {
        let keys = self.0.load();
        let used = keys.by_id.iter().map(|(id, key)| (*id, key.used_ms.load(Ordering::Relaxed)));
        used.filter(|(_, at)| *at > 0).map(|(id, at)| (id, Timestamp::of_unix_ms(at))).collect()
    }

    pub(super) fn load(&self) -> Guard<Arc<Keys>> {
        self.0.load()
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
                    if by_id.insert(id, key).is_some() {
                        check.problem("id", format!("`{id}` is the id of two keys"));
                    }
                });
            }
        });
        Self { by_id, peppers }
    }

    /// Who `key` belongs to. One seal is computed and compared whether or not the id is known, so that time tells
    /// nothing; only the right secret learns of addresses, times and revocation, and even then only our records do.
    pub(super) fn identify(&self, key: &Presented<'_>, from: IpAddr, now_ms: u64) -> Result<Identity, Failure> {
        let id = key.id;
        let known = self.by_id.get(&id);
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
        let person = Person {
            principal: self.id.as_str().into(),
            tenant: self.tenant.as_str().into(),
            scopes: self.scopes.iter().map(|scope| scope.name().into()).collect(),
            models: self.models.iter().map(|model| model.as_str().into()).collect(),
            method: Method::ApiKey,
            principal_id: ids.principal(&self.id),
            tenant_id: ids.tenant(&self.tenant),
        };
        let key = Key {
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
