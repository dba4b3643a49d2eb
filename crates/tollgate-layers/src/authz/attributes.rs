//! What policies may read of a tenant: numbers and words that differ from one to the next and so do not stand in policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::TenantConfig;

/// The most attributes of all tenants together, counted by name.
const MOST: usize = 64;

/// One attribute of a tenant.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum Attribute {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

impl Attribute {
    /// Its type in the words of the schema of policies.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "Bool",
            Self::Number(_) => "Long",
            Self::Text(_) => "String",
            Self::Texts(_) => "Set<String>",
        }
    }
}

/// The attributes of all tenants and their types. Reports what cannot be one, and those that are not of the same type
/// everywhere. `check` stands in the tenants.
pub(super) fn kinds(tenants: &BTreeMap<String, TenantConfig>, check: &mut Checker) -> BTreeMap<String, &'static str> {
    let mut kinds: BTreeMap<String, (&'static str, &str)> = BTreeMap::new();
    for (tenant, config) in tenants {
        for (name, attribute) in &config.attributes {
            let mut at = |message: String| {
                check.within(tenant.as_str(), |check| {
                    check.within("attributes", |check| check.problem(name.as_str(), message));
                });
            };
            let kind = attribute.kind();
            if !is_name(name) {
                at(format!("`{name}` is not 1 to 64 of letters, digits and `_`, beginning with no digit"));
            }
            match kinds.get(name) {
                Some((known, first)) if *known != kind => {
                    at(format!("`{name}` is a {kind} here and a {known} for tenant `{first}`"));
                }
                Some(_) => {}
                None if kinds.len() == MOST => at(format!("more than {MOST} attributes")),
                None => drop(kinds.insert(name.clone(), (kind, tenant))),
            }
        }
    }
    kinds.into_iter().map(|(name, (kind, _))| (name, kind)).collect()
}

fn is_name(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(fit) && !name.starts_with(|first: char| first.is_ascii_digit())
}
