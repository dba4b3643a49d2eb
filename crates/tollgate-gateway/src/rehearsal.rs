//! A rehearsal: the policy of a configuration without the world around it, so that it can be tested anywhere.
//!
//! What stays: every stage, every model that is embedded, every number of the configuration. What is replaced: model
//! servers by one stub, a store of budgets by this process, API keys by those of the rehearsal, addresses by free ports of loopback. No secret of the
//! configuration is opened, so TLS, whose keys are secrets, is left out; `tollgate check` is what looks at those.

use std::net::SocketAddr;

use tollgate_core::secret::SecretRef;
use tollgate_layers::auth::KeysConfig;

use crate::config::{Config, EndpointConfig, is_endpoint};
use crate::secrets::SecretsConfig;

/// What stands in the place of the outside world.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// Answers for every model server.
    pub upstream: SocketAddr,
    /// API keys, instead of those of the configuration.
    pub keys: KeysConfig,
    /// The admin listener's key, instead of that of the configuration.
    pub admin_key: SecretRef,
}

/// Where clients of a rehearsal come from.
const CLIENTS: &str = "127.0.0.0/8";

impl Rehearsal {
    /// Replaces the world in `config`, which is compiled afterwards. What is mistaken is left for the compilation to
    /// report.
    pub(crate) fn dress(&self, config: &mut Config) {
        for upstream in config.upstreams.values_mut() {
            let all = upstream.endpoints.iter_mut().chain(&mut upstream.grpc);
            for endpoint in all.filter(|endpoint| is_endpoint(endpoint.url())) {
                *endpoint = EndpointConfig::Plain(format!("http://{}", self.upstream));
            }
            upstream.ca = None;
            upstream.key = None;
            upstream.key_header = None;
            upstream.oauth = None;
            // What one case makes the stub say must not change what the next one meets.
            upstream.health.active = Some(false);
            upstream.ejection.max_percent = 0;
            upstream.breaker.failures = 0;
        }
        for listener in config.listeners.values_mut() {
            listener.tls = None;
            listener.proxy_protocol = Default::default();
        }
        config.certs.clear();
        config.tls = Default::default();
        if config.auth.keys.is_some() {
            config.auth.keys = Some(self.keys.clone());
        }
        if let Some(admin) = &mut config.admin {
            admin.key = self.admin_key.clone();
        }
        config.secrets = SecretsConfig::default();
        config.waf.log = None;
        config.limits.store = None;
        config.limits.budgets.iter_mut().for_each(|budget| budget.consistency = None);
        if !config.network.allow.is_empty() {
            config.network.allow.push(CLIENTS.to_owned());
        }
        config.runtime.workers = Some(1);
        config.runtime.compute_threads = Some(1);
    }

    /// Moves every listener to a free port of loopback, after its own address was found good.
    pub(crate) fn move_listeners(config: &mut Config) {
        for listener in config.listeners.values_mut() {
            "127.0.0.1:0".clone_into(&mut listener.bind);
        }
    }
}
