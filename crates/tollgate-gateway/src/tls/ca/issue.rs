//! What an authority issues: certificates of a day for one SPIFFE id of its own domain.

use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use tollgate_layers::auth::SpiffeId;

use super::{Authority, CaError, Entry, LONGEST, Record, milliseconds, params};

/// The most hosts of a certificate.
const MOST_HOSTS: usize = 32;

/// How often one certificate is renewed: once, and again by those who lost the answer.
const MOST_RENEWALS: usize = 8;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The SPIFFE id.
    pub id: String,
    /// Hosts, beside it.
    pub dns: Vec<String>,
    /// Whether it may serve as well.
    pub server: bool,
    /// How long it lives: at most a week, and never longer than its issuer.
    pub life: Duration,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The chain without the root, as PEM.
    pub chain: String,
    /// What the index says of it.
    pub entry: Entry,
}

impl Authority {
    /// Issues a certificate for a key that is drawn here; the second part is that, as PEM.
    ///
    /// # Errors
    /// Where the request is refused, or what the system says.
    pub fn issue(&mut self, request: &Request, now_ms: u64) -> Result<(Issued, String), CaError> {
        let key = KeyPair::generate()?;
        let (params, entry) = self.prepared(request, None, now_ms)?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok((self.given(&cert, entry)?, key.serialize_pem()))
    }

    /// Issues a certificate for a key of somebody else, who proves by a signing request (PEM) to have it. Nothing but the
    /// key is taken from that.
    ///
    /// # Errors
    /// As [`Authority::issue`], or where the request cannot be read.
    pub fn sign(&mut self, csr: &[u8], request: &Request, now_ms: u64) -> Result<Issued, CaError> {
        self.signed(csr, request, None, now_ms)
    }

    /// Issues what follows a certificate: the same names for as long, for another key. Its owner showed that it still holds;
    /// here is looked up whether it is one of ours and was not revoked.
    ///
    /// # Errors
    /// As [`Authority::sign`].
    pub fn renew(&mut self, serial: &str, csr: &[u8], now_ms: u64) -> Result<Issued, CaError> {
        let refused = |why: &str| CaError::Refused(format!("certificate `{serial}` {why}"));
        let old =
            self.entries.iter().find(|entry| entry.serial == serial).ok_or_else(|| refused("was never issued"))?;
        if old.revoked_ms.is_some() {
            return Err(refused("is revoked"));
        }
        if old.ends_ms <= now_ms {
            return Err(refused("has expired"));
        }
        let renewals = self.entries.iter().filter(|entry| entry.renews.as_deref() == Some(serial)).count();
        if renewals >= MOST_RENEWALS {
            return Err(refused("was renewed too often: renew what renewed it"));
        }
        let life = Duration::from_millis(old.ends_ms.saturating_sub(old.at_ms));
        let request = Request { id: old.id.clone(), dns: old.dns.clone(), server: old.server, life };
        self.signed(csr, &request, Some(serial.to_owned()), now_ms)
    }

    fn signed(
        &mut self,
        csr: &[u8],
        request: &Request,
        renews: Option<String>,
        now_ms: u64,
    ) -> Result<Issued, CaError> {
        let unreadable = |why: String| CaError::Refused(format!("the signing request cannot be read: {why}"));
        let der =
            CertificateSigningRequestDer::from_pem_slice(csr).map_err(|_| unreadable("it is not PEM".to_owned()))?;
        // Its signature is checked here: whoever asks has the key.
        let mut asked =
            CertificateSigningRequestParams::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
        if asked.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 || asked.public_key.der_bytes().len() != 65 {
            return Err(CaError::Refused("its key is not on the curve P-256".to_owned()));
        }
        let (params, entry) = self.prepared(request, renews, now_ms)?;
        asked.params = params;
        let cert = asked.signed_by(&self.issuer)?;
        self.given(&cert, entry)
    }

    /// The certificate that will be signed, and its line of the index.
    fn prepared(
        &self,
        request: &Request,
        renews: Option<String>,
        now_ms: u64,
    ) -> Result<(CertificateParams, Entry), CaError> {
        let refused = |why: String| Err(CaError::Refused(why));
        match SpiffeId::parse(&request.id) {
            None => return refused(format!("`{}` is no SPIFFE id such as `spiffe://{}/job`", request.id, self.domain)),
            Some(id) if id.domain != self.domain => {
                return refused(format!("`{}` is not of the trust domain `{}`", request.id, self.domain));
            }
            Some(id) if id.path.is_empty() => return refused(format!("`{}` is the domain itself", request.id)),
            Some(_) => {}
        }
        if request.dns.len() > MOST_HOSTS {
            return refused(format!("at most {MOST_HOSTS} DNS names"));
        }
        if let Some(bad) = request.dns.iter().find(|name| !is_host(name)) {
            return refused(format!("`{bad}` is no DNS name"));
        }
        if request.life.is_zero() || request.life > LONGEST {
            return refused("a certificate lives a second to seven days".to_owned());
        }
        if self.ends_ms <= now_ms {
            return refused(
                "the intermediate has expired: make another authority, and trust both for a while".to_owned(),
            );
        }
        let left = Duration::from_millis(self.ends_ms - now_ms);
        let mut params = params("", now_ms, request.life.min(left))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if request.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.subject_alt_names = vec![SanType::URI(request.id.as_str().try_into()?)];
        for name in &request.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        let serial = params.serial_number.as_ref().map(rcgen::SerialNumber::to_bytes).unwrap_or_default();
        let entry = Entry {
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            id: request.id.clone(),
            dns: request.dns.clone(),
            server: request.server,
            at_ms: now_ms,
            ends_ms: now_ms.saturating_add(milliseconds(request.life.min(left))),
            renews,
            revoked_ms: None,
        };
        Ok((params, entry))
    }

    fn given(&mut self, cert: &rcgen::Certificate, entry: Entry) -> Result<Issued, CaError> {
        self.note(&Record::Issued(entry.clone()))?;
        Ok(Issued { chain: format!("{}{}", cert.pem(), self.chain), entry })
    }
}

/// Whether this is a DNS name, in lower case, as a certificate may hold it.
pub(super) fn is_host(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(fit) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
