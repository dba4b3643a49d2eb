//! Downloads one file over HTTPS: bounded, certificates checked, redirects followed over HTTPS only.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{HOST, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::proxy::{Proxies, Proxy};

/// The largest archive.
const LARGEST: usize = 32 << 20;
/// How often a download may be sent on.
const MOST_REDIRECTS: usize = 5;

/// Whom a download trusts.
pub(super) enum Trust {
    /// These roots.
    Roots(Vec<CertificateDer<'static>>),
    /// The web's public roots.
    Web,
}

/// Downloads files.
pub(super) struct Fetch {
    tls: TlsConnector,
    proxies: Proxies,
    /// Hosts that may be sent on to; none stands for any.
    hosts: &'static [&'static str],
}

impl Fetch {
    pub(super) fn new(trust: Trust, proxies: Proxies, hosts: &'static [&'static str]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        match trust {
            Trust::Roots(list) => {
                for root in list {
                    roots.add(root).context("a root that is none")?;
                }
            }
            Trust::Web => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), proxies, hosts })
    }

    /// Fetches a file of at most 32 MiB.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let mut url: Uri = url.parse().context("this is not an address")?;
        for _ in 0..=MOST_REDIRECTS {
            let mut driver = JoinSet::new();
            let response = self.ask(&url, &mut driver).await?;
            match response.status() {
                StatusCode::OK => {
                    let body = Limited::new(response.into_body(), LARGEST).collect().await;
                    let body =
                        body.map_err(|error| anyhow::anyhow!("the file is larger than 32 MiB, or broke off: {error}"))?;
                    return Ok(body.to_bytes().to_vec());
                }
                status if status.is_redirection() => url = self.next(&url, &response)?,
                StatusCode::NOT_FOUND => bail!("there is no such file: is the version right?"),
                status => bail!("the server answered {status}"),
            }
        }
        bail!("it was sent on more than {MOST_REDIRECTS} times")
    }

    /// Where a download is sent on to.
    fn next(&self, from: &Uri, response: &Response<Incoming>) -> anyhow::Result<Uri> {
        let to = response.headers().get(LOCATION).context("a redirect to nowhere")?.to_str().context("a redirect")?;
        let to: Uri = to.parse().context("a redirect to what is no address")?;
        let mut parts = to.into_parts();
        if parts.authority.is_none() {
            parts.authority = from.authority().cloned();
            parts.scheme = from.scheme().cloned();
        }
        let to = Uri::from_parts(parts)?;
        let host = to.host().unwrap_or_default().to_ascii_lowercase();
        let known = |known: &&str| if known.starts_with('.') { host.ends_with(*known) } else { host == *known };
        if !self.hosts.is_empty() && !self.hosts.iter().any(known) {
            bail!("it was sent on to `{host}`, which is not one of its hosts");
        }
        Ok(to)
    }

    async fn ask(&self, url: &Uri, driver: &mut JoinSet<()>) -> anyhow::Result<Response<Incoming>> {
        if url.scheme_str() != Some("https") {
            bail!("only `https://` is fetched");
        }
        let authority = url.authority().context("the address names no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(443);
        let stream = match self.proxies.for_host(host)? {
            None => dial(host, port).await?,
            Some(proxy) => tunnel(&proxy, host, port, driver).await?,
        };
        let name =
            ServerName::try_from(host.to_owned()).context("the host has no name that a certificate could have")?;
        let stream = self.tls.connect(name, stream).await.with_context(|| format!("shaking hands with `{host}`"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        driver.spawn(async move { drop(connection.await) });
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = url.path_and_query().map_or_else(|| Uri::from_static("/"), |rest| Uri::from(rest.clone()));
        request.headers_mut().insert(HOST, HeaderValue::try_from(authority_of(host, port, 443))?);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("tollgate"));
        Ok(sender.send_request(request).await?)
    }
}

/// A stream to a server, or through a proxy to one.
type Stream = Box<dyn Io>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn dial(host: &str, port: u16) -> anyhow::Result<Stream> {
    Ok(Box::new(socket(host, port).await?))
}

async fn socket(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let found = lookup_host((host, port)).await;
    let found =
        found.with_context(|| format!("finding `{host}`: is there a network, or a proxy to name in `HTTPS_PROXY`?"))?;
    let mut last = None;
    for address in found {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("connecting to `{host}:{port}`")),
        None => bail!("`{host}` has no address"),
    }
}

/// Asks a proxy for a tunnel (RFC 9110, 9.3.6): it sees names and never contents.
async fn tunnel(proxy: &Proxy, host: &str, port: u16, driver: &mut JoinSet<()>) -> anyhow::Result<Stream> {
    let stream = socket(&proxy.host, proxy.port).await.context("reaching the proxy")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    driver.spawn(async move { drop(connection.with_upgrades().await) });
    let target = authority_of(host, port, 0);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = target.parse()?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(target)?);
    if let Some(user) = &proxy.user {
        let mut value = HeaderValue::try_from(format!("Basic {}", base64(user.as_bytes())))?;
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    let response = sender.send_request(request).await.context("asking the proxy for a tunnel")?;
    if !response.status().is_success() {
        bail!("the proxy answered {} to a tunnel to `{host}`", response.status());
    }
    let upgraded = hyper::upgrade::on(response).await.context("the proxy gave no tunnel")?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// `host:port`, without the port where it is `usual`.
fn authority_of(host: &str, port: u16, usual: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == usual { host } else { format!("{host}:{port}") }
}

/// RFC 4648, 4: for one header of one request.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i)) & 63;
            let letter = ALPHABET.get(six as usize).copied().unwrap_or(b'=');
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_as_the_standard_says() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
