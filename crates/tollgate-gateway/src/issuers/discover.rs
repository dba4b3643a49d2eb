//! The metadata of an issuer: OpenID Connect Discovery, else RFC 8414. What it says is believed only of the issuer that
//! was asked for.

use serde_json::Value;
use tollgate_layers::protocol::json;

use crate::egress::Egress;

/// The largest document.
const LARGEST: usize = 256 * 1024;
const LIMITS: json::Limits = json::Limits { depth: 16, keys: 1_024 };

/// What is used of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Metadata {
    /// Where the keys are.
    pub(super) jwks_uri: String,
    /// Where tokens are introspected.
    pub(super) introspection: Option<String>,
}

/// Asks an issuer for its metadata.
///
/// # Errors
/// In words for operators.
pub(super) async fn metadata(egress: &Egress, issuer: &str) -> Result<Metadata, String> {
    let mut wrong = String::new();
    for url in places(issuer) {
        match egress.get(&url, LARGEST).await {
            Ok(answer) => return read(&answer.body, issuer),
            Err(why) => wrong = format!("its metadata is not to be had: {why}"),
        }
    }
    Err(wrong)
}

/// Where the metadata of an issuer may be, in the order in which it is asked for.
fn places(issuer: &str) -> [String; 2] {
    let bare = issuer.trim_end_matches('/');
    let after = bare.find("://").map_or(0, |at| at + 3);
    let end = bare.get(after..).and_then(|rest| rest.find('/')).map_or(bare.len(), |at| after + at);
    let (origin, path) = bare.split_at_checked(end).unwrap_or((bare, ""));
    [
        format!("{bare}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

fn read(body: &[u8], issuer: &str) -> Result<Metadata, String> {
    let strict = "its metadata is no strict JSON";
    json::validate(body, LIMITS).map_err(|_| strict)?;
    let document: Value = serde_json::from_slice(body).map_err(|_| strict)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    // A mix-up: the keys of one issuer would count as those of another.
    if text("issuer").as_deref() != Some(issuer) {
        return Err("its metadata is that of another issuer".to_owned());
    }
    let jwks_uri = text("jwks_uri").ok_or("its metadata names no `jwks_uri`")?;
    Ok(Metadata { jwks_uri, introspection: text("introspection_endpoint") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_two_standards_say() {
        let of = |issuer| places(issuer);
        assert_eq!(
            of("https://id.test/"),
            [
                "https://id.test/.well-known/openid-configuration",
                "https://id.test/.well-known/oauth-authorization-server",
            ]
        );
        assert_eq!(
            of("https://id.test:8443/a/b"),
            [
                "https://id.test:8443/a/b/.well-known/openid-configuration",
                "https://id.test:8443/.well-known/oauth-authorization-server/a/b",
            ]
        );
    }

    #[test]
    fn the_metadata_of_another_issuer_is_refused() {
        let document = r#"{"issuer":"https://id.test","jwks_uri":"https://id.test/keys","x":{"y":[1]}}"#;
        let read = |body: &str, issuer| read(body.as_bytes(), issuer).map(|metadata| metadata.jwks_uri);
        assert_eq!(read(document, "https://id.test").as_deref(), Ok("https://id.test/keys"));
        for (body, issuer) in [
            (document, "https://id.test/"),
            (document, "https://evil.test"),
            (r#"{"issuer":"https://id.test"}"#, "https://id.test"),
            (r#"{"issuer":"https://id.test","issuer":"https://id.test","jwks_uri":"x"}"#, "https://id.test"),
            ("[]", "https://id.test"),
            ("", "https://id.test"),
        ] {
            assert!(read(body, issuer).is_err(), "{body}");
        }
    }
}
