//! The `auth` section, and the peppers that come of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::secret::{Secret, SecretRef};

use super::{AttemptsConfig, IssuerConfig, Pepper};

const MIN_PEPPER: usize = 16;
const GOOD_PEPPER: usize = 32;

/// How callers prove who they are. A gate: there is no `mode` and no `on_fault`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// How often somebody may fail before they wait.
    #[serde(default)]
    pub attempts: AttemptsConfig,
    /// Networks that a credential may come from in plain text, besides this machine: of a proxy that ends TLS before the
    /// gateway. From anywhere else it is refused, because others may have read it on its way. Default: none.
    #[serde(default)]
    pub plaintext_from: Vec<String>,
    /// API keys. Default: none, and every route that asks for a credential refuses everybody.
    #[serde(default)]
    pub keys: Option<KeysConfig>,
    /// What clients call us: an address such as `https://api.example.com`. Proofs of possession (DPoP) must name it, and
    /// where it is set, `/.well-known/oauth-protected-resource` says which issuers are trusted (RFC 9728).
    #[serde(default)]
    pub resource: Option<String>,
    /// Whether tokens that are bound to a key are accepted, with a proof of possession (DPoP, RFC 9449) each time. Proofs that
    /// were used are remembered by this process alone. Default: where `resource` is set and there is no `limits.store`.
    #[serde(default)]
    pub dpop: Option<bool>,
    /// Issuers of access tokens, by names of yours. Default: none, and every token is refused.
    #[serde(default)]
    pub issuers: BTreeMap<String, IssuerConfig>,
}

/// Where API keys are kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The key file, relative to this file; `tollgate keys` writes it, and a change is effective within a second. Either
    /// this or `store`.
    #[serde(default)]
    pub file: String,
    /// A store that several gateways read their keys from; `tollgate keys` writes to it as it does to a file. Default: none.
    #[serde(default)]
    pub store: Option<KeyStoreConfig>,
    /// Peppers by name, such as `v1`: references to secrets of at least 16 bytes, better 32. Several stand here while
    /// one replaces another.
    pub pepper: BTreeMap<String, SecretRef>,
    /// Whether keys of other systems are accepted that `tollgate keys import` has taken over. A text that is no key of ours
    /// then costs a look for it under each pepper. Default: false.
    #[serde(default)]
    pub opaque: bool,
}

/// A Valkey or Redis that keeps the records of keys. It holds no key, only seals.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyStoreConfig {
    /// A reference to the address, which holds a password: `redis://user:password@host:6379/0`, `rediss://` over TLS, or
    /// `redis+unix:///path?db=0`. With `cluster`, several of them, separated by commas.
    pub url: SecretRef,
    /// PEM file of the only authorities that the certificate of the store may be of, relative to this file. Default: those
    /// that are publicly trusted, and the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether the store is a cluster. Changes are then polled for, and not told of. Default: false.
    #[serde(default)]
    pub cluster: bool,
    /// What the names in the store begin with: gateways that share keys have the same. Default: `tollgate`.
    #[serde(default = "default_namespace")]
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,32}$"))]
    pub namespace: String,
    /// For how many seconds the keys that were read last are good while the store is away; from then on every key is answered
    /// 503, because nobody knows what was revoked meanwhile. Default: 900.
    #[serde(default = "default_max_stale_s")]
    #[schemars(range(min = 10, max = 86_400))]
    pub max_stale_s: u64,
}

fn default_namespace() -> String {
    "tollgate".to_owned()
}

const fn default_max_stale_s() -> u64 {
    900
}

/// The peppers, ready for use.
#[derive(Clone, Debug)]
pub struct Peppers {
    named: Vec<(Box<str>, Pepper)>,
    /// Whether keys of other systems are looked for.
    pub(super) opaque: bool,
    /// What a miss is computed with where no pepper is configured.
    dummy: Pepper,
}

impl AuthConfig {
    /// Reports every mistake, then makes the peppers ready. `values` holds what their references stand for.
    pub fn compile(&self, check: &mut Checker, values: &BTreeMap<String, Secret>) -> Peppers {
        let Some(keys) = &self.keys else { return Peppers::default() };
        let mut named = Vec::with_capacity(keys.pepper.len());
        check.within("keys", |check| {
            match &keys.store {
                Some(store) => {
                    let both = "keys are kept in a `file` or in a `store`, not in both";
                    check.require(keys.file.is_empty(), "file", both);
                    check.within("store", |check| store.check(check));
                }
                None => {
                    check.require(!keys.file.is_empty(), "file", "the key file has no name");
                }
            }
            check.require(!keys.pepper.is_empty(), "pepper", "at least one pepper is needed");
            check.within("pepper", |check| {
                for name in keys.pepper.keys() {
                    let fit = is_name(name);
                    check.require(fit, name.as_str(), format!("`{name}` is not 1 to 32 of `a-z`, `0-9`, `_`, `-`"));
                    named.extend(pepper(name, check, values.get(name)).map(|pepper| (name.as_str().into(), pepper)));
                }
            });
        });
        Peppers { named, opaque: keys.opaque, ..Peppers::default() }
    }
}

impl KeyStoreConfig {
    fn check(&self, check: &mut Checker) {
        check.require(is_name(&self.namespace), "namespace", "1 to 32 of `a-z`, `0-9`, `_`, `-`");
        check.require((10..=86_400).contains(&self.max_stale_s), "max_stale_s", "a number of seconds from 10 to 86400");
    }
}

fn is_name(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(fit)
}

fn pepper(name: &str, check: &mut Checker, value: Option<&Secret>) -> Option<Pepper> {
    let Some(value) = value else {
        check.problem(name, format!("pepper `{name}` has no value"));
        return None;
    };
    let length = value.expose().len();
    if length < MIN_PEPPER {
        let message = format!("pepper `{name}` has {length} bytes, at least {MIN_PEPPER} are needed");
        check.problem_hint(name, message, "draw one with `openssl rand -hex 32`");
        return None;
    }
    if length < GOOD_PEPPER {
        check.warn(name, format!("pepper `{name}` has {length} bytes, {GOOD_PEPPER} are better"));
    }
    Some(Pepper::new(value))
}

impl Peppers {
    /// The place of the pepper of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.named.iter().position(|(known, _)| **known == *name)
    }

    /// Accepts seals as well that were made with an earlier value of the pepper of that name.
    pub fn accept_also(&mut self, name: &str, value: &Secret) {
        for (known, pepper) in &mut self.named {
            if **known == *name {
                pepper.accept_also(value);
            } else {
                // Whichever pepper a key was sealed with, and whether or not it is known, the same is computed.
                pepper.work_as_hard();
            }
        }
        self.dummy.work_as_hard();
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Pepper> {
        self.named.iter().map(|(_, pepper)| pepper)
    }

    /// The pepper at a place, or the dummy.
    pub(super) fn at(&self, place: usize) -> &Pepper {
        self.named.get(place).map_or(&self.dummy, |(_, pepper)| pepper)
    }
}

impl Default for Peppers {
    fn default() -> Self {
        Self { named: Vec::new(), opaque: false, dummy: Pepper::new(&Secret::new(vec![0; GOOD_PEPPER])) }
    }
}
