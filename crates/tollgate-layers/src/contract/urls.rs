//! Which URLs of media a server may be told to fetch. Names are compared, never resolved: what a name leads to when the
//! server asks is the business of the server's own way out.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::config::Odds;

/// Whether media may be URLs that the server fetches.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MediaUrlsConfig {
    /// `deny`, or `allow` for any URL. `check` warns of the latter.
    Any(Odds),
    /// Those of listed hosts.
    Listed(MediaHostsConfig),
}

impl MediaUrlsConfig {
    pub(super) const fn deny() -> Self {
        Self::Any(Odds::Deny)
    }
}

/// Hosts from which media may be fetched.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaHostsConfig {
    /// Names such as `images.example.com`, and `*.example.com` for every name below one.
    #[schemars(length(min = 1, max = 256))]
    pub allow: Vec<String>,
}

/// The compiled rule.
#[derive(Clone, Debug, Default)]
pub(super) enum MediaUrls {
    Any,
    /// Lower case; those that begin with a dot are ends of names.
    Hosts(Vec<Box<str>>),
    #[default]
    None,
}

/// The longest URL.
const MAX_URL: usize = 2_048;

/// Ends of names that lead inside wherever they are asked for, or that answer with whatever address they are made of.
const INSIDE: [&str; 18] = [
    "cluster",
    "corp",
    "home",
    "home.arpa",
    "intern",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "localtest.me",
    "lvh.me",
    "nip.io",
    "private",
    "sslip.io",
    "svc",
    "xip.io",
];

impl MediaUrls {
    /// Whether a server may fetch `url`; what is asked for instead.
    pub(super) fn check(&self, url: &str) -> Result<(), &'static str> {
        let hosts = match self {
            Self::Any => return Ok(()),
            Self::Hosts(hosts) => hosts,
            Self::None => return Err("media as `data:` URLs"),
        };
        let host = host_of(url)?;
        let is_listed = |listed: &str| if listed.starts_with('.') { host.ends_with(listed) } else { host == listed };
        if hosts.iter().any(|listed| is_listed(listed)) { Ok(()) } else { Err("a URL of a host that is listed") }
    }

    /// Reports every mistake, then builds the rule.
    pub(super) fn compile(config: &MediaUrlsConfig, check: &mut Checker) -> Self {
        let listed = match config {
            MediaUrlsConfig::Any(Odds::Allow) => {
                check.warn("media_urls", "the model server fetches whatever callers name, also inside your network");
                return Self::Any;
            }
            MediaUrlsConfig::Any(Odds::Deny) => return Self::None,
            MediaUrlsConfig::Listed(listed) => &listed.allow,
        };
        check.within("media_urls", |check| {
            check.require((1..=256).contains(&listed.len()), "allow", "a list of 1 to 256 hosts");
            check.within("allow", |check| {
                for (at, pattern) in listed.iter().enumerate() {
                    let name = pattern.strip_prefix("*.").unwrap_or(pattern).to_ascii_lowercase();
                    if let Err(why) = check_host(&name) {
                        check.problem(
                            at,
                            format!("`{pattern}` is no host from which media may come: {why} is asked for"),
                        );
                    }
                }
            });
        });
        let host = |pattern: &String| pattern.strip_prefix('*').unwrap_or(pattern).to_ascii_lowercase().into();
        Self::Hosts(listed.iter().map(host).collect())
    }
}

/// The host of an absolute `https` URL, in lower case. What two readers of URLs understand differently is refused: user
/// names, other ports, escapes and blanks in the authority, backslashes, anything beyond ASCII.
fn host_of(url: &str) -> Result<String, &'static str> {
    let plain = url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let (scheme, rest) = url.split_at_checked(8).filter(|_| plain).ok_or("a plain `https` URL")?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return Err("a plain `https` URL");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.strip_suffix(":443").unwrap_or(authority).to_ascii_lowercase();
    check_host(&host)?;
    Ok(host)
}

/// A full name of DNS, of at least two labels, that is no address in any notation and leads to no inside. The last label
/// of every notation of IPv4 is a number (WHATWG URL, 3.5), and those of IPv6 have brackets.
fn check_host(host: &str) -> Result<(), &'static str> {
    let label = |label: &str| {
        let known = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        known && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    if host.len() > 253 || !host.contains('.') || !host.split('.').all(label) {
        return Err("a full name of a host");
    }
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err("a name, and no address");
    }
    let inside = |end: &&str| host.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if INSIDE.iter().any(inside) { Err("a name of the public network") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(yaml: &str) -> (MediaUrls, Vec<String>, usize) {
        let config: MediaUrlsConfig = serde_saphyr::from_str(yaml).expect("it parses");
        let mut check = Checker::default();
        let urls = MediaUrls::compile(&config, &mut check);
        let (problems, warnings) = check.finish();
        (urls, problems.into_iter().map(|problem| problem.message).collect(), warnings.len())
    }

    #[test]
    fn only_https_urls_of_listed_names_pass() {
        let (urls, problems, warnings) = compiled("allow: [images.example.com, '*.CDN.example.net']");
        assert_eq!((problems, warnings), (Vec::new(), 0));
        for url in [
            "https://images.example.com/a.png",
            "HTTPS://Images.Example.com:443/a.png?x=http://169.254.169.254/#f",
            "https://images.example.com",
            "https://a.b.cdn.example.net/x",
        ] {
            assert_eq!(urls.check(url), Ok(()), "{url}");
        }
        for url in [
            "http://images.example.com/a.png",
            "https://example.com/",
            "https://cdn.example.net/",
            "https://evilcdn.example.net/",
            "https://images.example.com.evil.test/",
            "https://evil.test/images.example.com",
            "https://images.example.com@evil.test/",
            "https://evil.test#@images.example.com/",
            "https://user:pw@images.example.com/",
            "https://images.example.com:8443/",
            "https://images.example.com:0443/",
            "https://images.example.com:/",
            "https://images.example.com./",
            "https://images.example.com\\@evil.test/",
            "https://images%2eexample.com/",
            "https://images.example\u{3002}com/",
            "https://images.example.com /",
            " https://images.example.com/",
            "https:/images.example.com/",
            "https:images.example.com/",
            "//images.example.com/a",
            "file://images.example.com/etc/passwd",
            "https://",
            "https:///x",
        ] {
            assert!(urls.check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_address_and_no_name_of_the_inside_is_a_host_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0177.0.0.0x1",
            "169.254.169.254",
            "10.0.0.1",
            "1.2.3.4.5",
            "[::1]",
            "[::ffff:169.254.169.254]",
            "::1",
            "[fd00:ec2::254]",
            "localhost",
            "a.localhost",
            "metadata",
            "metadata.google.internal",
            "instance-data.ec2.internal",
            "db.svc",
            "db.prod.svc.cluster.local",
            "printer.local",
            "router.lan",
            "169-254-169-254.nip.io",
            "127.0.0.1.sslip.io",
            "localtest.me",
            "x.localdomain",
            "x.home.arpa",
            "com",
            "",
            "a..b",
            "-a.com",
            "a-.com",
            "a_b.com",
            "A.com",
            "a.0x1",
            "xn--\u{e9}.com",
        ] {
            assert!(check_host(host).is_err(), "{host}");
            assert!(host_of(&format!("https://{host}/x")).is_err() || host == "A.com", "{host}");
        }
        for host in [
            "example.com",
            "a-1.b2.example.co.uk",
            "xn--bcher-kva.example",
            "notlocal.com",
            "local.example.com",
            "1.example.com",
        ] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        assert!(check_host(&format!("{}.com", "a.".repeat(130))).is_err());
    }

    #[test]
    fn a_list_is_of_public_names_and_any_url_is_warned_of() {
        let (_, problems, _) = compiled(
            "allow: ['*', '*.com', 'http://a.com', 10.0.0.1, '*.internal', good.example.com, '*.example.com']",
        );
        assert_eq!(problems.len(), 5, "{problems:?}");
        let (urls, problems, warnings) = compiled("allow");
        assert_eq!((urls.check("http://127.0.0.1/"), problems.len(), warnings), (Ok(()), 0, 1));
        let (urls, _, warnings) = compiled("deny");
        assert_eq!((urls.check("https://example.com/"), warnings), (Err("media as `data:` URLs"), 0));
    }
}
