//! Certificates by server name, and the rustls configurations made from them. One crypto provider: aws-lc-rs.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_core::secret::Secret;

use super::reception::Reception;
use crate::config::TlsVersion;

/// The certificates of one listener, by name. Swapped whole when files change.
#[derive(Debug, Default)]
pub struct CertTable {
    listeners: ArcSwap<HashMap<String, Certified>>,
    /// Of the listeners that ask for client certificates.
    receptions: ArcSwap<HashMap<String, Arc<Reception>>>,
}

/// What one listener may show.
#[derive(Clone, Debug, Default)]
pub struct Certified {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Keyed by what follows `*`, such as `.example.com`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl CertTable {
    /// Replaces the certificates of every listener.
    pub fn swap(&self, listeners: HashMap<String, Certified>) {
        self.listeners.store(Arc::new(listeners));
    }

    /// Replaces how clients are asked for certificates, at every listener.
    pub fn receive(&self, receptions: HashMap<String, Arc<Reception>>) {
        self.receptions.store(Arc::new(receptions));
    }

    /// How a listener asks its clients for certificates, if it does.
    #[must_use]
    pub fn reception(&self, listener: &str) -> Option<Arc<Reception>> {
        self.receptions.load().get(listener).cloned()
    }
}

impl Certified {
    /// Adds a certificate under its names; the first one added serves clients that name no known host.
    pub fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>) {
        self.fallback.get_or_insert_with(|| Arc::clone(key));
        for name in names {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix('*') {
                Some(suffix) => self.wildcard.insert(suffix.to_owned(), Arc::clone(key)),
                None => self.exact.insert(name, Arc::clone(key)),
            };
        }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let suffix = || name.find('.').and_then(|dot| self.wildcard.get(name.get(dot..)?));
            self.exact.get(&name).or_else(suffix)
        });
        named.or(self.fallback.as_ref()).cloned()
    }

    /// Reads a chain and its key, and checks that they belong together.
    ///
    /// # Errors
    /// What is wrong, without any of the key.
    pub fn key(chain: &[u8], key: &Secret) -> Result<Arc<CertifiedKey>, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate file is not PEM".to_owned())?;
        if chain.is_empty() {
            return Err("the certificate file holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| "the key is not a PEM private key")?;
        CertifiedKey::from_der(chain, key, &provider())
            .map(Arc::new)
            .map_err(|error| format!("certificate and key do not fit: {error}"))
    }
}

/// Finds the certificates of one listener in the table, at each handshake.
#[derive(Debug)]
struct Resolver {
    table: Arc<CertTable>,
    listener: String,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.table.listeners.load().get(&self.listener)?.find(hello.server_name())
    }
}

pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// TLS of a listener: 1.3, and 1.2 unless it is told otherwise; X25519MLKEM768 first; tickets; no early data.
///
/// # Errors
/// If the provider has no random numbers.
pub fn server_config(table: &Arc<CertTable>, listener: &str, min: TlsVersion) -> io::Result<Arc<ServerConfig>> {
    let mut config = guarded_config(table, listener, min, WebPkiClientVerifier::no_client_auth())?;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

/// The same without tickets, and with a verifier of client certificates.
///
/// # Errors
/// If the provider does not know the versions.
pub(super) fn guarded_config(
    table: &Arc<CertTable>,
    listener: &str,
    min: TlsVersion,
    verifier: Arc<dyn ClientCertVerifier>,
) -> io::Result<ServerConfig> {
    let versions: &[_] = match min {
        TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V13 => &[&rustls::version::TLS13],
    };
    let resolver = Resolver { table: Arc::clone(table), listener: listener.to_owned() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Answers to early data can be replayed; an inference costs money.
    config.max_early_data_size = 0;
    Ok(config)
}

/// What is offered to a model server by ALPN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// HTTP/2 or HTTP/1.1, as the server likes.
    Either,
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// TLS towards a model server: roots from `ca`, or the public ones.
///
/// # Errors
/// What is wrong with the roots.
pub fn client_config(ca: Option<&[u8]>, speaks: Speaks) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for root in CertificateDer::pem_slice_iter(pem) {
                let root = root.map_err(|_| "the file of roots is not PEM".to_owned())?;
                roots.add(root).map_err(|error| format!("a root cannot be used: {error}"))?;
            }
            if roots.is_empty() {
                return Err("the file of roots holds no certificate".to_owned());
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let offered: &[&[u8]] = match speaks {
        Speaks::Either => &[b"h2", b"http/1.1"],
        Speaks::H1 => &[b"http/1.1"],
        Speaks::H2 => &[b"h2"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
