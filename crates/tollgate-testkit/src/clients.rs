//! Authorities for client certificates: chains of any length, leaves good and bad, and revocation lists.
//!
//! Made apart from the authority that ships, so that the one can be held against the other.

use std::sync::Arc;
use std::time::Duration;

pub use rcgen::ExtendedKeyUsagePurpose as Usage;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tollgate_core::time::Clock;

use crate::ca::Pair;

/// An authority, a root or one below another.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// What a client shows below its leaf.
    above: String,
}

/// A leaf.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// URIs among its names.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns: Vec<String>,
    /// Its serial number.
    pub serial: u64,
    /// When it begins and ends, in seconds from now.
    pub life: (i64, i64),
    /// What it may be used for.
    pub usage: Usage,
    /// Whether it says that it is an authority itself.
    pub is_ca: bool,
}

impl Leaf {
    /// A good one with this SPIFFE id.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self {
            uris: vec![id.to_owned()],
            dns: Vec::new(),
            serial: 7,
            life: (-60, 3600),
            usage: Usage::ClientAuth,
            is_ca: false,
        }
    }
}

impl Authority {
    /// A root.
    ///
    /// # Panics
    /// If no key can be drawn.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name, BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem, above: String::new() }
    }

    /// One below this, below which there may be `more` others.
    ///
    /// # Panics
    /// If no key can be drawn.
    #[must_use]
    pub fn below(&self, name: &str, more: u8) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name, BasicConstraints::Constrained(more));
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let above = format!("{pem}{}", self.above);
        Self { issuer: Issuer::new(params, key), pem, above }
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate, with the chain above it up to the root.
    ///
    /// # Panics
    /// If a name is none.
    #[must_use]
    pub fn issue(&self, leaf: &Leaf) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "spiffe://prod.example/ns/ml");
        let uris = leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().expect("ASCII")));
        let dns = leaf.dns.iter().map(|name| SanType::DnsName(name.as_str().try_into().expect("ASCII")));
        params.subject_alt_names = uris.chain(dns).collect();
        (params.not_before, params.not_after) = (instant(leaf.life.0), instant(leaf.life.1));
        params.serial_number = Some(leaf.serial.into());
        params.extended_key_usages = vec![leaf.usage.clone()];
        params.is_ca = if leaf.is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: format!("{}{}", cert.pem(), self.above), key: key.serialize_pem() }
    }

    /// A list that revokes these serial numbers and ends so many seconds from now, as PEM.
    ///
    /// # Panics
    /// If it ends before it begins.
    #[must_use]
    pub fn list(&self, revoked: &[u64], ends: i64) -> String {
        let one = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: instant(-60),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: instant(-7200),
            next_update: instant(ends),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }
}

/// The same TLS of a client, with a certificate to show. It keeps no session.
///
/// # Panics
/// If the pair is none.
#[must_use]
pub fn showing(client: &Arc<ClientConfig>, pair: &Pair) -> Arc<ClientConfig> {
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
    let mut config = (**client).clone();
    // Shown whatever the server names as its roots: a bad one must be refused, not held back.
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    Arc::new(config)
}

fn authority(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// So many seconds from now.
fn instant(seconds: i64) -> time::OffsetDateTime {
    let now = Duration::from_millis(Clock::real().unix_ms());
    let shift = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { now.saturating_sub(shift) } else { now + shift };
    date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_secs())
}
