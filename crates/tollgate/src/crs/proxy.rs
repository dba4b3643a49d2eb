//! Which proxy a download goes through, by the environment variables that other programs honour too.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

/// What the environment says of proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    https: Option<String>,
    none_for: Vec<String>,
}

/// A proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// User and password, joined by a colon and decoded.
    pub(super) user: Option<String>,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case; the lower one wins, as with curl.
    pub(super) fn of(env: &BTreeMap<String, String>) -> Self {
        let read = |name: &str| {
            let value = env.get(&name.to_ascii_lowercase()).or_else(|| env.get(name));
            value.filter(|value| !value.is_empty()).cloned()
        };
        let none_for = read("NO_PROXY").unwrap_or_default();
        let none_for = none_for.split(',').map(|host| host.trim().to_ascii_lowercase()).filter(|host| !host.is_empty());
        Self { https: read("HTTPS_PROXY").or_else(|| read("ALL_PROXY")), none_for: none_for.collect() }
    }

    /// The proxy for `host`, if there is one.
    ///
    /// # Errors
    /// What is wrong with the variable.
    pub(super) fn for_host(&self, host: &str) -> anyhow::Result<Option<Proxy>> {
        let host = host.to_ascii_lowercase();
        let spared = |entry: &String| {
            let name = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == name || host.ends_with(&format!(".{name}"))
        };
        match &self.https {
            Some(text) if !self.none_for.iter().any(spared) => Proxy::parse(text).map(Some),
            _ => Ok(None),
        }
    }
}

impl Proxy {
    fn parse(text: &str) -> anyhow::Result<Self> {
        // The text may hold a password: no message repeats it.
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri = full.parse().context("`HTTPS_PROXY` is not an address")?;
        if uri.scheme_str() != Some("http") {
            bail!("`HTTPS_PROXY` does not begin with `http://`: proxies are spoken to in plain text");
        }
        let authority = uri.authority().context("`HTTPS_PROXY` names no host")?;
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| unescaped(user));
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: authority.port_u16().unwrap_or(80), user })
    }
}

/// Percent escapes of a user name or password, decoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = after.get(..2).and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        match (first, escape) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Proxies {
        Proxies::of(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_proxy_is_found_by_either_spelling() {
        let proxy = |host: &str, port, user: Option<&str>| {
            Some(Proxy { host: host.to_owned(), port, user: user.map(str::to_owned) })
        };
        let found = |pairs: &[(&str, &str)]| proxies(pairs).for_host("github.com").expect("an address");
        assert_eq!(found(&[("HTTPS_PROXY", "http://p:8080")]), proxy("p", 8080, None));
        assert_eq!(found(&[("https_proxy", "q:1"), ("HTTPS_PROXY", "http://p:8080")]), proxy("q", 1, None));
        assert_eq!(found(&[("ALL_PROXY", "http://u:p%40w@p")]), proxy("p", 80, Some("u:p@w")));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn some_hosts_are_reached_directly() {
        let pairs = [("HTTPS_PROXY", "http://p:8080"), ("NO_PROXY", "localhost, .example.com")];
        let direct = |host: &str| proxies(&pairs).for_host(host).expect("an address").is_none();
        assert!(direct("localhost") && direct("a.example.com") && direct("example.com"));
        assert!(!direct("github.com") && !direct("notexample.com"));
    }

    #[test]
    fn a_message_about_a_proxy_holds_no_password() {
        let wrong = proxies(&[("HTTPS_PROXY", "socks5://user:hunter22@p")]).for_host("a").expect_err("no http");
        assert!(!format!("{wrong:#}").contains("hunter22"));
    }
}
