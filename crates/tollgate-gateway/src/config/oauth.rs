//! How the gateway gets a token for a model server, as the configuration says it.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::secret::SecretRef;

/// How we get a token for a model server: client credentials (RFC 6749 § 4.4). Without one nothing is sent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthConfig {
    /// Where tokens are given: an address beginning with `https://`.
    pub token_url: String,
    /// Who we are there.
    pub client_id: String,
    /// What proves it, sent as `Basic`.
    pub client_secret: SecretRef,
    /// What the token is to be good for.
    #[serde(default)]
    pub scope: Option<String>,
    /// Whom it is for, where tokens are given by `audience`.
    #[serde(default)]
    pub audience: Option<String>,
    /// Whom it is for, where tokens are given by `resource` (RFC 8707).
    #[serde(default)]
    pub resource: Option<String>,
    /// PEM file with the roots for `token_url`. Default: the web's public roots.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether its name may lead to private addresses. A literal address declares itself. Default: `false`.
    #[serde(default)]
    pub allow_private: bool,
}
