//! Model servers of the configuration: where they are, how they are spoken to, and whether their routes can be served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use tollgate_core::check::Checker;
use tollgate_layers::routes::Protocol;

use super::Desk;
use crate::config::backends::{EndpointConfig, rules};
use crate::config::disk;
use crate::config::document::{KeyHeader, UpstreamConfig};
use crate::egress::{Egress, basic};
use crate::tls::{Speaks, client_config};
use crate::upstream::fleet::MOST;
use crate::upstream::grant::{self, Grant, Terms};
use crate::upstream::{Address, Fleet, MuxBounds, Remote, Settings};

/// The field that carries a key, and that.
pub(super) type Key = (HeaderName, HeaderValue);

impl Desk<'_> {
    pub(super) fn remote(
        &mut self,
        name: &str,
        config: &UpstreamConfig,
        (key, base): (Option<Key>, &Path),
        check: &mut Checker,
    ) -> Option<Arc<Remote>> {
        let defaults = self.config.upstream_defaults;
        let ms = Duration::from_millis;
        let settings = Settings {
            connect: ms(config.connect_ms.unwrap_or(defaults.connect_ms)),
            first_byte: ms(config.first_byte_ms.unwrap_or(defaults.first_byte_ms)),
            idle: ms(config.idle_ms.unwrap_or(defaults.idle_ms)),
            stream_idle: ms(config.stream_idle_ms.unwrap_or(defaults.stream_idle_ms)),
            max_idle: defaults.max_idle_per_worker,
            mux: MuxBounds {
                streams: defaults.h2.max_streams_per_connection,
                age: ms(defaults.h2.max_connection_age_ms),
                idle: ms(defaults.h2.idle_ms),
            },
        };
        let roots = roots(config, base, check);
        let endpoints = addresses("endpoints", &config.endpoints, (Speaks::Either, &roots), check);
        let rpc = addresses("grpc", &config.grpc, (Speaks::H2, &roots), check);
        let (mut endpoints, mut rpc) = (endpoints?, rpc?);
        let (terms, stamp) = self.terms(config, check)?;
        let grant = terms.map(|terms| Arc::new(Grant::new(terms, self.state.clock.clone())));
        for (address, _weight) in endpoints.iter_mut().chain(&mut rpc) {
            address.key.clone_from(&key);
            address.grant.clone_from(&grant);
        }
        let shown = |(address, _): &(Address, f64)| address.shows_its_key();
        if (key.is_some() || grant.is_some()) && endpoints.iter().chain(&rpc).any(shown) {
            let at = if key.is_some() { "key" } else { "oauth" };
            check.warn(at, "whoever stands between us and `http://` can read it; use `https://`");
        }
        // Another key is another server: what was opened with the old one is let go. A digest, because it is kept.
        let key = key.map(|(name, value)| (name, digest(&SHA256, value.as_bytes())));
        let (rest_rules, rpc_rules, health) = rules(config, check);
        let ca = &config.ca;
        let fingerprint =
            format!("{endpoints:?} {rpc:?} {settings:?} {rest_rules:?} {health:?} {ca:?} {key:?} {stamp:?}");
        let (workers, dice) = (self.state.workers, self.state.dice.1);
        Some(self.state.remote(name, fingerprint, || {
            let fleets = (Fleet::new(endpoints, rest_rules, dice), Fleet::new(rpc, rpc_rules, dice));
            Remote { grant, ..Remote::new(fleets, settings, health, workers) }
        }))
    }

    /// How a token for an upstream is got, and what tells these terms from others without their secret.
    fn terms(&mut self, config: &UpstreamConfig, check: &mut Checker) -> Option<(Option<Terms>, Option<Digest>)> {
        let Some(oauth) = &config.oauth else { return Some((None, None)) };
        check.require(config.key.is_none(), "oauth", "a server is shown either a `key` or a token, not both");
        check.within("oauth", |check| {
            check.require(oauth.token_url.starts_with("https://"), "token_url", "tokens come over `https://` alone");
            check.require(!oauth.client_id.is_empty(), "client_id", "the client has no name");
            let secret = self.opener.open(&oauth.client_secret, "client_secret", check)?;
            let ca = oauth.ca.as_ref().map(|file| disk::read_up_to(&self.base.join(file), 4 << 20)).transpose();
            let ca = ca.map_err(|error| check.problem("ca", format!("it cannot be read: {error}"))).ok()?;
            let egress =
                Egress::new(ca.as_deref(), oauth.allow_private).map_err(|why| check.problem("ca", why)).ok()?;
            let authorization = basic(oauth.client_id.as_bytes(), secret.expose());
            let form = grant::form(oauth.scope.as_deref(), oauth.audience.as_deref(), oauth.resource.as_deref());
            let stamp = format!("{} {form} {:?} {ca:?} {:?}", oauth.token_url, egress.reach, authorization.as_bytes());
            let terms = Terms { url: oauth.token_url.clone(), authorization, form, egress };
            Some((Some(terms), Some(digest(&SHA256, stamp.as_bytes()))))
        })
    }

    /// The field of an upstream's key, and that.
    pub(super) fn key_of(&mut self, config: &UpstreamConfig, check: &mut Checker) -> Option<Key> {
        let lonely = config.key_header.is_some() && config.key.is_none();
        check.require(!lonely, "key_header", "`key_header` says where `key` is sent, and there is none");
        let reference = config.key.as_ref()?;
        check.require(config.embedded.is_none(), "key", "`key` is for a model server, not for an `embedded` model");
        let secret = self.opener.open(reference, "key", check)?;
        let (name, scheme) = match config.key_header.unwrap_or_default() {
            KeyHeader::ApiKey => (HeaderName::from_static("api-key"), &b""[..]),
            KeyHeader::Authorization => (AUTHORIZATION, &b"Bearer "[..]),
            KeyHeader::XApiKey => (HeaderName::from_static("x-api-key"), &b""[..]),
        };
        let fits = secret.expose().iter().all(u8::is_ascii_graphic);
        let value = HeaderValue::from_bytes(&[scheme, secret.expose()].concat()).ok().filter(|_| fits);
        let Some(mut value) = value else {
            check.problem("key", format!("`{}` is no value of a header field: visible ASCII alone", reference.0));
            return None;
        };
        value.set_sensitive(true);
        Some((name, value))
    }

    /// Every route of a model finds what it speaks at the model's upstream.
    pub(super) fn check_faces(&self, model: &str, upstream: &str, remote: &Remote, check: &mut Checker) {
        for route in self.routes_of(model) {
            let (lacks, member) = match route.protocol {
                Protocol::OipGrpc => (remote.rpc.is_empty(), "grpc"),
                _ => (remote.endpoints.is_empty(), "endpoints"),
            };
            let protocol = route.protocol.name();
            let why =
                format!("route `{}` speaks `{protocol}`, and upstream `{upstream}` has no `{member}`", route.name);
            check.require(!lacks, "upstream", why);
        }
    }
}

/// The roots of an upstream's TLS: `Ok(None)` for the public ones, `Err` where they cannot be read.
fn roots(config: &UpstreamConfig, base: &Path, check: &mut Checker) -> Result<Option<Vec<u8>>, ()> {
    let mut all = config.endpoints.iter().chain(&config.grpc);
    if !all.any(|endpoint| endpoint.url().starts_with("https://")) {
        check.require(config.ca.is_none(), "ca", "`ca` is for endpoints with `https://`");
        return Ok(None);
    }
    let Some(file) = &config.ca else { return Ok(None) };
    let pem = disk::read_up_to(&base.join(file), 4 << 20)
        .map_err(|error| check.problem("ca", format!("`{file}` cannot be read: {error}")))?;
    client_config(Some(&pem), Speaks::H1).map_err(|why| check.problem("ca", why))?;
    Ok(Some(pem))
}

/// Every address of a list, or the mistakes in it. Where the roots cannot be used, that is told once and elsewhere.
fn addresses(
    member: &str,
    listed: &[EndpointConfig],
    (speaks, roots): (Speaks, &Result<Option<Vec<u8>>, ()>),
    check: &mut Checker,
) -> Option<Vec<(Address, f64)>> {
    let tls = roots.as_ref().ok().and_then(|pem| client_config(pem.as_deref(), speaks).ok());
    check.require(listed.len() <= MOST, member, format!("{} endpoints, and at most {MOST} are led", listed.len()));
    let found: Vec<Option<(Address, f64)>> = check.within(member, |check| {
        let found = |(i, of): (usize, &EndpointConfig)| {
            let address = endpoint(of.url(), tls.as_ref()).map_err(|why| match of {
                EndpointConfig::Plain(_) => check.problem(i, why),
                EndpointConfig::Weighted(_) => check.within(i, |check| check.problem("url", why)),
            });
            Some((address.ok()?, of.weight()))
        };
        listed.iter().enumerate().map(found).collect()
    });
    found.into_iter().collect()
}

/// Whether `text` is where a model server may be.
pub(crate) fn is_endpoint(text: &str) -> bool {
    endpoint(text, None).is_ok()
}

pub(crate) fn endpoint(text: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Address, String> {
    let wrong = |why: &str| format!("`{text}` {why}");
    // Host and port alone are plain HTTP.
    let plain = !text.contains("://") && text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let full = if plain { format!("http://{text}") } else { text.to_owned() };
    let uri: http::Uri = full.parse().map_err(|_| wrong("is not an address such as `http://10.0.0.5:8000`"))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("does not begin with `http://` or `https://`")),
    };
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("has a path: the path comes from the request"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("an endpoint holds no credentials".to_owned());
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Address::new(host, port, secure.then(|| tls.cloned()).flatten()).ok_or_else(|| wrong("has no usable host"))
}
