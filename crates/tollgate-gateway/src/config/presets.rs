//! What presets of upstreams add to a configuration: routes after the written ones, deadlines and ceilings where nothing
//! is written. Everything later sees a configuration that could have been written by hand.

use serde::Serialize;
use tollgate_core::check::Checker;
use tollgate_layers::routes::{Behind, MethodName, Preset, Protocol, RouteConfig, preset};

use super::document::{Config, UpstreamConfig};

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
    let behind: Vec<Behind<'_>> = config.upstreams.iter().filter_map(|of| behind(&config, of)).collect();
    let routes = preset::open(&config.routes, &behind, check);
    check_written(&config, check);
    let paths = routes.iter().map(Opened::of).collect();
    config.routes.extend(routes);
    defaults(&mut config);
    (config, paths)
}

fn behind<'a>(config: &'a Config, (name, upstream): (&'a String, &UpstreamConfig)) -> Option<Behind<'a>> {
    let models = config.models.iter().filter(|(_, model)| model.upstream == *name).map(|(name, _)| name.as_str());
    Some(Behind { upstream: name, preset: upstream.preset?, models: models.collect() })
}

/// Written routes may open single paths of a closed server, never all of them.
fn check_written(config: &Config, check: &mut Checker) {
    check.within("routes", |check| {
        for (index, route) in config.routes.iter().enumerate() {
            let upstream = route.upstream.as_ref().and_then(|name| config.upstreams.get(name));
            let Some(preset) = upstream.and_then(|upstream| upstream.preset) else { continue };
            if route.protocol == Protocol::None && route.path.contains("{*") {
                let message = format!("`{}` opens everything that preset `{}` closes", route.path, preset.name());
                check.within(index, |check| check.problem_hint("path", message, "name each path that is meant"));
            }
        }
    });
    for (name, model) in &config.models {
        let preset = config.upstreams.get(&model.upstream).and_then(|upstream| upstream.preset);
        let silent = preset.filter(|preset| preset.opens().is_empty());
        let routed = config.routes.iter().any(|route| route.models.contains(name));
        if let Some(preset) = silent.filter(|_| !routed) {
            let message = format!("no route serves `{name}`: preset `{}` opens only what routes name", preset.name());
            let hint = "`tollgate contract learn` writes routes from an OpenAPI document";
            check.within("models", |check| check.within(name.as_str(), |check| check.warn_here(message, hint)));
        }
    }
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
