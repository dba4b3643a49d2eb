//! The issuers of the `auth` section, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::secret::SecretRef;

use super::claims::is_name;
use super::issuer::{Issuer, PersonRules, TenantRule};
use super::{Algorithm, KeyRoom, Outside, Replays, Tokens};
use crate::auth::IdKey;
use crate::authz::{Scope, TenantConfig};

/// The most issuers, audiences and names of a list.
const MOST: usize = 64;

/// An issuer of access tokens, whose word is taken for who somebody is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What its tokens say in `iss`, exactly: an address such as `https://id.example.com/`.
    pub issuer: String,
    /// What its tokens must say in `aud`: at least one of these. Never a name that other services use as well.
    pub audience: Vec<String>,
    /// How its tokens may be signed. Default: `[eddsa, es256, ps256, rs256]`.
    #[serde(default)]
    pub algorithms: Option<Vec<Algorithm>>,
    /// What the header of its access tokens says in `typ`, without `application/`. Default: `[at+jwt]`, as RFC 9068 asks;
    /// issuers that do not follow it write `jwt`, which their ID tokens say as well.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// Where its keys come from. Default: where its metadata says (OpenID Connect Discovery, else RFC 8414).
    #[serde(default)]
    pub jwks: JwksConfig,
    /// Roots of its certificate, a file in PEM relative to this file. Default: the public ones.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether its name may lead to private addresses. A literal address declares itself. Default: `false`.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether it is asked (RFC 7662) about tokens that are not signed; of one issuer at most.
    #[serde(default)]
    pub introspection: Option<IntrospectionConfig>,
    /// The tenant of everybody who has a token of this issuer. Either this or `tenant_claim`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The claim that says which tenant. Either this or `tenant`.
    #[serde(default)]
    pub tenant_claim: Option<TenantClaimConfig>,
    /// The claim that names the caller; a JSON Pointer if it begins with `/`. Default: `sub`, else `client_id`. Records say
    /// `ISSUER:NAME`.
    #[serde(default)]
    pub principal_claim: Option<String>,
    /// What its scopes mean here.
    #[serde(default)]
    pub scopes: ScopesConfig,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JwksConfig {
    /// A file with its key set (RFC 7517), relative to this file. It is read at each reload, and nothing is ever fetched.
    pub file: Option<String>,
    /// An address beginning with `https://`, asked instead of what the metadata names.
    pub url: Option<String>,
    /// How long keys may be used after they were fetched, in seconds; then every token is answered with 503. They are fetched
    /// as often as `Cache-Control` says, between 5 minutes and 24 hours, and at least twice within this time. Default: 86400.
    #[schemars(range(min = 1, max = 604_800))]
    pub max_stale_secs: u64,
}

impl Default for JwksConfig {
    fn default() -> Self {
        Self { file: None, url: None, max_stale_secs: 86_400 }
    }
}

/// How an issuer is asked about tokens that say nothing themselves. What it says counts for 30 seconds at most, a no for 10.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionConfig {
    /// An address beginning with `https://`. Default: what the issuer's metadata names.
    #[serde(default)]
    pub url: Option<String>,
    /// Who we are to the issuer.
    pub client_id: String,
    /// What proves it, sent as `Basic` (RFC 6749 § 2.3.1).
    pub client_secret: SecretRef,
    /// How many tokens are asked about at once; more wait for a second and are then answered with 503. Default: 64.
    #[serde(default = "default_at_once")]
    #[schemars(range(min = 1, max = 1024))]
    pub at_once: usize,
}

const fn default_at_once() -> usize {
    64
}

/// A claim that says which tenant.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantClaimConfig {
    /// Its name; a JSON Pointer if it begins with `/`.
    pub claim: String,
    /// Which of its values means which tenant. Every other value is refused.
    pub names: BTreeMap<String, String>,
}

/// What the scopes of an issuer mean here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScopesConfig {
    /// The claim that holds them: words with spaces between, or a list. Default: `scope`. Where neither
    /// this nor `names` is written, a token without it may do all that its tenant may, but never `admin`; else it may do
    /// nothing, like one whose scopes all mean nothing here.
    pub claim: Option<String>,
    /// Which of them means what. Default: `infer` and `list` mean what they say.
    pub names: Option<BTreeMap<String, Vec<Scope>>>,
}

/// Where the keys of an issuer are, and who may ask it something.
type Room = (Arc<KeyRoom>, Option<Arc<dyn Outside>>);

/// What issuers may name, and what they are given.
pub struct TokenNames<'a> {
    /// Tenants.
    pub tenants: &'a BTreeMap<String, TenantConfig>,
    /// What turns names into numbers.
    pub ids: IdKey,
    /// Where the keys of an issuer are, and who may ask it something.
    pub room: &'a dyn Fn(&str) -> Room,
    /// Secret of the table of tokens that were found good.
    pub seed: [u8; 16],
    /// What we are called, as a resource.
    pub resource: Option<&'a str>,
    /// Whether proofs of possession are accepted.
    pub dpop: bool,
    /// Proofs that were used up.
    pub replays: &'a Arc<Replays>,
}

impl Tokens {
    /// Reports every mistake, then makes the issuers ready. `check` stands at `auth.issuers`.
    pub fn compile(configs: &BTreeMap<String, IssuerConfig>, check: &mut Checker, names: &TokenNames<'_>) -> Self {
        if configs.len() > MOST {
            check.problem_here(format!("at most {MOST} issuers"));
        }
        let mut issuers: Vec<Issuer> = Vec::new();
        for (name, config) in configs {
            check.within(name.as_str(), |check| {
                let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
                if !(1..=32).contains(&name.len()) || !name.bytes().all(fit) {
                    check.problem_here(format!("`{name}` is not 1 to 32 of `a-z`, `0-9`, `_`, `-`"));
                }
                if let Some(other) = issuers.iter().find(|other| *other.says == *config.issuer) {
                    let message = format!("`{}` is the issuer `{}` as well", config.issuer, other.name);
                    check.problem("issuer", message);
                }
                issuers.extend(config.compile(name, check, names));
            });
        }
        let asked = configs.values().filter(|config| config.introspection.is_some()).count();
        if asked > 1 {
            check.problem_here("only one issuer can be asked about tokens that do not say whose they are");
        }
        Self::new(issuers, names)
    }
}

impl IssuerConfig {
    fn compile(&self, name: &str, check: &mut Checker, names: &TokenNames<'_>) -> Option<Issuer> {
        check.require(is_name(&self.issuer), "issuer", "an issuer has 1 to 256 characters");
        listed(check, "audience", &self.audience);
        if !self.audience.iter().all(|audience| is_name(audience)) {
            check.problem("audience", "an audience has 1 to 256 characters");
        }
        let algorithms = self.algorithms.clone().unwrap_or_else(|| Algorithm::USUAL.to_vec());
        listed(check, "algorithms", &algorithms);
        let types = self.types.clone().unwrap_or_else(|| vec!["at+jwt".to_owned()]);
        listed(check, "types", &types);
        if types.iter().any(|kind| kind.starts_with("application/") || *kind != kind.to_ascii_lowercase()) {
            check.problem_hint("types", "types stand here in lower case and without `application/`", "write `at+jwt`");
        }
        if types.iter().any(|kind| kind == "dpop+jwt") {
            check.problem("types", "`dpop+jwt` is the type of a proof, never that of a token");
        }
        if types.iter().any(|kind| kind == "jwt") {
            check.warn("types", "ID tokens say `jwt` as well: only `audience` keeps them out");
        }
        self.check_source(check);
        let tenant = self.tenant_rule(check, names.tenants);
        let person = PersonRules {
            principal: self.principal_claim.as_deref().map(Into::into),
            tenant: tenant?,
            scoped: self.scopes.claim.is_some() || self.scopes.names.is_some(),
            scope_claim: self.scopes.claim.as_deref().unwrap_or("scope").into(),
            scopes: self.scopes.names.clone().unwrap_or_else(own_scopes),
            ids: names.ids,
        };
        let (keys, outside) = (names.room)(name);
        Some(Issuer {
            name: name.into(),
            says: self.issuer.as_str().into(),
            audience: self.audience.iter().map(|one| one.as_str().into()).collect(),
            algorithms,
            types: types.iter().map(|one| one.as_str().into()).collect(),
            person,
            keys,
            outside,
            introspects: self.introspection.is_some(),
        })
    }

    fn check_source(&self, check: &mut Checker) {
        let is_https = |url: &str| url.starts_with("https://");
        if let Some(IntrospectionConfig { url, client_id, at_once, .. }) = &self.introspection {
            check.within("introspection", |check| {
                check.require((1..=1_024).contains(at_once), "at_once", "it is 1 to 1024 questions");
                check.require(!client_id.is_empty(), "client_id", "the client has no name");
                let fit = url.as_deref().map_or(is_https(&self.issuer), is_https);
                check.require(fit, "url", "an issuer is asked over `https://` alone");
            });
        }
        let JwksConfig { file, url, max_stale_secs } = &self.jwks;
        let bounded = (1..=604_800).contains(max_stale_secs);
        check.within("jwks", |check| check.require(bounded, "max_stale_secs", "it is 1 to 604800 seconds"));
        let asked = self.introspection.is_some();
        if file.is_some() && (url.is_some() || (!asked && (self.ca.is_some() || self.allow_private))) {
            let why = "with a `file` nothing is fetched: `url`, `ca` and `allow_private` say nothing";
            check.within("jwks", |check| check.problem("file", why));
        }
        if url.as_deref().is_some_and(|url| !is_https(url)) {
            check.within("jwks", |check| check.problem("url", "keys come over `https://` alone"));
        }
        if file.is_none() && url.is_none() && !is_https(&self.issuer) {
            let hint = "name `jwks.file` or `jwks.url`";
            check.problem_hint("issuer", "metadata comes over `https://` alone, and this is no such address", hint);
        }
    }

    fn tenant_rule(&self, check: &mut Checker, tenants: &BTreeMap<String, TenantConfig>) -> Option<TenantRule> {
        let hint = "name it under `tenants`";
        match (&self.tenant, &self.tenant_claim) {
            (Some(tenant), None) => {
                if !tenants.contains_key(tenant) {
                    check.problem_hint("tenant", format!("`{tenant}` is not a tenant"), hint);
                }
                Some(TenantRule::Fixed(tenant.as_str().into()))
            }
            (None, Some(TenantClaimConfig { claim, names })) => {
                check.within("tenant_claim", |check| {
                    check.require(!claim.is_empty(), "claim", "the claim has no name");
                    check.require(!names.is_empty(), "names", "no value means a tenant: every token would be refused");
                    check.within("names", |check| {
                        for (value, tenant) in names.iter().filter(|(_, tenant)| !tenants.contains_key(*tenant)) {
                            check.problem_hint(value.as_str(), format!("`{tenant}` is not a tenant"), hint);
                        }
                    });
                });
                Some(TenantRule::Claim { claim: claim.as_str().into(), names: names.clone() })
            }
            (Some(_), Some(_)) => {
                check.problem("tenant_claim", "either `tenant` or `tenant_claim`, not both");
                None
            }
            (None, None) => {
                check.problem_here("nothing says which tenant a token is for: `tenant` or `tenant_claim` is missing");
                None
            }
        }
    }
}

/// Scopes that mean what they say. `admin` is never taken from a token unless its issuer's section says so.
fn own_scopes() -> BTreeMap<String, Vec<Scope>> {
    [Scope::Infer, Scope::List].map(|scope| (scope.name().to_owned(), vec![scope])).into()
}

fn listed<T: PartialEq>(check: &mut Checker, name: &str, items: &[T]) {
    if items.is_empty() || items.len() > MOST {
        check.problem(name, format!("1 to {MOST} entries"));
    }
    if items.iter().enumerate().any(|(i, item)| items.iter().take(i).any(|earlier| earlier == item)) {
        check.problem(name, "one of the entries is listed twice");
    }
}
