//! What presets of upstreams add to a configuration: routes after the written ones, deadlines and ceilings where nothing
//! is written. Everything later sees a configuration that could have been written by hand.

use serde::Serialize;
use tollgate_core::check::Checker;
use tollgate_layers::auth;
use tollgate_layers::protocol::oip::grpc;
use tollgate_layers::routes::{Behind, Faces, MethodName, Preset, Protocol, RouteConfig, preset};

use super::document::{Config, ModelConfig, UpstreamConfig};
use crate::quota;

/// The most output tokens that a caller may wish for where neither a contract nor the server bounds it.
const MAX_WISHED_TOKENS: u64 = 32_768;
/// How long a model of texts may take to its first byte, which is its last one where an answer does not stream.
const TEXTS_FIRST_BYTE_MS: u64 = 600_000;

/// A path that presets opened, for people to read.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// Name of the route.
    pub route: String,
    /// Methods.
    pub methods: Vec<MethodName>,
    /// Path pattern.
    pub path: String,
    /// How bodies are understood.
    pub protocol: Protocol,
    /// Models served there.
    pub models: Vec<String>,
}

/// The configuration with everything that presets add, and what they opened.
pub(super) fn opened(config: &Config, check: &mut Checker) -> (Config, Vec<Opened>) {
    let mut config = config.clone();
    for (name, upstream) in &config.upstreams {
        let remote = upstream.embedded.is_none() || upstream.preset.is_none();
        check.within("upstreams", |check| {
            check.within(name.as_str(), |check| {
                check.require(remote, "preset", "a preset is for a model server, not for an `embedded` model");
            });
        });
    }
    let mut behind: Vec<Behind<'_>> = config.upstreams.iter().filter_map(|of| behind(&config, of)).collect();
    for one in &mut behind {
        let preset = one.preset;
        one.models.retain(|name| config.models.get(*name).is_some_and(|model| opens_for(preset, model)));
    }
    let routes = preset::open(&config.routes, &behind, check);
    check_written(&config, check);
    let paths = routes.iter().map(Opened::of).collect();
    config.routes.extend(routes);
    show_quotas(&mut config);
    show_issuers(&mut config);
    defaults(&mut config);
    (config, paths)
}

fn behind<'a>(config: &'a Config, (name, upstream): (&'a String, &UpstreamConfig)) -> Option<Behind<'a>> {
    let models = config.models.iter().filter(|(_, model)| model.upstream == *name).map(|(name, _)| name.as_str());
    let faces = Faces { rest: !upstream.endpoints.is_empty(), rpc: !upstream.grpc.is_empty() };
    Some(Behind { upstream: name, preset: upstream.preset?, faces, models: models.collect() })
}

/// The page of a caller's own budgets, where there are some and no route shows them.
fn show_quotas(config: &mut Config) {
    let shown = |route: &RouteConfig| route.protocol == Protocol::Quota || route.path == quota::PATH;
    if !config.limits.quota_page || config.limits.budgets.is_empty() || config.routes.iter().any(shown) {
        return;
    }
    let route = serde_json::json!({ "name": "tollgate.quota", "path": quota::PATH, "protocol": "quota" });
    config.routes.extend(serde_json::from_value::<RouteConfig>(route).ok());
}

/// The page of trusted issuers, where there are some and no route shows them.
fn show_issuers(config: &mut Config) {
    let shown = |route: &RouteConfig| route.protocol == Protocol::ResourceMetadata;
    let path = config.auth.resource.as_deref().and_then(auth::metadata_path);
    let Some(path) = path.filter(|_| !config.auth.issuers.is_empty()) else { return };
    if config.routes.iter().any(shown) {
        return;
    }
    let route = serde_json::json!({ "name": "tollgate.issuers", "path": path, "protocol": "resource_metadata" });
    config.routes.extend(serde_json::from_value::<RouteConfig>(route).ok());
}

/// Written routes may open single paths of a closed server, never all of them.
fn check_written(config: &Config, check: &mut Checker) {
    check.within("routes", |check| {
        for (index, route) in config.routes.iter().enumerate() {
            let upstream = route.upstream.as_ref().and_then(|name| config.upstreams.get(name));
            let Some(preset) = upstream.and_then(|upstream| upstream.preset) else { continue };
            let service = route.path.starts_with(grpc::PATH) && route.path.contains('{');
            if route.protocol == Protocol::None && (route.path.contains("{*") || service) {
                let message = format!("`{}` opens everything that preset `{}` closes", route.path, preset.name());
                check.within(index, |check| check.problem_hint("path", message, "name each path that is meant"));
            }
        }
    });
    for (name, model) in &config.models {
        let preset = config.upstreams.get(&model.upstream).and_then(|upstream| upstream.preset);
        let silent = preset.filter(|preset| !opens_for(*preset, model));
        let routed = config.routes.iter().any(|route| route.models.contains(name));
        if let Some(preset) = silent.filter(|_| !routed) {
            let (message, hint) = match preset {
                Preset::Torchserve => (
                    format!("no route serves `{name}`: preset `torchserve` opens models whose contract has a `schema`"),
                    "write a route for its path that says what its bodies are",
                ),
                _ => (
                    format!("no route serves `{name}`: preset `{}` opens only what routes name", preset.name()),
                    "`tollgate contract learn` writes routes from an OpenAPI document",
                ),
            };
            check.within("models", |check| check.within(name.as_str(), |check| check.warn_here(message, hint)));
        }
    }
}

/// Whether a preset opens anything for a model. What TorchServe is sent is for each model to say: JSON by a schema, which its
/// preset opens, or a form or an image, for which there are routes.
fn opens_for(preset: Preset, model: &ModelConfig) -> bool {
    let says = model.contract.schema.is_some() || model.contract.openapi.is_some();
    !preset.opens().is_empty() && (preset != Preset::Torchserve || says)
}

/// Deadlines and ceilings of servers whose models write texts.
fn defaults(config: &mut Config) {
    let of_texts = |upstream: &UpstreamConfig| upstream.preset.is_some_and(Preset::is_of_texts);
    for model in config.models.values_mut() {
        if config.upstreams.get(&model.upstream).is_some_and(of_texts) {
            model.contract.wished_output_tokens = Some(MAX_WISHED_TOKENS);
        }
    }
    for upstream in config.upstreams.values_mut().filter(|upstream| of_texts(upstream)) {
        upstream.first_byte_ms.get_or_insert(TEXTS_FIRST_BYTE_MS);
    }
}

impl Opened {
    fn of(route: &RouteConfig) -> Self {
        Self {
            route: route.name.clone(),
            methods: route.methods.clone().unwrap_or_default(),
            path: route.path.clone(),
            protocol: route.protocol,
            models: route.models.clone(),
        }
    }
}

impl std::fmt::Display for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(|method| method.name()).collect();
        write!(f, "{} {} (`{}`)", methods.join(", "), self.path, self.protocol.name())?;
        let models: Vec<_> = self.models.iter().map(|model| format!("`{model}`")).collect();
        if models.is_empty() { Ok(()) } else { write!(f, " for {}", models.join(", ")) }
    }
}
