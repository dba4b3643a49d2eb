//! One issuer: what its tokens must say, and whom they mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tollgate_core::identity::{Identity, Method, Person};

use super::claims::{Claims, is_name};
use super::{Algorithm, Flaw, KeyRoom, Outside};
use crate::auth::IdKey;
use crate::authz::Scope;

/// A scope that gives nothing: what a token has whose own scopes mean nothing here. No scope at all would mean all of
/// the tenant's.
pub(super) const NO_SCOPE: &str = "none";

/// An issuer, ready for use.
#[derive(Debug)]
pub(super) struct Issuer {
    /// Its configured name.
    pub(super) name: Box<str>,
    /// What `iss` says, exactly.
    pub(super) says: Box<str>,
    pub(super) audience: Vec<Box<str>>,
    pub(super) algorithms: Vec<Algorithm>,
    /// In lower case, without `application/`.
    pub(super) types: Vec<Box<str>>,
    pub(super) person: PersonRules,
    pub(super) keys: Arc<KeyRoom>,
    /// Whoever may ask it something.
    pub(super) outside: Option<Arc<dyn Outside>>,
    /// Whether it is asked about tokens that say nothing themselves.
    pub(super) introspects: bool,
}

/// How claims become a caller.
#[derive(Debug)]
pub(super) struct PersonRules {
    pub(super) principal: Option<Box<str>>,
    pub(super) tenant: TenantRule,
    /// Whether the configuration says anything of scopes.
    pub(super) scoped: bool,
    pub(super) scope_claim: Box<str>,
    pub(super) scopes: BTreeMap<String, Vec<Scope>>,
    pub(super) ids: IdKey,
}

/// How claims become a tenant.
#[derive(Debug)]
pub(super) enum TenantRule {
    /// By what one of them says.
    Claim { claim: Box<str>, names: BTreeMap<String, String> },
    /// Always the same.
    Fixed(Box<str>),
}

impl Issuer {
    /// Holds claims to what every token of this issuer must say.
    pub(super) fn check(&self, claims: &Claims, now: u64) -> Result<(), Flaw> {
        self.check_audience(claims)?;
        claims.check_times(now)
    }

    /// Holds what the issuer says of a token that it was shown to the same.
    pub(super) fn check_said(&self, claims: &Claims, now: u64) -> Result<(), Flaw> {
        if claims.issuer.as_deref().is_some_and(|says| *says != *self.says) {
            return Err(Flaw::Issuer);
        }
        self.check_audience(claims)?;
        claims.check_said(now)
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Flaw> {
        if claims.audience.is_empty() {
            return Err(Flaw::ClaimMissing("aud"));
        }
        if !claims.is_for(&self.audience) {
            return Err(Flaw::Audience);
        }
        Ok(())
    }

    /// Whom the claims mean.
    pub(super) fn identity(&self, claims: &Claims) -> Result<Identity, Flaw> {
        let PersonRules { ids, .. } = &self.person;
        // Two issuers may well use the same name for two people.
        let principal = format!("{}:{}", self.name, self.person.principal(claims)?);
        let tenant = self.person.tenant(claims)?;
        Ok(Identity::new(Person {
            principal_id: ids.principal(&principal),
            tenant_id: ids.tenant(tenant),
            principal: principal.into(),
            tenant: tenant.into(),
            scopes: self.person.scopes(claims)?,
            models: Vec::new(),
            method: Method::Token,
            ..Person::default()
        }))
    }
}

impl PersonRules {
    fn principal<'a>(&self, claims: &'a Claims) -> Result<&'a str, Flaw> {
        let found = match &self.principal {
            Some(claim) => claims.find(claim),
            None => claims.find("sub").or_else(|| claims.find("client_id")),
        };
        found.and_then(Value::as_str).filter(|name| is_name(name)).ok_or(Flaw::ClaimMissing("sub"))
    }

    fn tenant<'a>(&'a self, claims: &Claims) -> Result<&'a str, Flaw> {
        match &self.tenant {
            TenantRule::Fixed(tenant) => Ok(tenant),
            TenantRule::Claim { claim, names } => {
                let said = claims.find(claim).and_then(Value::as_str).ok_or(Flaw::NoTenant)?;
                names.get(said).map(String::as_str).ok_or(Flaw::NoTenant)
            }
        }
    }

    /// The scopes that a token gives: none at all (which means all of the tenant's but `admin`) only where nothing is
    /// configured of scopes. Where something is, a token that says nothing of them asked for less, and gets nothing.
    fn scopes(&self, claims: &Claims) -> Result<Vec<Box<str>>, Flaw> {
        let words: Vec<&str> = match claims.find(&self.scope_claim) {
            None if self.scoped => return Ok(vec![NO_SCOPE.into()]),
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => text.split(' ').filter(|word| !word.is_empty()).collect(),
            Some(Value::Array(all)) => {
                all.iter().map(|word| word.as_str().ok_or(Flaw::ClaimWrong("scope"))).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(Flaw::ClaimWrong("scope")),
        };
        let mut given = Vec::new();
        for scope in words.iter().filter_map(|word| self.scopes.get(*word)).flatten() {
            if !given.contains(scope) {
                given.push(*scope);
            }
        }
        if given.is_empty() {
            return Ok(vec![NO_SCOPE.into()]);
        }
        Ok(given.into_iter().map(|scope| scope.name().into()).collect())
    }
}
