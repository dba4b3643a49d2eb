//! Budgets that several gateways share: the `store` section, and the names under which every node finds a balance. Talks to
//! no store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::secret::SecretRef;
use tollgate_limit::{Key, hash_key};

use super::{Payer, Per};

/// The same in every gateway and every release: names of balances must agree. No secret rests on it: whose budgets are
/// shared is up to the configuration, and nobody can choose a name that meets another.
const SEED: (u64, u64) = (0x746f_6c6c_6761_7465, 0x6c69_6d69_7473_2e31);

/// Where several gateways share their budgets.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A reference to the address, which holds a password: `redis://user:password@host:6379/0`, `rediss://` over TLS, or
    /// `redis+unix:///path?db=0`; `valkey` is as good as `redis`. With `cluster`, several of them, separated by commas.
    pub url: SecretRef,
    /// `lease`: each gateway takes chunks beforehand and spends them without asking. `strict`: the store is asked for each
    /// request. A budget may say otherwise. Default: `lease`.
    #[serde(default)]
    pub consistency: Consistency,
    /// For how long a lease is good if the whole rate is used: `auto`, or milliseconds from 50 to 1000. `auto` takes so
    /// long that a lease is good for 20 requests. Default: `auto`.
    #[serde(default)]
    pub lease_ms: LeaseMs,
    /// What decides while the store is away or late: `local_share`, which is the limit divided by the number of gateways,
    /// or `fault`: then `limits.on_fault` does. Default: `local_share`.
    #[serde(default)]
    pub when_down: WhenDown,
    /// There are at least so many gateways, also when fewer are heard of. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub expected_nodes: u32,
    /// PEM file of the only authorities that the certificate of the store may be of, relative to this file. Default: those
    /// that are publicly trusted, and the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether the store is a cluster, whose servers are found from those of `url`. Default: false.
    #[serde(default)]
    pub cluster: bool,
    /// What the names of all keys begin with: lower-case letters, digits, `_` and `-`. Gateways that share budgets have the
    /// same. Default: `tollgate`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

/// How gateways agree on a budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// By chunks that are taken beforehand.
    #[default]
    Lease,
    /// By asking for each request.
    Strict,
}

/// For how long a lease is good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum LeaseMs {
    /// So many milliseconds.
    Fixed(u64),
    /// For 20 requests.
    Word(Auto),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// As the cost of requests wants it.
    Auto,
}

impl Default for LeaseMs {
    fn default() -> Self {
        Self::Word(Auto::Auto)
    }
}

/// What decides while the store is away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum WhenDown {
    /// The guard of the layer.
    Fault,
    /// This gateway's share of the limit.
    #[default]
    LocalShare,
}

const fn one() -> u32 {
    1
}

fn default_namespace() -> String {
    "tollgate".to_owned()
}

impl StoreConfig {
    pub(super) fn check(&self, check: &mut Checker) {
        if let LeaseMs::Fixed(ms) = self.lease_ms {
            check.require(
                (50..=1000).contains(&ms),
                "lease_ms",
                "at least 50 and at most 1000 milliseconds, or `auto`",
            );
        }
        let few = (1..=1024).contains(&self.expected_nodes);
        check.require(few, "expected_nodes", "at least 1 and at most 1024");
        let sound = super::budget::is_name(&self.namespace);
        check.require(sound, "namespace", format!("`{}` is not a name such as `prod_2`", self.namespace));
    }
}

/// What every node calls a budget.
#[derive(Debug)]
pub(super) struct SharedBudget {
    policy: u64,
    per: Per,
    strict: bool,
}

impl SharedBudget {
    pub(super) fn new(name: [&str; 4], per: Per, strict: bool) -> Self {
        Self { policy: hash_key(SEED, name.join("\n").as_str(), ""), per, strict }
    }

    /// The balance that `payer` draws on; `None` if there is no model to charge. Those of one tenant are kept together.
    pub(super) fn key(&self, payer: Payer<'_>, models: &[u64]) -> Option<Key> {
        let (tenant, principal) = (&*payer.who.tenant, &*payer.who.principal);
        let hash = |scope: (&str, &str)| hash_key(SEED, self.policy, scope);
        let of_tenant = || tag(hash_key(SEED, "tenant", tenant));
        let key = match self.per {
            Per::Address => return None,
            Per::Global => Key::shared(hash(("", "")), tag(self.policy)),
            Per::Key => Key::shared(hash((tenant, principal)), of_tenant()),
            Per::Model => {
                let model = *models.get(payer.model?.index())?;
                Key::shared(hash_key(SEED, self.policy, model), tag(model))
            }
            Per::Tenant => Key::shared(hash((tenant, "")), of_tenant()),
        };
        Some(if self.strict { key.strictly() } else { key })
    }
}

/// Hash of each model's name, as every node has it.
pub(super) fn models(names: &BTreeMap<String, ModelId>) -> Vec<u64> {
    let mut models = vec![0; names.len()];
    for (name, id) in names {
        if let Some(hash) = models.get_mut(id.index()) {
            *hash = hash_key(SEED, "model", name.as_str());
        }
    }
    models
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
