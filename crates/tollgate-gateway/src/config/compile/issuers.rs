//! Issuers of access tokens: their key sets out of files, and the way out to those that are asked.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_layers::auth::{BadKey, IssuerConfig, KeySet, LARGEST_SET, TokenNames, Tokens};

use super::Desk;
use crate::config::disk;
use crate::egress::Egress;
use crate::issuers::{Fresh, FreshKeys, Introspection, IssuerDesk, Plan, Source};

impl Desk<'_> {
    /// The issuers, and where their keys come from: put in place together with the policy, or not at all.
    pub(super) fn tokens(&mut self, check: &mut Checker) -> (Tokens, Vec<(Arc<IssuerDesk>, Fresh)>) {
        let (config, state) = (self.config, self.state);
        let room = |name: &str| {
            let desk = state.issuers.desk(name, &state.clock);
            (Arc::clone(&desk.room), Some(desk as _))
        };
        let dpop = config.auth.dpop.unwrap_or(config.limits.store.is_none());
        let names = TokenNames {
            tenants: &config.tenants,
            ids: state.id_key,
            room: &room,
            resource: config.auth.resource.as_deref(),
            dpop,
            replays: &state.replays,
            seed: (u128::from(state.dice.0) << 64 | u128::from(state.dice.1)).to_le_bytes(),
        };
        check.within("auth", |check| {
            let fit = config.auth.resource.as_deref().is_none_or(|url| url.starts_with("https://"));
            check.require(fit, "resource", "what clients call us begins with `https://`");
            if config.auth.dpop == Some(true) && config.limits.store.is_some() {
                let why = "with several gateways (`limits.store`) a proof could be used once at each of them";
                check.problem_hint("dpop", why, "leave it out: tokens that are bound to keys are refused then");
            }
            if config.auth.dpop == Some(true) && config.auth.resource.is_none() {
                check.problem("dpop", "proofs name what clients call us: `resource` is missing");
            }
            check.within("issuers", |check| {
                let tokens = Tokens::compile(&config.auth.issuers, check, &names);
                let mut all = Vec::new();
                for (name, issuer) in &config.auth.issuers {
                    let fresh = check.within(name.as_str(), |check| self.fresh(issuer, check));
                    all.extend(fresh.map(|fresh| (state.issuers.desk(name, &state.clock), fresh)));
                }
                (tokens, all)
            })
        })
    }

    fn fresh(&mut self, issuer: &IssuerConfig, check: &mut Checker) -> Option<Fresh> {
        let egress = self.egress(issuer, check)?;
        let introspection = issuer.introspection.as_ref().map(|asked| {
            check.within("introspection", |check| {
                let secret = self.opener.open(&asked.client_secret, "client_secret", check)?;
                let client = (asked.client_id.as_str(), &secret);
                let (says, url) = (issuer.issuer.clone(), asked.url.clone());
                Some(Introspection::new(says, url, client, egress.clone(), asked.at_once))
            })
        });
        let introspection = match introspection {
            None => None,
            Some(opened) => Some(opened?),
        };
        let keys = match &issuer.jwks.file {
            Some(file) => check.within("jwks", |check| self.set_of(file, check)).map(FreshKeys::Read)?,
            None => FreshKeys::Fetched(plan(issuer, egress)),
        };
        Some(Fresh { keys, introspection })
    }

    fn egress(&self, issuer: &IssuerConfig, check: &mut Checker) -> Option<Egress> {
        let ca = issuer.ca.as_ref().map(|ca| disk::read_up_to(&self.base.join(ca), 4 << 20));
        let ca = ca.transpose().map_err(|error| check.problem("ca", format!("it cannot be read: {error}"))).ok()?;
        Egress::new(ca.as_deref(), issuer.allow_private).map_err(|why| check.problem("ca", why)).ok()
    }

    fn set_of(&self, file: &str, check: &mut Checker) -> Option<KeySet> {
        let text = disk::read_up_to(&self.base.join(file), LARGEST_SET as u64)
            .map_err(|error| check.problem("file", format!("`{file}` cannot be read: {error}")));
        let (set, left_out) = KeySet::parse(&text.ok()?, u64::MAX)
            .map_err(|why| check.problem("file", format!("`{file}` is refused: {why}")))
            .ok()?;
        for (i, why) in left_out {
            let told = format!("key {i} of `{file}` is not used: {why}");
            match why {
                BadKey::Private => check.problem_hint("file", told, "whoever reads that file can make tokens"),
                _ => check.warn("file", told),
            }
        }
        Some(set)
    }
}

fn plan(issuer: &IssuerConfig, egress: Egress) -> Plan {
    let source = match &issuer.jwks.url {
        Some(url) => Source::Address(url.clone()),
        None => Source::Discovered(issuer.issuer.clone()),
    };
    let max_stale = Duration::from_secs(issuer.jwks.max_stale_secs);
    Plan { source, egress, max_stale }
}
