//! What we are to clients that look for a token: our metadata as a protected resource (RFC 9728), and what a refusal says.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;

use super::dpop;
use super::issuer::Issuer;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What is told to everybody.
#[derive(Debug)]
pub struct Resource {
    /// The document.
    pub metadata: Bytes,
    /// What a refusal asks for.
    pub challenges: Vec<HeaderValue>,
    /// Scheme and authority that proofs must name, where proofs are accepted.
    pub(super) proves: Option<Box<str>>,
}

impl Resource {
    pub(super) fn new(url: &str, issuers: &[Issuer], dpop: bool) -> Option<Self> {
        let (origin, path) = split(url)?;
        let place = format!("{origin}{WELL_KNOWN}{path}");
        let scopes = issuers.iter().flat_map(|issuer| issuer.person.scopes.keys());
        let mut scopes: Vec<&str> = scopes.map(String::as_str).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let mut document = json!({
            "resource": url,
            "authorization_servers": issuers.iter().map(|issuer| &*issuer.says).collect::<Vec<_>>(),
            "bearer_methods_supported": ["header"],
            "scopes_supported": scopes,
            "tls_client_certificate_bound_access_tokens": true,
        });
        let mut challenges = vec![format!("Bearer resource_metadata=\"{place}\"")];
        if dpop {
            let algorithms = dpop::algorithms();
            challenges.push(format!("DPoP algs=\"{}\", resource_metadata=\"{place}\"", algorithms.join(" ")));
            if let Some(document) = document.as_object_mut() {
                document.insert("dpop_signing_alg_values_supported".to_owned(), json!(algorithms));
            }
        }
        let challenges =
            challenges.iter().map(|challenge| HeaderValue::from_str(challenge).ok()).collect::<Option<_>>()?;
        let metadata = Bytes::from(document.to_string());
        Some(Self { metadata, challenges, proves: dpop.then(|| origin.into()) })
    }
}

/// Where clients look for our metadata: the well-known path before our own.
#[must_use]
pub fn metadata_path(url: &str) -> Option<String> {
    let (_, path) = split(url)?;
    Some(format!("{WELL_KNOWN}{path}"))
}

/// Scheme and authority of an address, and its path where that is more than a slash.
fn split(url: &str) -> Option<(&str, &str)> {
    let after = url.find("://")? + 3;
    let end = url.get(after..)?.find(['/', '?', '#']).map_or(url.len(), |end| after + end);
    let (origin, path) = url.split_at_checked(end)?;
    Some((origin, if path == "/" { "" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::metadata_path;

    #[test]
    fn the_well_known_path_stands_before_our_own() {
        for (url, path) in [
            ("https://api.test", Some("/.well-known/oauth-protected-resource")),
            ("https://api.test/", Some("/.well-known/oauth-protected-resource")),
            ("https://api.test:8443/v1", Some("/.well-known/oauth-protected-resource/v1")),
            ("api.test", None),
        ] {
            assert_eq!(metadata_path(url).as_deref(), path, "{url}");
        }
    }
}
