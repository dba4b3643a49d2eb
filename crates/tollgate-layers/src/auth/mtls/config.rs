//! `tls.client_auth`: whose certificates are believed, who is asked for one, and whom they name.

use std::collections::{BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::map::{Map, Name, Rule};
use super::spiffe::{SpiffeId, is_domain};
use super::{ClientAuth, Door, Forwarded};
use crate::auth::KeyNames;
use crate::authz::Scope;
use crate::network::Nets;

/// The most trusts, and the most rules.
const MOST_TRUSTS: usize = 16;
const MOST_RULES: usize = 10_000;

/// Client certificates: who is asked for one, whose are believed, and whom they name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientAuthConfig {
    /// Whether listeners with TLS ask for a certificate, unless they say otherwise themselves: `none`, `optional` or
    /// `require`. Default: `none`.
    pub mode: AskFor,
    /// Whose certificates are believed; at most 16. A certificate counts under one of them alone.
    pub trust: Vec<TrustConfig>,
    /// Whose a certificate is. Of rules with SPIFFE ids the longest one counts, of the others the first that fits. The
    /// subject's common name is never looked at.
    pub map: Vec<MapConfig>,
    /// Certificates that proxies pass on in `Client-Cert` (RFC 9440). Default: that field is dropped and means nothing.
    pub forwarded: Option<ForwardedConfig>,
}

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum AskFor {
    /// It is not.
    #[default]
    None,
    /// It is, and may have none; a bad one ends the handshake.
    Optional,
    /// It must show one.
    Require,
}

/// One root of trust, with what it revoked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// A SPIFFE trust domain, such as `prod.example`: this bundle alone verifies ids of it, and nothing else.
    #[serde(default)]
    pub domain: Option<String>,
    /// For certificates without a SPIFFE id: what rules call this trust.
    #[serde(default)]
    pub name: Option<String>,
    /// PEM file with its roots, relative to this file. Read again on reload and when it changes.
    pub bundle: String,
    /// PEM file with its revocation lists, likewise. One that has ended refuses every certificate of this trust.
    #[serde(default)]
    pub crl: Option<String>,
    /// Which certificates of a chain a list must speak of: the whole `chain` below the root, or the `leaf` alone. Default:
    /// `chain`.
    #[serde(default)]
    pub revocation: Revocation,
}

/// Which certificates of a chain are looked up in revocation lists.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// All but the root: each issuer's list must be there.
    #[default]
    Chain,
    /// The client's own.
    Leaf,
}

/// Whose certificates with a name are: one of `spiffe`, `dns`, `uri`, `email`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapConfig {
    /// A SPIFFE id, and all that stand below it: `spiffe://prod.example/ns/ml`.
    #[serde(default)]
    pub spiffe: Option<String>,
    /// For the other three: the `name` of the trust that the rule is for.
    #[serde(default)]
    pub trust: Option<String>,
    /// A DNS name, exactly.
    #[serde(default)]
    pub dns: Option<String>,
    /// A URI, exactly.
    #[serde(default)]
    pub uri: Option<String>,
    /// A mail address, exactly.
    #[serde(default)]
    pub email: Option<String>,
    /// On whose behalf and bill: a name of `tenants`.
    pub tenant: String,
    /// What it may do. Default: everything that the tenant may, but never `admin`.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Models that it is held to. Default: all of the tenant's.
    #[serde(default)]
    pub models: Vec<String>,
}

/// Proxies that end TLS in front of us and pass on the certificate that they verified. They are those of
/// `network.trusted_proxies`, and must drop the field from what their own clients send.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardedConfig {
    /// Whose certificates they may pass on: domains and names of `trust`, at most one of them without a domain.
    pub trust: Vec<String>,
}

/// Which of its two kinds a trust is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrustKind<'a> {
    /// Of a SPIFFE trust domain.
    Domain(&'a str),
    /// Of certificates without SPIFFE ids.
    Plain(&'a str),
}

/// What the layer takes from elsewhere in the configuration.
#[derive(Debug)]
pub struct Surroundings {
    /// What each listener with TLS asks for.
    pub doors: HashMap<Box<str>, Door>,
    /// `network.trusted_proxies`.
    pub proxies: Nets,
    /// What the lists revoke.
    pub revoked: HashSet<[u8; 32]>,
}

impl TrustConfig {
    /// Its kind and its name, if it says which it is.
    #[must_use]
    pub fn kind(&self) -> Option<TrustKind<'_>> {
        match (&self.domain, &self.name) {
            (Some(domain), None) => Some(TrustKind::Domain(domain)),
            (None, Some(name)) => Some(TrustKind::Plain(name)),
            _ => None,
        }
    }
}

impl ClientAuthConfig {
    /// Reports every mistake, then builds what the layer asks.
    pub fn compile(&self, check: &mut Checker, names: &KeyNames<'_>, around: Surroundings) -> ClientAuth {
        check.within("trust", |check| self.check_trust(check));
        let asked = around.doors.values().any(Door::asks_anybody);
        if asked && self.trust.is_empty() {
            check.problem("trust", "clients are asked for certificates, and none is believed");
        }
        let used = asked || self.forwarded.is_some();
        if !used && !self.trust.is_empty() {
            check.warn("trust", "nobody is asked for a certificate: `mode` is `none` everywhere");
        }
        let mut map = Map { ids: Some(names.ids), ..Map::default() };
        check.within("map", |check| self.rules(check, names, &mut map));
        let forwarded = self
            .forwarded
            .as_ref()
            .map(|forwarded| check.within("forwarded", |check| self.forwarded(forwarded, around.proxies, check)));
        ClientAuth { doors: around.doors, map, forwarded, revoked: around.revoked }
    }

    fn check_trust(&self, check: &mut Checker) {
        if self.trust.len() > MOST_TRUSTS {
            check.problem_here(format!("at most {MOST_TRUSTS} trusts"));
        }
        let mut known = BTreeSet::new();
        for (i, trust) in self.trust.iter().enumerate() {
            check.within(i, |check| match trust.kind() {
                None => check.problem_here("a trust has either a `domain`, for SPIFFE ids, or a `name`"),
                Some(TrustKind::Domain(domain)) => {
                    let why = format!("`{domain}` is no trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`");
                    check.require(is_domain(domain), "domain", why);
                    check.require(known.insert(domain), "domain", format!("`{domain}` is there twice"));
                }
                Some(TrustKind::Plain(name)) => {
                    let why = format!("`{name}` is no name: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`");
                    check.require(is_domain(name), "name", why);
                    check.require(known.insert(name), "name", format!("`{name}` is there twice"));
                }
            });
        }
    }

    fn rules(&self, check: &mut Checker, names: &KeyNames<'_>, map: &mut Map) {
        if self.map.len() > MOST_RULES {
            return check.problem_here(format!("at most {MOST_RULES} rules"));
        }
        let mut known = BTreeSet::new();
        for (i, rule) in self.map.iter().enumerate() {
            check.within(i, |check| {
                rule.check_names(check, names);
                let Some((trust, name)) = self.subject(rule, check) else { return };
                let (kind, text) = name.parts();
                let fresh = known.insert((trust.clone(), kind, text.to_owned()));
                check.require(fresh, kind, format!("`{text}` has a rule already"));
                let list = if kind == "spiffe" { &mut map.spiffe } else { &mut map.named };
                list.push(Rule {
                    trust: trust.into(),
                    name,
                    tenant: rule.tenant.as_str().into(),
                    scopes: rule.scopes.iter().map(|scope| scope.name().into()).collect(),
                    models: rule.models.iter().map(|model| model.as_str().into()).collect(),
                });
            });
        }
        map.spiffe.sort_by_key(|rule| std::cmp::Reverse(rule.name.parts().1.len()));
    }

    /// The trust that a rule is for, and the name in it.
    fn subject(&self, rule: &MapConfig, check: &mut Checker) -> Option<(String, Name)> {
        let boxed = |text: &String| text.as_str().into();
        let mut given = [
            rule.spiffe.as_ref().map(|text| Name::Spiffe(boxed(text))),
            rule.dns.as_ref().map(|text| Name::Dns(text.to_ascii_lowercase().into())),
            rule.uri.as_ref().map(|text| Name::Uri(boxed(text))),
            rule.email.as_ref().map(|text| Name::Email(boxed(text))),
        ]
        .into_iter()
        .flatten();
        let (Some(name), None) = (given.next(), given.next()) else {
            check.problem_here("a rule names one of `spiffe`, `dns`, `uri` and `email`");
            return None;
        };
        let (kind, text) = name.parts();
        if kind == "spiffe" {
            let Some(id) = SpiffeId::parse(text) else {
                check.problem(kind, format!("`{text}` is no SPIFFE id such as `spiffe://prod.example/ns/ml`"));
                return None;
            };
            check.require(rule.trust.is_none(), "trust", "a SPIFFE id names its trust domain itself");
            let known = self.kinds().any(|kind| kind == TrustKind::Domain(id.domain));
            check.require(known, kind, format!("`{}` is not a `domain` of `trust`", id.domain));
            return Some((id.domain.to_owned(), name));
        }
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        check.require(plain, kind, format!("`{text}` can stand in no certificate: visible ASCII alone"));
        check.require(!SpiffeId::is_claimed(text), kind, "a SPIFFE id stands under `spiffe`");
        let Some(trust) = &rule.trust else {
            check.problem_here(format!("`{kind}` needs the `trust` that it is for"));
            return None;
        };
        let known = self.kinds().any(|kind| kind == TrustKind::Plain(trust));
        check.require(known, "trust", format!("`{trust}` is not a `name` of `trust`"));
        Some((trust.clone(), name))
    }

    fn forwarded(&self, forwarded: &ForwardedConfig, proxies: Nets, check: &mut Checker) -> Forwarded {
        check.require(
            !proxies.is_empty(),
            "trust",
            "nobody may pass certificates on: `network.trusted_proxies` is empty",
        );
        check.require(!forwarded.trust.is_empty(), "trust", "no trust is named, so that every certificate is refused");
        let (mut domains, mut plain) = (Vec::new(), None);
        check.within("trust", |check| {
            for (i, name) in forwarded.trust.iter().enumerate() {
                match self.kinds().find(|kind| kind.name() == name) {
                    None => check.problem(i, format!("`{name}` is not one of `tls.client_auth.trust`")),
                    Some(TrustKind::Domain(domain)) => domains.push(domain.into()),
                    Some(TrustKind::Plain(name)) if plain.is_none() => plain = Some(name.into()),
                    Some(TrustKind::Plain(_)) => {
                        check.problem(i, "a second trust without a domain: nothing would tell its certificates apart");
                    }
                }
            }
        });
        Forwarded { proxies, domains, plain }
    }

    fn kinds(&self) -> impl Iterator<Item = TrustKind<'_>> {
        self.trust.iter().filter_map(TrustConfig::kind)
    }
}

impl<'a> TrustKind<'a> {
    /// Its name or domain.
    #[must_use]
    pub const fn name(self) -> &'a str {
        match self {
            Self::Domain(name) | Self::Plain(name) => name,
        }
    }
}

impl MapConfig {
    fn check_names(&self, check: &mut Checker, names: &KeyNames<'_>) {
        if !names.tenants.contains_key(&self.tenant) {
            check.problem_hint("tenant", format!("`{}` is not a tenant", self.tenant), "name it under `tenants`");
        }
        check.within("models", |check| {
            for (i, model) in self.models.iter().enumerate().filter(|(_, model)| !names.models.contains_key(*model)) {
                check.problem_hint(i, format!("`{model}` is not a model"), "name it under `models`");
            }
        });
    }
}
