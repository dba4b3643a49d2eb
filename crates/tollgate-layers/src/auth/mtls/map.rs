//! The rules that say whose a certificate is.

use tollgate_core::identity::{Certificate, Identity, Method, Person};

use super::super::IdKey;
use super::SpiffeId;

/// All rules. Those of SPIFFE ids stand with the longest path first, the others as they were written.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) spiffe: Vec<Rule>,
    pub(super) named: Vec<Rule>,
    pub(super) ids: Option<IdKey>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// The trust that it speaks of, and no other.
    pub(super) trust: Box<str>,
    pub(super) name: Name,
    pub(super) tenant: Box<str>,
    pub(super) scopes: Vec<Box<str>>,
    pub(super) models: Vec<Box<str>>,
}

/// What a certificate must say of its owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Name {
    Dns(Box<str>),
    Email(Box<str>),
    Spiffe(Box<str>),
    Uri(Box<str>),
}

impl Map {
    /// The identity that a certificate has by the first rule that fits.
    pub(super) fn find(&self, certificate: &Certificate) -> Option<Identity> {
        if let Some(id) = certificate.uris.iter().find(|uri| SpiffeId::is_claimed(uri)) {
            let parsed = SpiffeId::parse(id).filter(|id| *id.domain == *certificate.trust)?;
            let fits = |rule: &&Rule| match &rule.name {
                Name::Spiffe(of) => parsed.is_within(of),
                _ => false,
            };
            return self.spiffe.iter().find(fits).map(|rule| self.identity(rule, id.clone()));
        }
        let fits = |rule: &&Rule| rule.trust == certificate.trust && rule.name.stands_in(certificate);
        let rule = self.named.iter().find(fits)?;
        // The same name under another trust is somebody else.
        let (kind, name) = rule.name.parts();
        Some(self.identity(rule, format!("{}/{kind}:{name}", rule.trust).into()))
    }

    fn identity(&self, rule: &Rule, principal: Box<str>) -> Identity {
        let ids = self.ids;
        Identity::new(Person {
            tenant: rule.tenant.clone(),
            scopes: rule.scopes.clone(),
            models: rule.models.clone(),
            method: Method::Certificate,
            principal_id: ids.map_or(0, |ids| ids.principal(&principal)),
            tenant_id: ids.map_or(0, |ids| ids.tenant(&rule.tenant)),
            principal,
            credential: None,
            retires_ms: None,
        })
    }
}

impl Name {
    fn stands_in(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Dns(name) => certificate.dns.contains(name),
            Self::Email(name) => certificate.emails.contains(name),
            Self::Spiffe(_) => false,
            Self::Uri(name) => certificate.uris.contains(name),
        }
    }

    pub(super) const fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Dns(name) => ("dns", name),
            Self::Email(name) => ("email", name),
            Self::Spiffe(name) => ("spiffe", name),
            Self::Uri(name) => ("uri", name),
        }
    }
}
