//! The other gateways of `bench fairness`, each with limits for each key as somebody would set them who knows it well.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::super::process::{Core, Running, free_port, pinned};
use super::tenants;
use crate::peers;
use crate::project::Project;

/// The programs that could be had, or why not.
pub(super) struct Peers {
    pub(super) envoy: Result<PathBuf, String>,
    pub(super) litellm: Result<PathBuf, String>,
}

/// What Envoy counts for each key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counts {
    Bytes,
    Requests,
}

/// What comes out of an environment of Python: the path of a program below its folder.
const ENVOY: &str = "lib/python3.11/site-packages/envoy/_bin/envoy";
const LITELLM: &str = "bin/litellm";

/// It imports for a while before it listens: up to two minutes.
const LITELLM_START: u32 = 1_200;

impl Peers {
    /// Looks for them, and installs them where that is possible.
    pub(super) fn find() -> Result<Self> {
        let project = Project::find()?;
        let program = |suite: &str, inside: &str| {
            let python = peers::python(&project, suite).map_err(|error| format!("{error:#}"))?;
            let folder = python.parent().and_then(Path::parent).map(|folder| folder.join(inside));
            folder.filter(|program| program.exists()).ok_or_else(|| format!("its package has no `{inside}`"))
        };
        Ok(Self { envoy: program("envoy", ENVOY), litellm: program("litellm", LITELLM) })
    }
}

/// Envoy before the stub.
pub(super) fn envoy(program: &Path, counts: Counts, (stub, folder): (u16, &Path)) -> Result<(Running, u16)> {
    let port = free_port()?;
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, envoy_config(counts, port, stub))?;
    let mut command = pinned(Core::Gateway, program);
    command.arg("-c").arg(&config).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn"]);
    command.stdout(Stdio::null());
    let mut envoy = Running::start("envoy", command, folder)?;
    envoy.listening(port)?;
    Ok((envoy, port))
}

/// LiteLLM's proxy before the stub.
pub(super) fn litellm(program: &Path, (stub, folder): (u16, &Path)) -> Result<(Running, u16)> {
    let port = free_port()?;
    let config = folder.join("litellm.yaml");
    std::fs::write(&config, LITELLM_CONFIG.replace("@STUB@", &stub.to_string()))?;
    std::fs::write(folder.join("fairness_auth.py"), LITELLM_AUTH)?;
    let mut command = pinned(Core::Gateway, program);
    command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--num_workers", "1", "--telemetry", "False"]).stdout(Stdio::null()).current_dir(folder);
    // Its table of prices would be fetched.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_LOG", "ERROR");
    let mut proxy = Running::start("litellm", command, folder)?;
    proxy.listening_within(port, LITELLM_START).context("LiteLLM's proxy")?;
    Ok((proxy, port))
}

/// Its local rate limit for each key: three times the requests of a good tenant, like nginx, or 1.5 times an equal share of
/// the server in bytes, of which each is thought to cost 100 µs. It has no queue of its own that knows of keys.
fn envoy_config(counts: Counts, port: u16, stub: u16) -> String {
    let (most, each, addend) = match counts {
        Counts::Bytes => (24_000, 750, r#", hits_addend: { format: "%REQ(content-length)%" }"#),
        Counts::Requests => (32, 1, ""),
    };
    let bucket = |tenant: String| {
        format!(
            "              - entries: [{{ key: tenant, value: \"Bearer {tenant}\" }}]
                token_bucket: {{ max_tokens: {most}, tokens_per_fill: {each}, fill_interval: 0.0625s }}\n"
        )
    };
    ENVOY_CONFIG
        .replace("@PORT@", &port.to_string())
        .replace("@STUB@", &stub.to_string())
        .replace("@ADDEND@", addend)
        .replace("@BUCKETS@\n", &tenants().map(bucket).collect::<String>())
}

const ENVOY_CONFIG: &str = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: @PORT@ } }
    per_connection_buffer_limit_bytes: 2097152
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: flood
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: stub, timeout: 60s } }] }
          http_filters:
          - name: limit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: { max_tokens: 1000000000, tokens_per_fill: 1000000000, fill_interval: 0.0625s }
              always_consume_default_token_bucket: false
              filter_enabled: { default_value: { numerator: 100 } }
              filter_enforced: { default_value: { numerator: 100 } }
              rate_limits:
              - { actions: [{ request_headers: { header_name: authorization, descriptor_key: tenant } }]@ADDEND@ }
              descriptors:
@BUCKETS@
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: stub
    connect_timeout: 1s
    circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }] }
    load_assignment:
      cluster_name: stub
      endpoints:
      - lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: @STUB@ } } } }]
"#;

const LITELLM_CONFIG: &str = "\
model_list:
  - model_name: m
    litellm_params: { model: openai/m, api_base: \"http://127.0.0.1:@STUB@/v1\", api_key: none }
litellm_settings: { request_timeout: 60, num_retries: 0 }
router_settings: { num_retries: 0, disable_cooldowns: true }
general_settings: { custom_auth: fairness_auth.known, master_key: \"sk-of-a-bench-that-nobody-reaches-from-outside\" }
";

/// For each key: three times the requests of a good tenant, 1.5 times an equal share of the server in tokens, of which each
/// is a millisecond, and no more than half of its places at once. Keys of its own would need a database.
const LITELLM_AUTH: &str = "\
from litellm.proxy._types import UserAPIKeyAuth


async def known(request, api_key):
    return UserAPIKeyAuth(
        api_key=api_key, rpm_limit=960, tpm_limit=72000, max_parallel_requests=4
    )
";

#[cfg(test)]
mod tests {
    use super::{Counts, envoy_config};

    #[test]
    fn every_tenant_has_a_bucket_and_nothing_is_left_to_fill_in() {
        for counts in [Counts::Bytes, Counts::Requests] {
            let config = envoy_config(counts, 1, 2);
            assert_eq!(config.matches("value: \"Bearer ").count(), 10, "{counts:?}");
            assert!(!config.contains("@PORT@") && !config.contains("@ADDEND@") && !config.contains("@BUCKETS@"));
        }
    }
}
