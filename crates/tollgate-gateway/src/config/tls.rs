//! What the configuration says of TLS: listeners, certificates of ours, certificates of clients.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::secret::SecretRef;
use tollgate_layers::auth::{AskFor, ClientAuthConfig};

/// TLS of all listeners.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Client certificates.
    pub client_auth: ClientAuthConfig,
}

/// TLS of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Names of `certs`, chosen by SNI; the first serves clients that name no known host.
    pub certs: Vec<String>,
    /// The lowest version. Default: `"1.2"`, or `"1.3"` where clients are asked for certificates.
    #[serde(default)]
    pub min_version: Option<TlsVersion>,
    /// Whether clients are asked for certificates here. Default: as `tls.client_auth` says.
    #[serde(default)]
    pub client_auth: Option<ListenerClientAuth>,
}

/// Whether clients are asked for certificates at a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerClientAuth {
    /// `none`, `optional` or `require`. Default: as `tls.client_auth` says.
    pub mode: Option<AskFor>,
    /// Otherwise for clients that name these hosts in the handshake, exact or `*.example.com`. A request for a host that
    /// requires a certificate is refused with 421 on a connection that was made for another.
    pub names: BTreeMap<String, AskFor>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), forward-secret AEAD suites only.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V13,
}

/// A certificate from files. Both files are read again on reload and when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertConfig {
    /// Host names that it serves, exact or `*.example.com`.
    pub names: Vec<String>,
    /// PEM file with the chain, leaf first; relative to this file.
    pub cert: String,
    /// The private key, PEM: `secret://file/key.pem`.
    pub key: SecretRef,
}
