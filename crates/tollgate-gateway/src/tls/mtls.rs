//! Verifies client certificates: each against the one bundle that it may count under.
//!
//! Paths, signatures, times, uses and revocation are webpki's business. What is ours is which bundle is asked: an id of a
//! SPIFFE trust domain is verified by the bundle of that domain alone, or any domain could speak for any other.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use tollgate_core::identity::Certificate;
use tollgate_layers::auth::{Revocation, SpiffeId, TrustKind, read_certificate};

use super::table::provider;

/// Every root of trust for client certificates.
#[derive(Debug, Default)]
pub struct Trusts {
    list: Vec<Trust>,
    /// What clients are told to choose by.
    hints: Vec<DistinguishedName>,
}

#[derive(Debug)]
struct Trust {
    name: Box<str>,
    /// Whether it is of SPIFFE ids.
    is_domain: bool,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// What one trust is made of.
#[derive(Debug)]
pub struct Roots {
    /// Its roots.
    pub store: RootCertStore,
    /// Its revocation lists.
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// How much of a chain they must speak of.
    pub depth: Revocation,
}

/// Asks a client for its certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trusts: Arc<Trusts>,
    pub(super) required: bool,
}

/// A verifier that demands a certificate of one of these trusts.
#[must_use]
pub fn verifier(trusts: &Arc<Trusts>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Verifier { trusts: Arc::clone(trusts), required: true })
}

impl Trusts {
    /// Adds a trust.
    ///
    /// # Errors
    /// What is wrong with its roots or lists.
    pub fn add(&mut self, kind: TrustKind<'_>, roots: Roots) -> Result<(), String> {
        let subjects = roots.store.subjects();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.store), Arc::new(provider()))
            .with_crls(roots.lists)
            .enforce_revocation_expiration();
        if roots.depth == Revocation::Leaf {
            builder = builder.only_check_end_entity_revocation();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        self.hints.extend(subjects);
        let is_domain = matches!(kind, TrustKind::Domain(_));
        self.list.push(Trust { name: kind.name().into(), is_domain, verifier });
        Ok(())
    }

    /// What the chain of a client says of its owner, under the trust that verifies it.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Certificate, Error> {
        let (leaf, above) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let mut found = read(leaf, above)?;
        let trust = match self.domain(&found)? {
            Some(trust) => {
                trust.verifier.verify_client_cert(leaf, above, now)?;
                trust
            }
            None => self.plain(leaf, above, now)?,
        };
        found.trust.clone_from(&trust.name);
        Ok(found)
    }

    /// What a chain says that [`Trusts::judge`] has found good: verified again only where that tells whose it is.
    ///
    /// # Errors
    /// As [`Trusts::judge`].
    pub fn owner(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Certificate, Error> {
        let (leaf, above) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let mut found = read(leaf, above)?;
        let mut plain = self.list.iter().filter(|trust| !trust.is_domain);
        let trust = match (self.domain(&found)?, plain.next(), plain.next()) {
            (Some(trust), ..) | (None, Some(trust), None) => trust,
            _ => self.plain(leaf, above, now)?,
        };
        found.trust.clone_from(&trust.name);
        Ok(found)
    }

    /// The trust of the SPIFFE id of a leaf; `None` where it has no such id.
    fn domain(&self, found: &Certificate) -> Result<Option<&Trust>, Error> {
        let Some(id) = found.uris.iter().find(|uri| SpiffeId::is_claimed(uri)) else { return Ok(None) };
        // One URI and no other: with two, who it is depends on who reads it.
        let id = SpiffeId::parse(id).filter(|_| found.uris.len() == 1);
        let id = id.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let trust = self.list.iter().find(|trust| trust.is_domain && *trust.name == *id.domain);
        trust.map(Some).ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    /// The first trust of certificates without ids that verifies this one.
    fn plain(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: UnixTime) -> Result<&Trust, Error> {
        let mut why = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for trust in self.list.iter().filter(|trust| !trust.is_domain) {
            match trust.verifier.verify_client_cert(leaf, above, now) {
                Ok(_) => return Ok(trust),
                // That it is unknown elsewhere says less than that it is revoked here.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn any(&self) -> Option<&dyn ClientCertVerifier> {
        self.list.first().map(|trust| &*trust.verifier)
    }
}

fn read(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Result<Certificate, Error> {
    let read = read_certificate(leaf, above.iter().map(|der| &**der));
    read.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trusts.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(above).map(|der| CertificateDer::from(&**der)).collect();
        self.trusts.judge(&chain, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusts.any().map(ClientCertVerifier::supported_verify_schemes).unwrap_or_default()
    }
}
