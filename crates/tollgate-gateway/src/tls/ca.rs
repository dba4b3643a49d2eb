//! A private authority for client certificates, in a directory: a root, one intermediate below it, an index of everything
//! that was issued, and revocation lists. `tollgate ca` is its face.
//!
//! The root signs the intermediate and one list, and can then be taken away. What is issued stands in the index, on disk,
//! before anybody gets it; nothing that is there is ever overwritten. Who may ask for a certificate is the business of
//! whoever calls.

mod files;
mod index;
mod issue;
mod list;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber, date_time_ymd,
};
use tollgate_layers::auth::SpiffeId;

pub use files::{replace, write_new};
pub use index::{Entry, Record};
pub use issue::{Issued, Request};

/// How long a root and an intermediate live.
const ROOT: Duration = Duration::from_hours(24 * 3652);
const INTERMEDIATE: Duration = Duration::from_hours(24 * 365);
/// The longest that a certificate lives, and how long it does by default.
pub const LONGEST: Duration = Duration::from_hours(24 * 7);
/// The life of a certificate that nobody gave another.
pub const USUAL: Duration = Duration::from_hours(24);
/// Clocks differ: what is issued begins so much earlier.
const EARLIER: Duration = Duration::from_mins(5);

/// Names of its files.
const ROOT_CERT: &str = "root.pem";
const ROOT_KEY: &str = "root.key";
const ROOT_LIST: &str = "root.crl";
const CERT: &str = "intermediate.pem";
const KEY: &str = "intermediate.key";
/// What `tls.client_auth.trust[].bundle` names.
pub const BUNDLE: &str = "bundle.pem";
/// What `tls.client_auth.trust[].crl` names.
pub const LISTS: &str = "crl.pem";

/// Why an authority does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A certificate cannot be made.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// What is asked for is not issued.
    #[error("{0}")]
    Refused(String),
    /// A file of the authority is not what it was.
    #[error("`{0}` is damaged: {1}")]
    Damaged(PathBuf, String),
    /// What the system says of a file.
    #[error("`{0}`: {1}")]
    System(PathBuf, #[source] io::Error),
}

/// An authority that is open for work. While it is, nobody else works in its directory.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// The intermediate, as PEM: the second certificate of every chain.
    chain: String,
    domain: String,
    ends_ms: u64,
    entries: Vec<Entry>,
    /// Of the last list.
    number: u64,
    index: File,
    _turn: File,
}

impl Authority {
    /// Makes an authority for a trust domain, which may also name hosts below `dns`, in a directory that holds none yet.
    ///
    /// # Errors
    /// Where one is there, where a name is none, or what the system says.
    pub fn init(directory: &Path, domain: &str, dns: &[String], now_ms: u64) -> Result<(), CaError> {
        if SpiffeId::parse(&format!("spiffe://{domain}")).is_none() {
            let why = format!("`{domain}` is no trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`");
            return Err(CaError::Refused(why));
        }
        if let Some(bad) = dns.iter().find(|name| !issue::is_host(name)) {
            return Err(CaError::Refused(format!("`{bad}` is no DNS name")));
        }
        files::make(directory)?;
        let _turn = files::turn(directory)?;
        for name in [ROOT_CERT, ROOT_KEY, CERT, KEY, BUNDLE, LISTS, index::FILE] {
            if directory.join(name).exists() {
                let why = format!("`{}` is there: an authority is never overwritten", directory.join(name).display());
                return Err(CaError::Refused(why));
            }
        }
        let root_key = KeyPair::generate()?;
        let root = root_params(domain, now_ms)?;
        let root_cert = root.self_signed(&root_key)?;
        let root = Issuer::new(root, root_key);
        let key = KeyPair::generate()?;
        let params = intermediate_params(domain, dns, now_ms)?;
        let cert = params.signed_by(&key, &root)?;
        let ends_ms = now_ms.saturating_add(milliseconds(INTERMEDIATE));
        let root_list = list::signed(&root, &[], 1, (now_ms, ends_ms))?;
        let issuer = Issuer::new(params, key);
        let first = list::signed(&issuer, &[], 1, (now_ms, now_ms.saturating_add(milliseconds(list::VALID))))?;
        // The index comes first and the bundle last: what broke off in between is refused, not half used.
        let born = Record::Born { domain: domain.to_owned(), dns: dns.to_vec(), at_ms: now_ms, ends_ms };
        index::begin(directory, &[born, Record::Listed { number: 1, at_ms: now_ms }])?;
        let write = |name: &str, text: &str| write_new(&directory.join(name), text.as_bytes());
        write(ROOT_KEY, &root.key().serialize_pem())?;
        write(ROOT_CERT, &root_cert.pem())?;
        write(ROOT_LIST, &root_list)?;
        write(KEY, &issuer.key().serialize_pem())?;
        write(CERT, &cert.pem())?;
        write(LISTS, &format!("{first}{root_list}"))?;
        write(BUNDLE, &root_cert.pem())
    }

    /// Opens an authority. The root's key is not needed.
    ///
    /// # Errors
    /// Where there is none, where its key can be read by others, or what the system says.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        let turn = files::turn(directory)?;
        let index::Read { file: index, entries, number, domain, ends_ms } = index::open(directory)?;
        let key = files::read_key(&directory.join(KEY))?;
        let key = KeyPair::from_pem(&key)?;
        let chain = files::read(&directory.join(CERT))?;
        let issuer = Issuer::from_ca_cert_pem(&chain, key)?;
        let directory = directory.to_owned();
        Ok(Self { directory, issuer, chain, domain, ends_ms, entries, number, index, _turn: turn })
    }

    /// Its trust domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Everything that it ever issued, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its root, as PEM: what others trust.
    ///
    /// # Errors
    /// What the system says.
    pub fn bundle(&self) -> Result<String, CaError> {
        files::read(&self.directory.join(BUNDLE))
    }

    /// Its lists as they were published last, as PEM.
    ///
    /// # Errors
    /// What the system says.
    pub fn lists(&self) -> Result<String, CaError> {
        files::read(&self.directory.join(LISTS))
    }
}

fn root_params(domain: &str, now_ms: u64) -> Result<CertificateParams, CaError> {
    let mut params = params(&format!("{domain} root"), now_ms, ROOT)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn intermediate_params(domain: &str, dns: &[String], now_ms: u64) -> Result<CertificateParams, CaError> {
    let mut params = params(&format!("{domain} intermediate"), now_ms, INTERMEDIATE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    // No constraint on URIs: webpki refuses every URI below one, whatever it permits. Which domain an id may be of is
    // held by whoever verifies it against one bundle alone.
    let hosts = if dns.is_empty() { vec![domain.to_owned()] } else { dns.to_vec() };
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts.into_iter().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::Rfc822Name(String::new()),
            GeneralSubtree::IpAddress(rcgen::CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(rcgen::CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    Ok(params)
}

/// What all certificates have in common.
fn params(name: &str, now_ms: u64, life: Duration) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.not_before = instant(now_ms.saturating_sub(milliseconds(EARLIER)));
    params.not_after = instant(now_ms.saturating_add(milliseconds(life)));
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// 128 random bits; the first is 0, for a serial number is not negative, and the second 1, so that all are of one length.
fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CaError::Refused("the system gives no random numbers".to_owned()))?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7F | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn instant(unix_ms: u64) -> time::OffsetDateTime {
    date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_ms / 1000)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
