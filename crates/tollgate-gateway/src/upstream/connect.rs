//! Every outgoing connection: one resolver, all answers classified, connect to the checked address, no redirects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_core::ruling::{Fault, Origin};

use super::grant::Grant;
use crate::tick::{Ticker, within};

/// Where an endpoint is, and how it is spoken to.
#[derive(Clone)]
pub struct Address {
    /// Host name or literal address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `Some` for `https://`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// What its `Host` field says.
    pub host_field: HeaderValue,
    /// The field that carries its key, and that.
    pub key: Option<(HeaderName, HeaderValue)>,
    /// Whoever has a token for it, where that is what it asks for.
    pub grant: Option<Arc<Grant>>,
}

impl Address {
    /// An address, if the host can stand in a `Host` field.
    #[must_use]
    pub fn new(host: String, port: u16, tls: Option<Arc<rustls::ClientConfig>>) -> Option<Self> {
        let named = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let host_field = HeaderValue::try_from(named).ok()?;
        Some(Self { host, port, tls, host_field, key: None, grant: None })
    }
}

impl Address {
    /// The field that carries what it asks us for, and that.
    #[must_use]
    pub fn credential(&self) -> Option<(HeaderName, HeaderValue)> {
        self.key.clone().or_else(|| self.grant.as_ref()?.field())
    }

    /// Whether its key leaves this machine in plain text.
    #[must_use]
    pub fn shows_its_key(&self) -> bool {
        self.tls.is_none() && !self.is_near()
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) || self.host == "localhost"
    }
}

/// Without its key.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A fresh connection.
pub enum Wire {
    /// In plain text.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a connection within `limit`.
///
/// # Errors
/// A retryable fault of the upstream: nothing was sent.
pub async fn connect(address: &Address, limit: Duration, ticker: &Arc<Ticker>) -> Result<Wire, Fault> {
    let alarm = ticker.alarm(ticker.now().after(limit));
    match within(alarm, open(address)).await {
        Ok(Ok(wire)) => Ok(wire),
        Ok(Err(error)) => Err(Fault::new(Origin::Upstream, format_args!("cannot connect: {error}")).retryable()),
        Err(_late) => Err(Fault::new(Origin::Upstream, "connecting took too long").retryable()),
    }
}

/// Where names may lead.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// To private addresses as well, because the configuration says so; never to link-local ones.
    Private,
    /// To public addresses alone.
    #[default]
    Public,
}

impl Reach {
    /// Whether a name may lead to this address.
    #[must_use]
    pub fn may(self, ip: IpAddr) -> bool {
        match self {
            Self::Private => may_be_used(ip),
            Self::Public => is_public(ip),
        }
    }
}

/// Opens a connection for a question of our own. Whoever asks bounds the time.
///
/// # Errors
/// What the system says, or that the name leads nowhere it may lead.
pub async fn reach(address: &Address, reach: Reach) -> std::io::Result<Wire> {
    secured(address, dial(address, |ip| reach.may(ip)).await?).await
}

async fn open(address: &Address) -> std::io::Result<Wire> {
    secured(address, dial(address, may_be_used).await?).await
}

async fn secured(address: &Address, stream: TcpStream) -> std::io::Result<Wire> {
    stream.set_nodelay(true)?;
    let Some(tls) = &address.tls else { return Ok(Wire::Plain(stream)) };
    let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
    Ok(Wire::Tls(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that connects")]
async fn dial(address: &Address, may: impl Fn(IpAddr) -> bool) -> std::io::Result<TcpStream> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(ip, address.port)).await;
    }
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address that may be used");
    for candidate in lookup_host((address.host.as_str(), address.port)).await? {
        if !may(candidate.ip()) {
            continue;
        }
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a name may lead to this address. A name that suddenly points at link-local space is how a metadata service
/// is reached by DNS rebinding; an operator who means such an address writes it as a literal.
fn may_be_used(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_link_local() || ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified()),
    }
}

/// Whether an address is one of the public internet (the special-purpose registries of RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            match (first, second) {
                // NAT64 and 6to4 hold an IPv4 address, and lead to it.
                (0x64, 0xff9b) | (0x2002, _) => false,
                // Documentation, benchmarks, ORCHID, Teredo.
                (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, _) => false,
                _ => first & 0xe000 == 0x2000,
            }
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match (a, b, c) {
        // "This network", carrier-grade NAT, protocol assignments, 6to4 relays, benchmarks, everything from multicast on.
        (0 | 224.., ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) => true,
        _ => false,
    };
    !(special || ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_declared_leads_to_public_addresses_alone() {
        for (ip, public) in [
            ("93.184.216.34", true),
            ("2606:4700::1111", true),
            ("127.0.0.1", false),
            ("10.0.0.5", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.169.254", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.5", false),
            ("64:ff9b::a00:5", false),
            ("2002:a00:5::", false),
            ("2001:db8::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(ip.parse().expect("an address")), public, "{ip}");
        }
    }

    #[test]
    fn a_name_may_not_lead_to_a_metadata_service() {
        for (ip, may) in [
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("10.0.0.5", true),
            ("127.0.0.1", true),
            ("93.184.216.34", true),
        ] {
            assert_eq!(may_be_used(ip.parse().expect("an address")), may, "{ip}");
        }
    }
}
